package ws_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/webrtcwire"
)

const testTimeout = 30 * time.Second

// peer is a ws.Torrent over a webrtcwire.Transport, the way the two are meant to
// be joined.
type peer struct {
	hash, id  ws.ID
	left      int64
	want      int
	transport *webrtcwire.Transport
	manager   *ws.Manager

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	conns  chan *webrtcwire.Conn

	mu       sync.Mutex
	offers   map[ws.ID]*webrtcwire.Offer
	statuses []ws.Status
}

func newPeer(t *testing.T, hash ws.ID, left int64, want int) *peer {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport, err := webrtcwire.New(webrtcwire.Config{PacketConns: []net.PacketConn{udp}})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		hash: hash, left: left, want: want, transport: transport,
		conns: make(chan *webrtcwire.Conn, 16), offers: map[ws.ID]*webrtcwire.Offer{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	copy(p.id[:], "-CW0100-"+rand.Text())
	p.manager = ws.New(ws.Config{})
	t.Cleanup(func() {
		p.cancel()
		if err := errors.Join(p.manager.Close(), p.transport.Close()); err != nil {
			t.Error(err)
		}
		p.wg.Wait()
	})
	return p
}

func (p *peer) InfoHash() ws.ID       { return p.hash }
func (p *peer) PeerID() ws.ID         { return p.id }
func (p *peer) Progress() ws.Progress { return ws.Progress{Left: p.left} }
func (p *peer) WantOffers() int       { return p.want }

func (p *peer) Offers(ctx context.Context, n int) []ws.Offer {
	var made []ws.Offer
	for range n {
		offer, err := p.transport.Offer(ctx)
		if err != nil {
			break
		}
		var id ws.ID
		_, _ = rand.Read(id[:]) // never fails
		p.mu.Lock()
		p.offers[id] = offer
		p.mu.Unlock()
		made = append(made, ws.Offer{ID: id, SDP: offer.SDP})
	}
	return made
}

func (p *peer) Answer(ctx context.Context, _, _ ws.ID, sdp string) (string, error) {
	answer, err := p.transport.Answer(ctx, sdp)
	if err != nil {
		return "", err
	}
	p.wg.Go(func() {
		if conn, err := answer.Wait(p.ctx); err == nil {
			p.conns <- conn
		}
	})
	return answer.SDP, nil
}

func (p *peer) Answered(_, id ws.ID, sdp string) {
	p.mu.Lock()
	offer := p.offers[id]
	delete(p.offers, id)
	p.mu.Unlock()
	if offer == nil {
		return
	}
	p.wg.Go(func() {
		if conn, err := offer.Accept(p.ctx, sdp); err == nil {
			p.conns <- conn
		}
	})
}

func (p *peer) Status(status ws.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statuses = append(p.statuses, status)
}

func (p *peer) status() ws.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.statuses) == 0 {
		return ws.Status{}
	}
	return p.statuses[len(p.statuses)-1]
}

func (p *peer) conn(t *testing.T) *webrtcwire.Conn {
	t.Helper()
	select {
	case conn := <-p.conns:
		if err := conn.SetDeadline(time.Now().Add(testTimeout)); err != nil {
			t.Fatal(err)
		}
		return conn
	case <-time.After(testTimeout):
		t.Fatalf("no connection; transport: %+v, tracker: %+v", p.transport.Stats(), p.status())
		return nil
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", testTimeout, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func randomID(t *testing.T) ws.ID {
	t.Helper()
	var id ws.ID
	if _, err := rand.Read(id[:]); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestTwoPeersMeetThroughTheReferenceTracker has bytes go from one Transport to
// another, which know of each other only by the tracker.
func TestTwoPeersMeetThroughTheReferenceTracker(t *testing.T) {
	address, _ := startTracker(t, "0")
	hash := randomID(t)
	seed, leech := newPeer(t, hash, 0, 0), newPeer(t, hash, -1, 3)
	if _, err := seed.manager.Add(address, seed); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the seed's announce", func() bool { return seed.status().Seeds == 1 })
	start := time.Now()
	if _, err := leech.manager.Add(address, leech); err != nil {
		t.Fatal(err)
	}
	from, to := seed.conn(t), leech.conn(t)
	t.Logf("connected %v after the leech's announce", time.Since(start))
	want := make([]byte, 4<<20)
	if _, err := rand.Read(want); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = from.Write(want) }() // a failure shows at the other end
	got := make([]byte, len(want))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("bytes arrived changed, or not: %v", err)
	}
	if status := leech.status(); status.Err != nil || status.Interval != 2*time.Minute || status.Leeches != 1 || status.Seeds != 1 {
		t.Errorf("leech's status %+v, want 1 seed, 1 leech, an interval of 2 minutes", status)
	}
	swarms, err := leech.manager.Scrape(t.Context(), address, hash)
	if err != nil || swarms[hash].Seeds != 1 || swarms[hash].Leeches != 1 {
		t.Errorf("scrape: %+v, %v", swarms, err)
	}
}

