package client

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/tracker/ws"
)

// web is a configuration that reaches browsers on this computer.
func web(t *testing.T) Config {
	cfg := quiet(t)
	cfg.STUN = []string{}
	return cfg
}

// addSwarm adds a new torrent and returns its part in the browser swarm.
func addSwarm(t *testing.T, cfg Config) *webSwarm {
	t.Helper()
	_, torrent := makeTorrent(t, "data.bin", 64<<10)
	return add(t, newClient(t, cfg), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()}).web
}

// introduce has one torrent answer an offer of another, as a tracker would.
func introduce(t *testing.T, from, to *Torrent) error {
	t.Helper()
	offers := from.web.Offers(t.Context(), 1)
	if len(offers) != 1 {
		t.Fatal("no offer was made")
	}
	answer, err := to.web.Answer(t.Context(), ws.ID(from.client.id), offers[0].ID, offers[0].SDP)
	if err == nil {
		from.web.Answered(ws.ID(to.client.id), offers[0].ID, answer)
	}
	return err
}

func offerIDs(offers []ws.Offer) map[ws.ID]bool {
	ids := make(map[ws.ID]bool)
	for _, o := range offers {
		ids[o.ID] = true
	}
	return ids
}

// Trackers that are announced to at the same moment get the same offers.
func TestTrackersShareOffers(t *testing.T) {
	const trackers = 3
	for _, n := range []int{offersPerAnnounce, offersPerTorrent} {
		s := addSwarm(t, web(t))
		var offers [trackers][]ws.Offer
		var announcing sync.WaitGroup
		for i := range offers {
			announcing.Go(func() { offers[i] = s.Offers(context.Background(), n) })
		}
		announcing.Wait()
		all := make(map[ws.ID]bool)
		for i := range offers {
			if len(offers[i]) != n {
				t.Errorf("a tracker got %d offers, want %d", len(offers[i]), n)
			}
			for id := range offerIDs(offers[i]) {
				all[id] = true
			}
		}
		if len(all) != n {
			t.Errorf("%d trackers got %d offers in all, want the same %d", trackers, len(all), n)
		}
	}
}

// An offer that nobody has answered is sent again while there is time to answer it.
func TestOffersAreSentAgain(t *testing.T) {
	s := addSwarm(t, web(t))
	announce := func(age time.Duration) map[ws.ID]bool {
		s.mu.Lock()
		for _, o := range s.offers {
			o.Created = time.Now().Add(-age)
		}
		s.mu.Unlock()
		return offerIDs(s.Offers(context.Background(), offersPerAnnounce))
	}
	first := announce(0)
	for id := range announce(45 * time.Second) {
		if !first[id] {
			t.Error("an offer was made while there were others that could still be answered")
		}
	}
	second := announce(55 * time.Second)
	for id := range second {
		if first[id] {
			t.Error("an offer was sent that is about to expire")
		}
	}
	if len(first) != offersPerAnnounce || len(second) != offersPerAnnounce {
		t.Errorf("%d offers at first, %d when those were too old, want %d", len(first), len(second), offersPerAnnounce)
	}
	if rest := announce(55 * time.Second); len(rest) != 0 {
		t.Errorf("%d offers more than the %d that may live", len(rest), offersPerTorrent)
	}
}

// Whoever waits for the offers of another tracker does so no longer than its announce.
func TestOffersEndWithTheAnnounce(t *testing.T) {
	s := addSwarm(t, web(t))
	s.making <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if offers := s.Offers(ctx, offersPerAnnounce); len(offers) != 0 {
		t.Errorf("%d offers were made beside another tracker's", len(offers))
	}
}

// An announce carries five offers as long as browsers are wanted, and none when there
// are enough, or no room.
func TestWantOffers(t *testing.T) {
	cfg := web(t)
	cfg.MaxPeers, cfg.MaxConnections = 40, 50
	s := addSwarm(t, cfg)
	for _, test := range []struct{ browsers, peers, connections, want int64 }{
		{0, 0, 0, offersPerAnnounce},
		{enoughBrowsers - 1, enoughBrowsers - 1, enoughBrowsers - 1, offersPerAnnounce},
		{enoughBrowsers, enoughBrowsers, enoughBrowsers, 0},
		{1, 39, 39, offersPerAnnounce},
		{1, 40, 40, 0},
		{1, 1, 49, offersPerAnnounce},
		{1, 1, 50, 0},
	} {
		s.t.webPeers.Store(test.browsers)
		s.t.peerCount.Store(test.peers)
		s.t.client.connections.Store(test.connections)
		if got := s.WantOffers(); int64(got) != test.want {
			t.Errorf("%+v: got %d", test, got)
		}
	}
}
