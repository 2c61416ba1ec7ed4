package swarm

import (
	"net/netip"
	"testing"
	"time"
)

func TestCandidatesBackOff(t *testing.T) {
	cs := newCandidates()
	addr := netip.MustParseAddrPort("192.0.2.1:6881")
	added := func(a netip.AddrPort) bool {
		_, added := cs.add(a, netip.Addr{}, false)
		return added
	}
	if !added(addr) || added(addr) || added(netip.MustParseAddrPort("192.0.2.1:0")) {
		t.Fatal("add reports the wrong thing")
	}
	now := time.Unix(1000, 0)
	any := func(*Candidate) bool { return true }
	var wait time.Duration
	for range 5 {
		list, _ := cs.ready(now, 10, any)
		if len(list) != 1 {
			t.Fatalf("%d candidates are ready, want 1", len(list))
		}
		list[0].failed(now)
		list, again := cs.ready(now, 10, any)
		if len(list) != 0 || again.Sub(now) <= wait {
			t.Fatalf("after a failure: %d are ready; again in %v, before in %v", len(list), again.Sub(now), wait)
		}
		wait = again.Sub(now)
		now = again
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	cs := newCandidates()
	for i := range 3 * maxCandidates {
		cs.add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 6881), netip.Addr{}, false)
	}
	if len(cs.byAddr) != maxCandidates {
		t.Errorf("%d candidates are kept, want %d", len(cs.byAddr), maxCandidates)
	}
}
