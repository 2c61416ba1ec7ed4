package source

import (
	"net/netip"
	"testing"
	"time"
)

func TestBansExpireAndSpread(t *testing.T) {
	b, now := NewBans(), time.Unix(1000, 0)
	peer := func(i byte) *Identity {
		return &Identity{Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 6881+uint16(i)), PeerID: [20]byte{i}}
	}
	b.Add(peer(1), now)
	other := peer(99)
	if !b.Banned(&Identity{Addr: peer(1).Addr, PeerID: [20]byte{50}}, now) || !b.Banned(&Identity{Addr: other.Addr, PeerID: peer(1).PeerID}, now) {
		t.Error("a banned peer comes back with another id, or from another port")
	}
	if b.Banned(&Identity{Addr: other.Addr, PeerID: other.PeerID}, now) {
		t.Error("one bad peer bans all behind its address")
	}
	for i := range byte(bansOfHost) {
		b.Add(peer(2+i), now)
	}
	if !b.Banned(&Identity{Addr: other.Addr, PeerID: other.PeerID}, now) {
		t.Error("an address with many bad peers is not banned")
	}
	if b.Banned(&Identity{Addr: other.Addr, PeerID: other.PeerID}, now.Add(banFor)) {
		t.Error("bans do not end")
	}
}
