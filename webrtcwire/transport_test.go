package webrtcwire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestManyConnectionsShareOneSocket(t *testing.T) {
	hub := loopbackTransport(t, nil)
	var wg sync.WaitGroup
	for i := range 6 {
		a, b := connect(t, loopbackTransport(t, nil), hub)
		if b.LocalAddr().String() != hub.LocalAddr().String() {
			t.Errorf("connection at %v, want the shared socket %v", b.LocalAddr(), hub.LocalAddr())
		}
		wg.Go(func() { transfer(t, a, b, randomBytes(uint64(i), 256<<10)) })
	}
	wg.Wait()
	if got := hub.Stats(); got.Conns != 6 || got.Connected != 6 || got.Negotiations != 0 {
		t.Errorf("stats %+v, want 6 connections", got)
	}
}

// TestSamePeersMeetTwice is two programs, each with one UDP port, that share
// several torrents.
func TestSamePeersMeetTwice(t *testing.T) {
	a, b := loopbackTransport(t, nil), loopbackTransport(t, nil)
	var wg sync.WaitGroup
	for i := range 4 {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		connA, connB := connect(t, from, to)
		wg.Go(func() { transfer(t, connA, connB, randomBytes(uint64(i), 1<<20)) })
		wg.Go(func() { transfer(t, connB, connA, randomBytes(uint64(i+100), 1<<20)) })
	}
	wg.Wait()
}

// TestForeignAddressInADescription has a stranger whose description lists the
// address of a peer that is connected already.
func TestForeignAddressInADescription(t *testing.T) {
	hub := loopbackTransport(t, nil)
	peer, stranger := loopbackTransport(t, nil), loopbackTransport(t, nil)
	connA, connB := connect(t, peer, hub)
	ctx := testContext(t)
	offer, err := hub.Offer(ctx) // the answer is what is forged: it cannot be dodged
	if err != nil {
		t.Fatal(err)
	}
	answer, err := stranger.Answer(ctx, offer.SDP)
	if err != nil {
		t.Fatal(err)
	}
	port := func(t *Transport) string { return fmt.Sprintf(" %d typ host", t.LocalAddr().(*net.UDPAddr).Port) }
	forged := strings.Replace(answer.SDP, port(stranger), port(peer), 1)
	if forged == answer.SDP {
		t.Fatal("no candidate to forge")
	}
	accepted, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() { _, _ = offer.Accept(accepted, forged); close(done) }()
	transfer(t, connA, connB, randomBytes(1, 4<<20))
	transfer(t, connB, connA, randomBytes(2, 4<<20))
	cancel()
	<-done
}

