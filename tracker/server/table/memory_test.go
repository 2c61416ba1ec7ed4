package table

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
)

// peerBytes is what an IPv4 peer may take, in swarms of ten, the usual size; opentracker
// takes 25.
const peerBytes = 30

// TestMemoryOfAMillionPeers fills tables as strangers would, in no order: with the
// swarms that are usual, and with a few that are very large.
func TestMemoryOfAMillionPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("a million peers: not with -short")
	}
	memoryOf(t, 1_000_000, 100_000, peerBytes)
	memoryOf(t, 1_000_000, 10, 40)
}

func memoryOf(t *testing.T, peers, swarms int, most float64) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	before := heap()
	tab := New(Config{Now: start})
	a := Announce{NumWant: 0}
	for i := range peers {
		n := uint64(i) * 0x9e3779b97f4a7c15 // a different one each
		binary.BigEndian.PutUint64(a.ID[8:], n)
		binary.BigEndian.PutUint64(a.Hash[:], mix(uint64(i%swarms)))
		binary.BigEndian.PutUint64(a.Hash[12:], mix(uint64(i%swarms)))
		a.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{1 + byte(i>>18), byte(i >> 12), byte(i >> 6), byte(i)}), uint16(i)|1)
		if err := tab.Announce(&a, &Reply{}); err != nil {
			t.Fatal(err)
		}
	}
	after := heap()
	got := float64(after-before) / float64(peers)
	t.Logf("%.1f bytes of heap a peer, for %+v", got, tab.Size())
	if tab.Size().Peers4 != int64(peers) || tab.Size().Swarms != int64(swarms) {
		t.Fatalf("%+v", tab.Size())
	}
	if got > most {
		t.Errorf("%.1f bytes of heap a peer, want at most %v", got, most)
	}
	runtime.KeepAlive(tab)
}

func BenchmarkAnnounce(b *testing.B) {
	const peers, swarms = 1_000_000, 100_000
	tab := New(Config{Now: start})
	all := make([]Announce, peers)
	for i := range all {
		a := &all[i]
		binary.BigEndian.PutUint64(a.ID[8:], mix(uint64(i)))
		binary.BigEndian.PutUint64(a.Hash[:], mix(uint64(i%swarms)))
		binary.BigEndian.PutUint64(a.Hash[12:], mix(uint64(i%swarms)))
		a.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{1 + byte(i>>18), byte(i >> 12), byte(i >> 6), byte(i)}), 6881)
		a.NumWant = 50
		_ = tab.Announce(a, &Reply{})
	}
	r := Reply{Peers4: make([]byte, 0, 1200)}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r.Peers4 = r.Peers4[:0]
		if err := tab.Announce(&all[mix(uint64(i))%peers], &r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAnnounceSmall is of a swarm whose peers are all named.
func BenchmarkAnnounceSmall(b *testing.B) {
	tab := New(Config{Now: start})
	var all [50]Announce
	for i := range all {
		all[i] = Announce{Hash: hashOf(1), ID: idOf(i), Addr: addr4(i), NumWant: 50}
		_ = tab.Announce(&all[i], &Reply{})
	}
	r := Reply{Peers4: make([]byte, 0, 1200)}
	i := 0
	for b.Loop() {
		r.Peers4 = r.Peers4[:0]
		_ = tab.Announce(&all[i%50], &r)
		i++
	}
}
