package websocket

import (
	"context"
	"encoding/hex"
	"log/slog"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// logAnnounce writes an announce to the access log, in the words that the other front
// ends have.
func (p *peer) logAnnounce(a *table.WebAnnounce, err error) {
	log := p.server.config.AccessLog
	if log == nil {
		return
	}
	attrs := []slog.Attr{
		slog.String("front", "ws"),
		slog.String("addr", a.Host.String()),
		slog.String("info_hash", hex.EncodeToString(a.Hash[:])),
		slog.String("peer_id", hex.EncodeToString(a.ID[:])),
		slog.String("event", a.Event.String()),
		slog.String("state", a.State.String()),
		slog.Int("offers", len(a.Offers)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("refused", err.Error()))
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "announce", attrs...)
}

// logScrape writes a scrape to the access log.
func (p *peer) logScrape(hashes int) {
	if log := p.server.config.AccessLog; log != nil {
		log.Info("scrape", "front", "ws", "addr", p.conn.Remote().String(), "hashes", hashes)
	}
}
