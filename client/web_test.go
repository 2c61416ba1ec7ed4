package client

import (
	"testing"
	"time"

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
	until(t, 5*time.Second, "whoever answers lives", func() bool { return to.content.Load() != nil })
	offers := offersOf(t, from)
	answer, err := to.swarms[0].Web().Answer(t.Context(), ws.ID(from.swarms[0].PeerID()), offers[0].ID, offers[0].SDP)
	if err == nil {
		from.swarms[0].Web().Answered(ws.ID(to.swarms[0].PeerID()), offers[0].ID, answer)
	}
	return err
}

// offersOf returns an offer of a torrent, which must have begun to live for that.
func offersOf(t *testing.T, torrent *Torrent) (offers []ws.Offer) {
	t.Helper()
	until(t, 5*time.Second, "an offer is made", func() bool {
		offers = torrent.swarms[0].Web().Offers(t.Context(), 1)
		return len(offers) == 1
	})
	return offers
}
