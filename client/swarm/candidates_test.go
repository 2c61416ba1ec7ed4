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

// A peer that names a thousand addresses that lead nowhere does not keep one that a
// tracker named from being dialled.
func TestCandidatesOfAllSpeakersHaveTheirTurn(t *testing.T) {
	cs, now := newCandidates(), time.Unix(1000, 0)
	loud, quiet := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 1000 {
		cs.add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 6881), loud, false)
	}
	any := func(*Candidate) bool { return true }
	list, again := cs.ready(now, 20, any)
	if len(list) != 20 || !again.Equal(now) {
		t.Fatalf("%d are ready, again at %v", len(list), again)
	}
	for _, c := range list {
		c.dialling = true
	}
	list[0].dialling = false
	list[0].failed(now)
	honest := netip.MustParseAddrPort("10.1.0.1:6881")
	cs.add(honest, quiet, false)
	if list, _ := cs.ready(now, 1, any); len(list) != 1 || list[0].Addr != honest {
		t.Errorf("next is %v, want the only one that another named", list)
	}
	given, _ := cs.add(netip.MustParseAddrPort("10.1.0.2:6881"), netip.Addr{}, true)
	if list, _ := cs.ready(now, 1, any); len(list) != 1 || list[0] != given {
		t.Errorf("next is %v, want what the user gave", list)
	}
	given.connected = true
	if list, _ := cs.ready(now, 2000, any); len(list) != 982-1 {
		t.Errorf("%d are ready, want all that are not dialled", len(list))
	}
}

// Who takes connections and hangs up is dialled ever more rarely, whether it was named
// anew or not; only useful data ends that.
func TestCandidatesThatHangUpBackOff(t *testing.T) {
	cs, now := newCandidates(), time.Unix(1000, 0)
	addr := netip.MustParseAddrPort("192.0.2.1:6881")
	c, _ := cs.add(addr, netip.Addr{}, false)
	dials := 0
	for end := now.Add(time.Hour); now.Before(end); {
		list, again := cs.ready(now, 1, func(*Candidate) bool { return true })
		if len(list) == 0 {
			now = again
			continue
		}
		dials++
		c.dialling = true
		c.Connected()
		c.Gone(false, now)
		cs.add(addr, netip.Addr{}, false)
	}
	if dials > 12 {
		t.Errorf("it was dialled %d times in an hour", dials)
	}
	c.Gone(true, now)
	if c.next.Sub(now) > retryBase {
		t.Errorf("after it was of use, it is dialled again in %v", c.next.Sub(now))
	}
}
