package ws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testPeerID = idOf("-CW0100-test-peer-id")

func idOf(s string) ID {
	var id ID
	copy(id[:], s)
	return id
}

// fakeTorrent records what a Manager does with it.
type fakeTorrent struct {
	hash ID
	peer ID
	want int

	mu       sync.Mutex
	left     int64
	offers   int
	answers  []string // SDPs of answers received
	offered  int      // incoming offers
	statuses []Status
}

func newTorrent(name string) *fakeTorrent {
	return &fakeTorrent{hash: idOf(name), peer: testPeerID, want: 5, left: -1}
}

func (t *fakeTorrent) InfoHash() ID { return t.hash }

func (t *fakeTorrent) PeerID() ID { return t.peer }

func (t *fakeTorrent) Progress() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Progress{Left: t.left}
}

func (t *fakeTorrent) WantOffers() int { return t.want }

func (t *fakeTorrent) Offers(_ context.Context, n int) []Offer {
	t.mu.Lock()
	defer t.mu.Unlock()
	offers := make([]Offer, n)
	for i := range offers {
		t.offers++
		offers[i] = Offer{ID: idOf(fmt.Sprintf("offer %x %d", t.hash[:4], t.offers)), SDP: "offer of " + string(t.hash[:])}
	}
	return offers
}

func (t *fakeTorrent) Answer(_ context.Context, _, _ ID, sdp string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.offered++
	if sdp == "bad" {
		return "", errors.New("bad offer")
	}
	return "answer to " + sdp, nil
}

func (t *fakeTorrent) Answered(_, _ ID, sdp string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answers = append(t.answers, sdp)
}

func (t *fakeTorrent) Status(status Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.statuses = append(t.statuses, status)
}

func (t *fakeTorrent) last() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.statuses) == 0 {
		return Status{}
	}
	return t.statuses[len(t.statuses)-1]
}

func (t *fakeTorrent) offersTaken() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.offered
}

// fakeTracker is the other end of Manager's connections, without sockets, so that
// synctest can run the clock.
type fakeTracker struct {
	t *testing.T

	mu       sync.Mutex
	down     bool
	mute     bool // does not answer pings
	dials    []time.Time
	dialled  chan struct{} // told of each; may be nil
	pings    []time.Time
	received []received
	conns    []*fakeConn
}

type received struct {
	at time.Time
	announceMessage
	Answer *description
	To     *ID
}

func (f *fakeTracker) manager() *Manager {
	return New(Config{Dial: f.dial})
}

func (f *fakeTracker) dial(context.Context, string) (Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials = append(f.dials, time.Now())
	select {
	case f.dialled <- struct{}{}:
	default:
	}
	if f.down {
		return nil, errors.New("connection refused")
	}
	c := &fakeConn{tracker: f, in: make(chan []byte, 4096), closed: make(chan struct{})}
	f.conns = append(f.conns, c)
	return c, nil
}

func (f *fakeTracker) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	if down {
		for _, c := range f.conns {
			_ = c.Close()
		}
		f.conns = nil
	}
}

func (f *fakeTracker) push(v any) {
	f.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	f.pushRaw(b)
}

func (f *fakeTracker) pushRaw(b []byte) {
	f.mu.Lock()
	c := f.conns[len(f.conns)-1]
	f.mu.Unlock()
	select {
	case c.in <- b: // waits, as TCP does, for a client that reads slowly
	case <-c.closed:
	}
}

// take returns and forgets what was received.
func (f *fakeTracker) take() []received {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.received
	f.received = nil
	return r
}

type fakeConn struct {
	tracker *fakeTracker
	in      chan []byte
	once    sync.Once
	closed  chan struct{}
}

func (c *fakeConn) Read(ctx context.Context) ([]byte, error) {
	select {
	case b := <-c.in:
		return b, nil
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *fakeConn) Write(_ context.Context, b []byte) error {
	select {
	case <-c.closed:
		return io.ErrClosedPipe
	default:
	}
	var r struct {
		announceMessage
		Answer *description `json:"answer"`
		To     *ID          `json:"to_peer_id"`
	}
	if bytes.Contains(b, []byte(`"action":"scrape"`)) {
		return nil
	}
	if err := json.Unmarshal(b, &r); err != nil {
		c.tracker.t.Errorf("client sent %q: %v", b, err)
	}
	c.tracker.mu.Lock()
	defer c.tracker.mu.Unlock()
	c.tracker.received = append(c.tracker.received,
		received{at: time.Now(), announceMessage: r.announceMessage, Answer: r.Answer, To: r.To})
	return nil
}

func (c *fakeConn) Ping(ctx context.Context) error {
	c.tracker.mu.Lock()
	mute := c.tracker.mute
	c.tracker.pings = append(c.tracker.pings, time.Now())
	c.tracker.mu.Unlock()
	if !mute {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return io.EOF
	}
}

func (c *fakeConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func add(t *testing.T, m *Manager, url string, torrent Torrent) *Handle {
	t.Helper()
	h, err := m.Add(url, torrent)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func closeManager(t *testing.T, m *Manager) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// announced is a tracker that knows of one torrent.
func announced(t *testing.T) (*fakeTracker, *fakeTorrent) {
	t.Helper()
	tracker := &fakeTracker{t: t}
	m := tracker.manager()
	t.Cleanup(func() { closeManager(t, m) })
	torrent := newTorrent("torrent")
	add(t, m, fakeURL, torrent)
	tracker.take()
	return tracker, torrent
}
