package client

import (
	"testing"

	"github.com/causeway-bt/causeway/tracker/ws"
)

// web is a configuration that reaches browsers on this computer.
func web(t *testing.T) Config {
	cfg := quiet(t)
	cfg.STUN = []string{}
	return cfg
}

// introduce has one torrent answer an offer of another, as a tracker would.
func introduce(t *testing.T, from, to *Torrent) error {
	t.Helper()
	offers := from.swarms[0].Web().Offers(t.Context(), 1)
	if len(offers) != 1 {
		t.Fatal("no offer was made")
	}
	answer, err := to.swarms[0].Web().Answer(t.Context(), ws.ID(from.swarms[0].PeerID()), offers[0].ID, offers[0].SDP)
	if err == nil {
		from.swarms[0].Web().Answered(ws.ID(to.swarms[0].PeerID()), offers[0].ID, answer)
	}
	return err
}
