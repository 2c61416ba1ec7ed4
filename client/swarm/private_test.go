package swarm

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/tracker/ws"
)

func TestOfOneTracker(t *testing.T) {
	for _, c := range []struct {
		name  string
		tiers [][]string
		want  []string
	}{
		{"none", [][]string{{"http://a/announce"}}, nil},
		{"one tracker, two protocols", [][]string{{"http://a/announce"}, {"ws://a:1/"}}, []string{"ws://a:1/"}},
		{"another's", [][]string{{"http://a/announce"}, {"ws://b/"}}, nil},
		{"a WebSocket tracker first", [][]string{{"ws://b/", "udp://A:1"}, {"wss://a/"}}, []string{"wss://a/"}},
		{"WebSocket trackers only", [][]string{{"ws://b/"}, {"ws://c/", "ws://b/x"}}, []string{"ws://b/", "ws://b/x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			urls, rest := ofOneTracker(c.tiers)
			if !slices.Equal(urls, c.want) {
				t.Errorf("%q, want %q", urls, c.want)
			}
			if all := webTrackers(c.tiers); len(urls)+len(rest) != len(all) {
				t.Errorf("%q and %q, but there are %q", urls, rest, all)
			}
		})
	}
}

// knocks is a server that counts who comes, and has no WebSocket.
type knocks struct {
	*httptest.Server
	mu sync.Mutex
	n  int
}

func newKnocks(t *testing.T) *knocks {
	k := &knocks{}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		k.mu.Lock()
		k.n++
		k.mu.Unlock()
		http.NotFound(w, nil)
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *knocks) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.n
}

// A private torrent announces to one of its WebSocket trackers (BEP 27); one that turns out
// to be private, too.
func TestPrivateTorrentHasOneWebTracker(t *testing.T) {
	for _, late := range []bool{false, true} {
		first, second := newKnocks(t), newKnocks(t)
		way, err := network.New(network.Config{})
		if err != nil {
			t.Fatal(err)
		}
		sockets := ws.New(ws.Config{Network: way})
		defer sockets.Close()
		host := &testHost{private: !late}
		port := func(k *knocks) string { _, p, _ := net.SplitHostPort(k.Listener.Addr().String()); return p }
		s := New(Config{
			InfoHash: [20]byte{1}, PeerID: NewPeerID(), Host: host, Logger: slog.New(slog.DiscardHandler),
			Trackers: [][]string{{"ws://127.0.0.1:" + port(first)}, {"ws://localhost:" + port(second)}},
			Shared:   &Shared{Net: way, WS: sockets, Dials: allot.NewTurns(1), Port: func() int { return 1 }, Reach: reachAt(t)},
		})
		s.Start()
		wait := func(what string, f func() bool) {
			t.Helper()
			for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal(what)
				}
			}
		}
		wait("the first was not announced to", func() bool { return first.count() > 0 })
		if late {
			wait("a public torrent did not announce to the second", func() bool { return second.count() > 0 })
			host.private = true
			s.TurnPrivate()
		}
		host.tasks.Wait()
		before := second.count()
		again := first.count() + 1 // it is tried again after a second
		wait("the first was not tried again", func() bool { return first.count() > again })
		if n := second.count(); n != before {
			t.Errorf("found private late %v: the second was announced to %d times more", late, n-before)
		}
		<-s.Stop()
		host.tasks.Wait()
	}
}
