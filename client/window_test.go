package client

import (
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/wire"
)

// fillWindow plays a peer with the given rate and round trip that always has as many
// requests as the window allows, and returns the window after a while.
func fillWindow(bytesPerSecond float64, roundTrip, during time.Duration) *window {
	w := newWindow()
	now := time.Unix(1000, 0)
	end := now.Add(during)
	perBlock := time.Duration(wire.BlockSize / bytesPerSecond * float64(time.Second))
	var asked []time.Time
	free := now // when the link is free for the next block
	for now.Before(end) {
		for len(asked) < w.blocks() {
			asked = append(asked, now)
		}
		arrival := asked[0].Add(roundTrip)
		if free.After(arrival) {
			arrival = free
		}
		arrival = arrival.Add(perBlock)
		free, now = arrival, arrival
		w.received(asked[0], arrival, wire.BlockSize)
		asked = asked[1:]
	}
	return &w
}

func TestWindowFollowsRateTimesRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name      string
		rate      float64
		roundTrip time.Duration
	}{
		{"12.5 MB/s at 100 ms", 12.5e6, 100 * time.Millisecond},
		{"12.5 MB/s at 200 ms", 12.5e6, 200 * time.Millisecond},
		{"1 MB/s at 20 ms", 1e6, 20 * time.Millisecond},
	} {
		w := fillWindow(c.rate, c.roundTrip, 5*time.Second)
		need := c.rate * c.roundTrip.Seconds() / wire.BlockSize
		if got := float64(w.blocks()); got < 1.2*need || got > 4*need+c.rate*0.6/wire.BlockSize {
			t.Errorf("%s: %v blocks; the link holds %.0f", c.name, got, need)
		}
		if w.rate < 0.8*c.rate || w.rate > 1.3*c.rate {
			t.Errorf("%s: measured %.0f bytes/s", c.name, w.rate)
		}
	}
}

func TestWindowOfASlowPeerIsSmall(t *testing.T) {
	if w := fillWindow(20e3, 50*time.Millisecond, 20*time.Second); w.blocks() > 5 {
		t.Errorf("%d blocks are asked of a peer at 20 kB/s", w.blocks())
	}
}

func TestCandidatesBackOff(t *testing.T) {
	cs := newCandidates()
	addr := netip.MustParseAddrPort("192.0.2.1:6881")
	if !cs.add(addr, false) || cs.add(addr, false) || cs.add(netip.MustParseAddrPort("192.0.2.1:0"), false) {
		t.Fatal("add reports the wrong thing")
	}
	now := time.Unix(1000, 0)
	any := func(*candidate) bool { return true }
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
		cs.add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 6881), false)
	}
	if len(cs.byAddr) != maxCandidates {
		t.Errorf("%d candidates are kept, want %d", len(cs.byAddr), maxCandidates)
	}
}

func TestBansExpireAndSpread(t *testing.T) {
	b, now := newBans(), time.Unix(1000, 0)
	peer := func(i byte) *contributor {
		return &contributor{addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 6881+uint16(i)), peerID: [20]byte{i}}
	}
	b.add(peer(1), now)
	other := peer(99)
	if !b.banned(peer(1).addr, [20]byte{50}, now) || !b.banned(other.addr, peer(1).peerID, now) {
		t.Error("a banned peer comes back with another id, or from another port")
	}
	if b.banned(other.addr, other.peerID, now) {
		t.Error("one bad peer bans all behind its address")
	}
	for i := range byte(bansOfHost) {
		b.add(peer(2+i), now)
	}
	if !b.banned(other.addr, other.peerID, now) {
		t.Error("an address with many bad peers is not banned")
	}
	if b.banned(other.addr, other.peerID, now.Add(banFor)) {
		t.Error("bans do not end")
	}
}
