package server

import (
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// gate is the access lists before the swarms. A torrent that may not be tracked is
// refused to join, but not to leave.
type gate struct {
	table.Swarms
	lists *lists
}

// What access lists refuse. A list may change, so it is not for ever.
var (
	errNotAllowed = &table.Refusal{Text: "this tracker does not track this torrent", RetryIn: 24 * time.Hour}
	errDenied     = &table.Refusal{Text: "this torrent is not tracked here", RetryIn: 24 * time.Hour}
)

func (g *gate) Announce(a *table.Announce, r *table.Reply) error {
	if err := g.lists.check(&a.Hash); err != nil && a.Event != table.Stopped {
		return err
	}
	return g.Swarms.Announce(a, r)
}

func (g *gate) AnnounceWeb(a *table.WebAnnounce, r *table.WebReply) error {
	if err := g.lists.check(&a.Hash); err != nil && a.Event != table.Stopped {
		return err
	}
	return g.Swarms.AnnounceWeb(a, r)
}

func (g *gate) Scrape(h table.Hash) (table.Counts, error) {
	if err := g.lists.check(&h); err != nil {
		return table.Counts{}, err
	}
	return g.Swarms.Scrape(h)
}
