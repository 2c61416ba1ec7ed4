package ws_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/tracker/ws"
)

// cutNetwork is the system's, and can cut all connections.
type cutNetwork struct {
	mu    sync.Mutex
	conns []net.Conn
	down  bool
}

func (n *cutNetwork) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	down := n.down
	n.mu.Unlock()
	if down {
		return nil, errors.New("cut")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		n.mu.Lock()
		n.conns = append(n.conns, conn)
		n.mu.Unlock()
	}
	return conn, err
}

func (n *cutNetwork) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}
func (n *cutNetwork) HTTPTransport() *http.Transport      { return &http.Transport{} }
func (n *cutNetwork) MayName(netip.Addr, netip.Addr) bool { return true }

func (n *cutNetwork) setDown(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
	if !down {
		return
	}
	for _, conn := range n.conns {
		conn.Close()
	}
}

// relayed is a torrent whose descriptions are words.
type relayed struct {
	hash, id ws.ID
	want     int
	offered  chan ws.ID // who offers
	answered chan ws.ID // who answers
	statuses chan ws.Status
}

func newRelayed(name, id string, want int) *relayed {
	r := &relayed{want: want, offered: make(chan ws.ID, 100), answered: make(chan ws.ID, 100), statuses: make(chan ws.Status, 100)}
	copy(r.hash[:], name)
	copy(r.id[:], id)
	return r
}

func (r *relayed) InfoHash() ws.ID       { return r.hash }
func (r *relayed) PeerID() ws.ID         { return r.id }
func (r *relayed) Progress() ws.Progress { return ws.Progress{Left: 1} }
func (r *relayed) WantOffers() int       { return r.want }
func (r *relayed) Status(s ws.Status)    { r.statuses <- s }

func (r *relayed) Offers(_ context.Context, n int) []ws.Offer {
	offers := make([]ws.Offer, n)
	for i := range offers {
		copy(offers[i].ID[:], fmt.Sprint("offer ", i))
		offers[i].SDP = "offer"
	}
	return offers
}

func (r *relayed) Answer(_ context.Context, peer, _ ws.ID, _ string) (string, error) {
	r.offered <- peer
	return "answer", nil
}

func (r *relayed) Answered(peer, _ ws.ID, _ string) { r.answered <- peer }

// status waits for a status that is an error, or not.
func (r *relayed) status(t *testing.T, failed bool) {
	t.Helper()
	for {
		select {
		case s := <-r.statuses:
			if (s.Err != nil) == failed {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: no status with an error: %v", r.hash[:], failed)
		}
	}
}

// TestPeerIDsOnOneConnectionThatBreaks has torrents with peer ids of their own share a
// connection to the reference tracker, lose it, and be found by others after that.
func TestPeerIDsOnOneConnectionThatBreaks(t *testing.T) {
	url, _ := startTracker(t, "0")
	network := &cutNetwork{}
	manager := ws.New(ws.Config{Network: network})
	defer manager.Close()
	torrents := []*relayed{newRelayed("one", "-CW0100-of one", 0), newRelayed("two", "-CW0100-of two", 0)}
	for _, torrent := range torrents {
		if _, err := manager.Add(url, torrent); err != nil {
			t.Fatal(err)
		}
		torrent.status(t, false)
	}
	network.setDown(true)
	for _, torrent := range torrents {
		torrent.status(t, true)
	}
	network.setDown(false)
	for _, torrent := range torrents {
		torrent.status(t, false)
	}
	if n := len(network.conns); n != 2 {
		t.Errorf("%d connections", n)
	}
	for i, torrent := range torrents {
		others := ws.New(ws.Config{})
		browser := newRelayed("", fmt.Sprint("a browser ", i), 1)
		browser.hash = torrent.hash
		if _, err := others.Add(url, browser); err != nil {
			t.Fatal(err)
		}
		for what, c := range map[string]struct {
			heard chan ws.ID
			from  ws.ID
		}{"offer": {torrent.offered, browser.id}, "answer": {browser.answered, torrent.id}} {
			select {
			case from := <-c.heard:
				if from != c.from {
					t.Errorf("%s of %s: %s from %q", torrent.hash[:], what, what, from)
				}
			case <-time.After(20 * time.Second):
				t.Errorf("%s: no %s came through", torrent.hash[:], what)
			}
		}
		if err := others.Close(); err != nil {
			t.Error(err)
		}
	}
}