func transfer(t *testing.T, from, to *Conn, want []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { _, err := from.Write(want); sent <- err }()
	got := make([]byte, len(want))
	if err := to.SetReadDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("transfer of %d bytes: %v", len(want), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestOfferHasEverythingInside(t *testing.T) {
	transport := loopbackTransport(t, nil)
	start := time.Now()
	offer, err := transport.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("offer of %d bytes after %v", len(offer.SDP), time.Since(start))
	for _, want := range []string{
		"a=setup:actpass", "a=fingerprint:sha-256 ", "a=sctp-port:5000", "a=max-message-size:",
		fmt.Sprintf(" 1 udp 2130706431 127.0.0.1 %s typ host", strings.TrimPrefix(transport.LocalAddr().String(), "127.0.0.1:")),
		"a=end-of-candidates",
	} {
		if !strings.Contains(offer.SDP, want) {
			t.Errorf("offer without %q:\n%s", want, offer.SDP)
		}
	}
	if strings.Contains(offer.SDP, " 2 udp ") {
		t.Errorf("offer with candidates for RTCP:\n%s", offer.SDP)
	}
}

// An offer waits for a first candidate, however little time there is for others.
func TestOfferWaitsForACandidate(t *testing.T) {
	transport := loopbackTransport(t, func(c *Config) { c.GatherTimeout = time.Nanosecond })
	for range 10 {
		offer, err := transport.Offer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(offer.SDP, "a=candidate:") {
			t.Errorf("the offer has no candidate: %q", offer.SDP)
		}
		offer.Close()
	}
}

func TestUnansweredOfferExpires(t *testing.T) {
	transport := loopbackTransport(t, func(c *Config) { c.OfferLifetime = 50 * time.Millisecond })
	offer, err := transport.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	<-offer.Done()
	eventually(t, "the offer to be released", func() bool {
		stats := transport.Stats()
		return stats.Offers == 0 && stats.Expired == 1
	})
	other := loopbackTransport(t, nil)
	answer, err := other.Answer(testContext(t), offer.SDP)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := offer.Accept(testContext(t), answer.SDP); !errors.Is(err, ErrExpired) {
		t.Errorf("answer to an expired offer: %v, want ErrExpired", err)
	}
}

func TestNegotiationThatLeadsNowhereSaysWhy(t *testing.T) {
	a := loopbackTransport(t, nil)
	b := loopbackTransport(t, func(c *Config) { c.NegotiationTimeout = 300 * time.Millisecond })
	offer, err := a.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := b.Answer(testContext(t), offer.SDP) // which a never learns of
	if err != nil {
		t.Fatal(err)
	}
	_, err = answer.Wait(testContext(t))
	var failure *NegotiationError
	if !errors.As(err, &failure) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a NegotiationError", err)
	}
	if len(failure.Local) != 1 || failure.Local[0] != "host" || len(failure.Remote) != 1 || failure.Remote[0] != "host" {
		t.Errorf("candidate types %v and %v, want host and host", failure.Local, failure.Remote)
	}
	if stats := b.Stats(); stats.Failed != 1 || stats.LastFailure != failure {
		t.Errorf("stats %+v, want the failure", stats)
	}
}

func TestOfferIsAnsweredOnce(t *testing.T) {
	a, b := loopbackTransport(t, nil), loopbackTransport(t, nil)
	ctx := testContext(t)
	offer, err := a.Offer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := offer.Accept(ctx, "v=0\r\n"); !errors.Is(err, ErrBadSDP) {
		t.Errorf("nonsense as an answer: %v, want ErrBadSDP", err)
	}
	answer, err := b.Answer(ctx, offer.SDP)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := offer.Accept(ctx, answer.SDP) // the offer has survived the nonsense
	if err != nil {
		t.Fatal(err)
	}
	if _, err := offer.Accept(ctx, answer.SDP); !errors.Is(err, ErrAnswered) {
		t.Errorf("second answer: %v, want ErrAnswered", err)
	}
	if err := offer.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("still here")); err != nil {
		t.Errorf("connection after closing its offer: %v", err)
	}
}

