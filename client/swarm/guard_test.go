package swarm

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/client/reach"
)

// A panic while a peer is dialled is that dial's failure: neither the process nor the
// torrent ends, and another is dialled.
func TestPanicInADial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	host := &testHost{}
	s := New(Config{
		Host: host, Logger: slog.New(slog.DiscardHandler),
		Shared: &Shared{Dials: nil, DisableTrackers: true, Port: func() int { return 1 }, Reach: reachAt(t)}, // it panics without Dials
	})
	s.Start()
	defer func() { <-s.Stop() }()
	now := time.Now()
	c, _ := s.candidates.add(netip.MustParseAddrPort(l.Addr().String()), netip.Addr{}, true)
	s.Dial(now, Need{Dials: 1})
	host.tasks.Wait()
	if c.dialling || c.failures != 1 || s.dialling != 0 {
		t.Errorf("after a panic: dialling %v, %d failures, %d dials under way", c.dialling, c.failures, s.dialling)
	}
}

// Who speaks from outside names nobody inside; what the user typed may be anything.
func TestWhoMayNameWhom(t *testing.T) {
	way, err := network.New(network.Config{})
	if err != nil {
		t.Fatal(err)
	}
	host := &testHost{}
	s := New(Config{
		Host: host, Logger: slog.New(slog.DiscardHandler),
		Shared: &Shared{Net: way, Dials: allot.NewTurns(1), DisableTrackers: true, Port: func() int { return 1 }, Reach: reachAt(t)},
	})
	links := []string{"127.0.0.1:1", "10.0.0.1:1", "169.254.1.1:1", "[fe80::1]:1", "[::ffff:127.0.0.1]:1", "8.8.8.8:1"}
	s.Resolve(context.Background(), links, false)
	if len(s.candidates.byAddr) != 1 || !s.Candidate(netip.MustParseAddrPort("8.8.8.8:1")).Linked {
		t.Errorf("a link may name %v", s.candidates.byAddr)
	}
	for _, speaker := range []string{"8.8.4.4", "2001:4860::1"} {
		for _, named := range links[:5] {
			if s.Add(netip.MustParseAddr(speaker), netip.MustParseAddrPort(named)) != nil {
				t.Errorf("%s may name %s", speaker, named)
			}
		}
	}
	s.Resolve(context.Background(), links, true)
	if len(s.candidates.byAddr) != len(links)-1 { // one is there twice, as IPv6 and IPv4
		t.Errorf("the user may name only %v", s.candidates.byAddr)
	}
}

// What a link names is not dialled again and again: 256 addresses that nobody listens at
// cost ever fewer dials.
func TestManyLinkedPeersBackOff(t *testing.T) {
	cs, now := newCandidates(), time.Unix(1000, 0)
	for i := range 256 {
		c, _ := cs.add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, 8, 8, byte(i)}), 1), netip.Addr{}, false)
		c.Linked = true
	}
	dials := make([]int, 4) // in each quarter of an hour
	end := now.Add(time.Hour)
	for now.Before(end) {
		list, again := cs.ready(now, 20, func(*Candidate) bool { return true })
		for _, c := range list {
			dials[4-1-int(end.Sub(now)-1)/int(15*time.Minute)]++
			c.failed(now)
		}
		now = now.Add(100 * time.Millisecond)
		if len(list) == 0 && again.After(now) {
			now = again
		}
	}
	if dials[1] > dials[0]/2 || dials[3] > 2*256 {
		t.Errorf("dials in each quarter of an hour: %v", dials)
	}
}

// reachAt is a Reach at port 1 that ends with the test.
func reachAt(t *testing.T) *reach.Reach {
	r := reach.New(reach.Config{Port: 1, Interfaces: func() ([]net.Interface, error) { return nil, nil }})
	t.Cleanup(r.Close)
	return r
}
