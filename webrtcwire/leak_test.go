package webrtcwire

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

// Tests that what came and went leaves nothing behind.
const (
	manyOffers = 10_000
	manyPeers  = 1_000

	// atOnce is how many live at a time.
	atOnce = 150

	// shortLife replaces the minute that an offer lives, and the half of one that a
	// negotiation may take. It is enough to make an answer on a busy machine.
	shortLife = 300 * time.Millisecond

	// rssMargin is what allocators and the runtime may keep, in bytes. A leak of one
	// session in eight would be more: it has 30 KB.
	rssMargin = 32 << 20

	leakTimeout = 2 * time.Minute
)

// footprint is what this process holds.
type footprint struct {
	goroutines, files int
	rssAnon           int64 // bytes; 0 where it is not known
}

func measure(t *testing.T) footprint {
	t.Helper()
	debug.FreeOSMemory()
	debug.FreeOSMemory() // a sync.Pool lets go in the second collection
	rss, err := proc.RssAnon(os.Getpid())
	if err != nil {
		t.Logf("memory is not measured: %v", err)
	}
	return footprint{runtime.NumGoroutine(), openFiles(t), rss}
}

// returnsTo waits until no more is held than before.
func returnsTo(t *testing.T, before footprint) {
	t.Helper()
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before.goroutines })
	after := measure(t)
	t.Logf("before %+v, after %+v", before, after)
	if after.files > before.files {
		t.Errorf("%d files are open, %d before", after.files, before.files)
	}
	if after.rssAnon > before.rssAnon+rssMargin {
		t.Errorf("RssAnon is %d MiB, %d before", after.rssAnon>>20, before.rssAnon>>20)
	}
}

// needsTime skips a test of thousands of connections where that takes too long. The race
// detector makes each several times as expensive, and its own memory does not shrink:
// `make test` runs these tests without it.
func needsTime(t *testing.T) {
	t.Helper()
	if testing.Short() || raceSlowdown > 1 {
		t.Skip("makes thousands of connections")
	}
}

// repeat runs f n times, atOnce at a time.
func repeat(t *testing.T, n int, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), leakTimeout)
	defer cancel()
	var left atomic.Int64
	left.Store(int64(n))
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func TestUnansweredOffersLeaveNothing(t *testing.T) {
	needsTime(t)
	transport := loopbackTransport(t, func(c *Config) { c.OfferLifetime, c.MaxPending = shortLife, 2*atOnce })
	offer := func(ctx context.Context) error {
		o, err := transport.Offer(ctx)
		if errors.Is(err, ErrExpired) { // as it was made, on a busy machine
			return nil
		}
		if err == nil {
			<-o.s.gone
		}
		return err
	}
	repeat(t, 2*atOnce, offer) // so that pools and the heap have their size
	before := measure(t)
	repeat(t, manyOffers, offer)
	returnsTo(t, before)
	if got := transport.Stats(); got.Expired != manyOffers+2*atOnce || got.Offers != 0 {
		t.Errorf("stats %+v, want %d expired offers", got, manyOffers+2*atOnce)
	}
}

func TestOffersThatNeverConnectLeaveNothing(t *testing.T) {
	needsTime(t)
	ctx := testContext(t)
	dead := loopbackTransport(t, nil)
	theirs, err := dead.Offer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil { // nobody is at its address any more
		t.Fatal(err)
	}
	transport := loopbackTransport(t, func(c *Config) { c.NegotiationTimeout = shortLife })
	answer := func(ctx context.Context) error {
		var failed *NegotiationError
		a, err := transport.Answer(ctx, theirs.SDP)
		if errors.As(err, &failed) { // its time was over as it was made, on a busy machine
			return nil
		}
		if err != nil {
			return err
		}
		_, err = a.Wait(ctx)
		<-a.s.gone
		if !errors.As(err, &failed) {
			return err
		}
		return nil
	}
	repeat(t, 2*atOnce, answer)
	before := measure(t)
	repeat(t, manyOffers, answer)
	returnsTo(t, before)
	if got := transport.Stats(); got.Failed != manyOffers+2*atOnce || got.Negotiations != 0 {
		t.Errorf("stats %+v, want %d failed negotiations", got, manyOffers+2*atOnce)
	}
}

// switchedOff is a socket whose peer is gone from the network at a word: nothing
// arrives or leaves any more, no farewell either.
type switchedOff struct {
	net.PacketConn
	off atomic.Bool
}

func (s *switchedOff) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.off.Load() {
		return len(b), nil
	}
	return s.PacketConn.WriteTo(b, to)
}

func (s *switchedOff) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.PacketConn.ReadFrom(b)
		if err != nil || !s.off.Load() {
			return n, from, err
		}
	}
}

// vanish makes a connection to transport from a program of its own, which then is
// gone. The connection at our end is noticed to be dead after 30 s.
func vanish(ctx context.Context, transport *Transport) (ours *Conn, err error) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	socket := &switchedOff{PacketConn: udp}
	peer, err := New(Config{PacketConns: []net.PacketConn{socket}})
	if err != nil {
		return nil, err
	}
	defer peer.Close()
	defer socket.off.Store(true)
	offer, err := peer.Offer(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := transport.Answer(ctx, offer.SDP)
	if err != nil {
		return nil, err
	}
	if _, err := offer.Accept(ctx, answer.SDP); err != nil {
		return nil, err
	}
	return answer.Wait(ctx)
}

func TestPeersThatVanishLeaveNothing(t *testing.T) {
	needsTime(t)
	transport := loopbackTransport(t, func(c *Config) { c.MaxConns = manyPeers })
	before := measure(t)
	var reading sync.WaitGroup
	repeat(t, manyPeers, func(ctx context.Context) error {
		conn, err := vanish(ctx, transport)
		if err != nil {
			return err
		}
		reading.Go(func() {
			if _, err := conn.Read(make([]byte, 1)); err == nil || err == io.EOF { //nolint:errorlint // io.EOF itself would mean a close
				t.Errorf("read from a peer that vanished: %v, want an error that says so", err)
			}
			conn.Close()
		})
		return nil
	})
	t.Logf("connected to %d peers: %+v", manyPeers, measure(t))
	reading.Wait()
	returnsTo(t, before)
	if got := transport.Stats(); got.Connected != manyPeers || got.Conns != 0 {
		t.Errorf("stats %+v, want %d connections made and none left", got, manyPeers)
	}
}