// TestReferenceTrackerRestarts kills the tracker and starts it on the same port.
func TestReferenceTrackerRestarts(t *testing.T) {
	address, stop := startTracker(t, "0")
	peers := []*peer{newPeer(t, randomID(t), -1, 1), newPeer(t, randomID(t), 0, 1)}
	for _, p := range peers {
		if _, err := p.manager.Add(address, p); err != nil {
			t.Fatal(err)
		}
	}
	announced := func() bool {
		return peers[0].status().Interval > 0 && peers[0].status().Err == nil &&
			peers[1].status().Interval > 0 && peers[1].status().Err == nil
	}
	eventually(t, "both announces", announced)
	stop()
	eventually(t, "the outage to be noticed", func() bool {
		return peers[0].status().Err != nil && peers[1].status().Err != nil
	})
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	startTracker(t, u.Port())
	back := time.Now()
	eventually(t, "both announces again", announced)
	if took := time.Since(back); took > 5*time.Second {
		t.Errorf("announced again after %v, want 5 s at most", took)
	}
}

// TestDownloadFromWebTorrent fetches a block from webtorrent.js in Node.
func TestDownloadFromWebTorrent(t *testing.T) {
	address, _ := startTracker(t, "0")
	content := make([]byte, 64<<10)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var torrent struct{ InfoHash string }
	runNode(t, &torrent, "seed.mjs", address, file)
	var hash ws.ID
	if _, err := hex.Decode(hash[:], []byte(torrent.InfoHash)); err != nil {
		t.Fatal(err)
	}
	leech := newPeer(t, hash, -1, 5)
	handle, err := leech.manager.Add(address, leech)
	if err != nil {
		t.Fatal(err)
	}
	// More than one attempt, for two reasons outside of us. Both sides offer, and
	// if the offers cross webtorrent.js closes one of the connections. And its
	// libdatachannel refuses our certificate (unknown_ca) now and then, when ICE
	// connects before it has stored the answer, as it may over loopback.
	const attempts, patience = 5, 8 * time.Second
	for range attempts {
		select {
		case conn := <-leech.conns:
			if err = conn.SetDeadline(time.Now().Add(testTimeout)); err == nil {
				err = fetchBlock(conn, hash, content)
			}
			if err == nil {
				return
			}
			t.Log(err)
		case <-time.After(patience):
			t.Logf("no connection yet: %+v", leech.transport.Stats())
			handle.Announce()
		}
	}
	t.Errorf("no block after %d attempts: %v", attempts, err)
}

// fetchBlock speaks just enough of the peer wire protocol to get the second piece,
// of 16 KiB, and compares it.
func fetchBlock(conn net.Conn, hash ws.ID, content []byte) error {
	handshake := append([]byte("\x13BitTorrent protocol\x00\x00\x00\x00\x00\x00\x00\x00"), hash[:]...)
	handshake = append(handshake, "-CW0100-testtesttest"...)
	if _, err := conn.Write(handshake); err != nil {
		return fmt.Errorf("send the handshake: %w", err)
	}
	reply := make([]byte, len(handshake))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return fmt.Errorf("read the handshake: %w", err)
	}
	if !bytes.Equal(reply[28:48], hash[:]) {
		return fmt.Errorf("handshake %q has another infohash", reply)
	}
	const (
		unchoke, bitfield, piece = 1, 5, 7
		interested               = "\x00\x00\x00\x01\x02"
		request                  = "\x00\x00\x00\x0d\x06\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x40\x00"
	)
	replies := map[byte]string{bitfield: interested, unchoke: request}
	for {
		var header [4]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return fmt.Errorf("read a message: %w", err)
		}
		message := make([]byte, binary.BigEndian.Uint32(header[:]))
		if _, err := io.ReadFull(conn, message); err != nil {
			return fmt.Errorf("read a message: %w", err)
		}
		if len(message) == 0 {
			continue // keep-alive
		}
		if message[0] == piece {
			if !bytes.Equal(message[9:], content[16<<10:32<<10]) {
				return errors.New("the block arrived changed")
			}
			return nil
		}
		if _, err := conn.Write([]byte(replies[message[0]])); err != nil {
			return fmt.Errorf("send a message: %w", err)
		}
	}
}
