package discovery

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAFreshTorrentDoesNotWaitForIdleOnes runs 200 idle torrents among nodes of which one
// answers no lookup, so that each takes a query's time-out.
func TestAFreshTorrentDoesNotWaitForIdleOnes(t *testing.T) {
	silent := newSilentNode(t)
	router, addr := newNode(t, DHTConfig{Bootstrap: []string{silent.String()}})
	eventually(t, "the router knows the silent node", func() bool { return router.NumNodes() == 1 })
	seed, _ := newNode(t, DHTConfig{Bootstrap: []string{addr.String()}})
	fresh := [20]byte{0xff}
	hash := [20]byte{200, 2}
	announce(t, seed, fresh, 1001)
	announce(t, seed, hash, 1004)

	d, _ := newNode(t, DHTConfig{Bootstrap: []string{addr.String()}})
	eventually(t, "both nodes are known", func() bool { return d.NumNodes() >= 2 })
	ctx, cancel := context.WithCancel(t.Context())
	var idle sync.WaitGroup
	defer idle.Wait()
	defer cancel()
	for i := range 200 {
		idle.Go(func() {
			d.Announce(ctx, [20]byte{byte(i), 1}, at(1002), NewNeed(Idle), func([]netip.AddrPort) {})
		})
	}
	eventually(t, "all idle torrents wait", func() bool {
		d.turns.mu.Lock()
		defer d.turns.mu.Unlock()
		return len(d.turns.waiting) == 200-maxIdleLookups
	})
	began := time.Now()
	waitFor(t, announce(t, d, fresh, 1003), "127.0.0.1:1001")
	t.Logf("found after %v", time.Since(began))

	// The torrent that was added last, and whose need rises, goes before those that waited longer.
	late := NewNeed(Idle)
	found := make(chan netip.AddrPort, 100)
	idle.Go(func() {
		d.Announce(ctx, hash, at(1002), late, func(peers []netip.AddrPort) {
			for _, p := range peers {
				select {
				case found <- p:
				default:
				}
			}
		})
	})
	late.Set(Fresh)
	awaitPeer(t, found, "127.0.0.1:1004", 10*time.Second)
	d.turns.mu.Lock()
	defer d.turns.mu.Unlock()
	if len(d.turns.waiting) < 200/2 {
		t.Errorf("only %d idle torrents still waited then", len(d.turns.waiting))
	}
}

// silentNode answers everything but get_peers.
type silentNode struct{ net.PacketConn }

func newSilentNode(t *testing.T) *silentNode {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silentNode{pc}
	done := make(chan struct{})
	go func() { defer close(done); s.serve() }()
	t.Cleanup(func() { pc.Close(); <-done })
	return s
}

func (s *silentNode) String() string { return s.LocalAddr().String() }

func (s *silentNode) serve() {
	b := make([]byte, maxMessage)
	for {
		n, from, err := s.ReadFrom(b)
		if err != nil {
			return
		}
		m, err := decodeDict(b[:n])
		if err != nil || string(m.text("y")) != "q" {
			continue
		}
		if string(m.text("q")) == "get_peers" {
			continue
		}
		tid := m.text("t")
		fmt.Fprintf(replyTo{s, from}, "d1:rd%se1:t%d:%s1:y1:re", nodeID, len(tid), tid)
	}
}

type replyTo struct {
	net.PacketConn
	to net.Addr
}

func (r replyTo) Write(b []byte) (int, error) { return r.WriteTo(b, r.to) }

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q turns
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		var order []string
		release := make(chan struct{})
		start := func(name string, need *Need, rounds int) {
			go func() {
				level, ok := q.take(ctx, need, rounds)
				if !ok {
					return
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				<-release
				q.give(level)
			}()
			synctest.Wait()
		}
		started := func(want string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(order, " "); got != want {
				t.Errorf("started %q, want %q", got, want)
			}
		}
		rising := NewNeed(Idle)
		start("idle1", NewNeed(Idle), 0)
		start("idle2", NewNeed(Idle), 0)
		start("idle3", NewNeed(Idle), 1)
		start("rising", rising, 0)
		started("idle1 idle2")
		for i := range 5 {
			start(fmt.Sprint("active", i+1), NewNeed(Active), 0)
		}
		started("idle1 idle2 active1 active2 active3 active4")
		start("dead", NewNeed(Fresh), freshRounds)
		start("fresh1", NewNeed(Fresh), 0)
		start("fresh2", NewNeed(Fresh), 0)
		start("fresh3", NewNeed(Fresh), 1)
		started("idle1 idle2 active1 active2 active3 active4 fresh1 fresh2")
		rising.Set(Fresh)
		started("idle1 idle2 active1 active2 active3 active4 fresh1 fresh2")
		for range 3 {
			release <- struct{}{}
			synctest.Wait()
		}
		mu.Lock()
		rest := slices.Clone(order[8:])
		mu.Unlock()
		if len(rest) < 2 || rest[0] != "rising" || rest[1] != "fresh3" {
			t.Errorf("then %q", rest)
		}
		cancel()
		close(release)
		synctest.Wait()
		q.mu.Lock()
		defer q.mu.Unlock()
		if len(q.waiting) != 0 || q.running != [3]int{} {
			t.Errorf("left: %d wait, running %v", len(q.waiting), q.running)
		}
	})
}

// TestHowOftenATorrentIsLookedFor counts the lookups of one torrent in three hours among
// nodes enough, of which none knows a peer.
func TestHowOftenATorrentIsLookedFor(t *testing.T) {
	for _, c := range []struct {
		name     string
		level    Level
		peers    int
		min, max int
	}{
		{"an idle one", Idle, 0, 6, 10},
		{"a download with peers", Active, 5, 10, 15},
		{"one that finds nobody", Fresh, 0, 13, 20},
		{"one whose peers do not help", Fresh, 5, 13, 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
			defer cancel()
			s := schedule{need: NewNeed(c.level), level: Fresh, hungry: firstInterval}
			n := 0
			for more := true; more; more = s.wait(ctx, nil, nil) {
				n++
				s.looked(c.peers, fullReach)
			}
			if n < c.min || n > c.max {
				t.Errorf("%s: %d lookups in three hours, want %d to %d", c.name, n, c.min, c.max)
			}
		})
	}
}

func TestATorrentThatComesToNeedPeersIsLookedForSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		need := NewNeed(Idle)
		s := schedule{need: need, hungry: firstInterval}
		s.looked(0, fullReach)
		var woken atomic.Bool
		go func() { woken.Store(s.wait(t.Context(), nil, nil)) }()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if woken.Load() {
			t.Fatal("an idle torrent is looked for after ten minutes")
		}
		need.Set(Fresh)
		synctest.Wait()
		if !woken.Load() {
			t.Error("it waits on, though it needs peers now")
		}
	})
}

// After Moved a torrent is looked for, and announced, at once; however often it moves, that is
// no more than once a minute.
func TestMovedAnnouncesAgainWithoutAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule{need: NewNeed(Idle), hungry: firstInterval}
		began := time.Now()
		lookups := 0
		for ; time.Since(began) < 5*time.Minute; lookups++ {
			s.looked(0, fullReach)
			again := make(chan struct{})
			close(again) // it has moved meanwhile
			if !s.wait(t.Context(), nil, again) {
				t.Fatal("ended")
			}
			if took := time.Since(began); lookups == 0 && took > time.Second {
				t.Errorf("looked for after %v", took)
			}
		}
		if lookups < 4 || lookups > 7 {
			t.Errorf("%d lookups in 5 minutes of moving", lookups)
		}
	})
}
