package swarm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/client/source"
	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/webrtcwire"
	"log/slog"
)

// testHost is a torrent without a loop: what is to run in it runs at once.
type testHost struct {
	tasks    sync.WaitGroup
	browsers int
	full     bool
	private  bool
}

func (h *testHost) Do(f func()) bool                   { f(); return true }
func (h *testHost) Go(f func()) bool                   { h.tasks.Go(f); return true }
func (h *testHost) Attach(context.Context, Conn) error { return errors.New("not in this test") }
func (h *testHost) MayJoin(*Swarm, [20]byte) error     { return nil }
func (h *testHost) Connected([20]byte) bool            { return false }
func (h *testHost) Full() bool                         { return h.full }
func (h *testHost) Browsers() int                      { return h.browsers }
func (h *testHost) Private() bool                      { return h.private }
func (h *testHost) Announced() tracker.Stats           { return tracker.Stats{Left: 1} }
func (h *testHost) Banned(*source.Identity) bool       { return false }
func (h *testHost) Unreached(*Swarm, netip.AddrPort)   {}
func (h *testHost) Wake()                              {}
func (h *testHost) TrackerStatus(tracker.Status)       {}
func (h *testHost) Alone(string)                       {}
func (h *testHost) Warn(string)                        {}

// newTestWeb returns a swarm's part among browsers that was started, without trackers.
func newTestWeb(t *testing.T) *Web {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rtc, err := webrtcwire.New(webrtcwire.Config{PacketConns: []net.PacketConn{conn}})
	if err != nil {
		t.Fatal(err)
	}
	way, err := network.New(network.Config{})
	if err != nil {
		t.Fatal(err)
	}
	host := &testHost{}
	s := New(Config{
		InfoHash: [20]byte{1}, PeerID: NewPeerID(), Host: host, Logger: slog.New(slog.DiscardHandler),
		Shared: &Shared{
			Net: way, RTC: rtc, Dials: allot.NewTurns(1), DisableTrackers: true,
			Port: func() int { return 1 }, Reach: reachAt(t),
		},
	})
	s.Start()
	t.Cleanup(func() {
		<-s.Stop()
		host.tasks.Wait()
		rtc.Close()
		conn.Close()
	})
	return s.Web()
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
		s := newTestWeb(t)
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
	s := newTestWeb(t)
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
	s := newTestWeb(t)
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
	s := newTestWeb(t)
	h := s.s.host.(*testHost)
	for _, test := range []struct {
		browsers int
		full     bool
		want     int
	}{
		{0, false, offersPerAnnounce},
		{enoughBrowsers - 1, false, offersPerAnnounce},
		{enoughBrowsers, false, 0},
		{1, true, 0},
	} {
		h.browsers, h.full = test.browsers, test.full
		if got := s.WantOffers(); got != test.want {
			t.Errorf("%+v: got %d", test, got)
		}
	}
}