func TestBounds(t *testing.T) {
	a := loopbackTransport(t, func(c *Config) { c.MaxPending, c.MaxConns = 4, 1 })
	ctx := testContext(t)
	var offers []*Offer
	for range 2 {
		offer, err := a.Offer(ctx)
		if err != nil {
			t.Fatal(err)
		}
		offers = append(offers, offer)
	}
	if _, err := a.Offer(ctx); !errors.Is(err, ErrTooMany) {
		t.Errorf("third offer: %v, want ErrTooMany", err)
	}
	if err := offers[0].Close(); err != nil {
		t.Fatal(err)
	}
	conn, _ := connect(t, a, loopbackTransport(t, nil))
	if _, err := a.Offer(ctx); !errors.Is(err, ErrTooMany) {
		t.Errorf("offer with all connections taken: %v, want ErrTooMany", err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Offer(ctx); err != nil {
		t.Errorf("offer after a connection closed: %v", err)
	}
}

// TestAnswersComeFirst fills all places: an offer gives way to an answer, and so does a
// negotiation with a peer that is not there.
func TestAnswersComeFirst(t *testing.T) {
	a, peer := loopbackTransport(t, func(c *Config) { c.MaxPending = 4 }), loopbackTransport(t, nil)
	a.pathPatience = time.Hour
	ctx := testContext(t)
	var offers []*Offer
	for range 2 {
		offer, err := a.Offer(ctx)
		if err != nil {
			t.Fatal(err)
		}
		offers = append(offers, offer)
	}
	answer := func() (*Answer, error) {
		theirs, err := peer.Offer(ctx) // which never learns of the answer
		if err != nil {
			t.Fatal(err)
		}
		return a.Answer(ctx, theirs.SDP)
	}
	var first *Answer
	for i := range 4 {
		got, err := answer()
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if first == nil {
			first = got
		}
	}
	for _, offer := range offers {
		select {
		case <-offer.Done():
		default:
			t.Error("an offer of ours keeps its place while all are needed for answers")
		}
	}
	if _, err := answer(); !errors.Is(err, ErrTooMany) {
		t.Errorf("an answer while all others have just begun: %v, want ErrTooMany", err)
	}
	a.pathPatience = 0
	if _, err := answer(); err != nil {
		t.Errorf("an answer while others lead nowhere: %v", err)
	}
	var gaveWay *NegotiationError
	if _, err := first.Wait(ctx); !errors.As(err, &gaveWay) || !errors.Is(err, errGaveWay) {
		t.Errorf("the oldest negotiation: %v, want %v", err, errGaveWay)
	}
	if first.Reached() {
		t.Error("a path to a peer that knows of no answer")
	}
}

// TestCloseBesideNewSessions closes while offers and answers are being made.
func TestCloseBesideNewSessions(t *testing.T) {
	peer := loopbackTransport(t, nil)
	offer, err := peer.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		a := loopbackTransport(t, nil)
		var making sync.WaitGroup
		for range 4 {
			making.Go(func() { _, _ = a.Offer(t.Context()) })
			making.Go(func() { _, _ = a.Answer(t.Context(), offer.SDP) })
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		making.Wait()
	}
}

func TestVanishedAndClosedPeersAreNoticed(t *testing.T) {
	a, b := pair(t)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
	eventually(t, "the connection to be released", func() bool { return a.s.t.Stats().Conns == 0 })
}

// TestOffersLeaveNothingBehind makes 200 offers, and negotiations of which none
// completes, and looks at goroutines and file descriptors.
func TestOffersLeaveNothingBehind(t *testing.T) {
	const n = 200
	a := loopbackTransport(t, func(c *Config) { c.MaxPending = 2 * n })
	b := loopbackTransport(t, func(c *Config) { c.MaxPending = n })
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	heap := heapInUse()
	offers := make([]*Offer, n)
	answers := make([]*Answer, n/4)
	ctx := testContext(t)
	for i := range offers {
		var err error
		if offers[i], err = a.Offer(ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("an offer costs %d bytes of heap, %d goroutines", (heapInUse()-heap)/n, (runtime.NumGoroutine()-goroutines)/n)
	for i := range answers {
		var err error
		if answers[i], err = b.Answer(ctx, offers[i].SDP); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for _, offer := range offers {
		wg.Go(func() { _ = offer.Close() })
	}
	for _, answer := range answers {
		wg.Go(func() { _ = answer.Close() })
	}
	wg.Wait()
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	if got := openFiles(t); got > files {
		t.Errorf("%d files open, %d before", got, files)
	}
	if stats := a.Stats(); stats.Offers+stats.Negotiations+stats.Conns != 0 {
		t.Errorf("stats %+v, want nothing live", stats)
	}
}

// openFiles counts this process's file descriptors, where the system lists them.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Logf("file descriptors are not counted: %v", err)
		return 0
	}
	return len(entries)
}

func TestCloseEndsEverything(t *testing.T) {
	a, b := loopbackTransport(t, nil), loopbackTransport(t, nil)
	ctx := testContext(t)
	conn, _ := connect(t, a, b)
	offer, err := a.Offer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() { _, err := conn.Read(make([]byte, 1)); read <- err }()
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-read; !errors.Is(err, ErrClosed) {
		t.Errorf("blocked Read: %v, want ErrClosed", err)
	}
	<-offer.Done()
	if _, err := a.Offer(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("offer after Close: %v, want ErrClosed", err)
	}
}
