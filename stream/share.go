package stream

import (
	"iter"
	"net"
	"net/netip"
)

// networkBits: a host of IPv6 has as many addresses as it likes in its network of 64
// bits (RFC 4291 §2.5.4), so that all of them count as one.
const networkBits = 64

// shareOf says as whom a remote address counts.
func shareOf(remote net.Addr) netip.Prefix {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = networkBits
	}
	share, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return share
}

// holder is who has one of a bounded number of places.
type holder interface{ share() netip.Prefix }

// givesWay finds the holder who makes room for one more of newcomer's: among those whose
// address has most places, newcomer's counted, the one worth least. Whoever is alone may
// have all of the places, and nobody keeps others out.
func givesWay[H holder](holders iter.Seq[H], newcomer netip.Prefix, worthLess func(a, b H) bool) (least H, counts map[netip.Prefix]int) {
	counts = map[netip.Prefix]int{newcomer: 1}
	for h := range holders {
		counts[h.share()]++
	}
	most := 0
	for share, n := range counts {
		if share != newcomer || n > 1 { // who has none can give none
			most = max(most, n)
		}
	}
	found := false
	for h := range holders {
		if counts[h.share()] == most && (!found || worthLess(h, least)) {
			least, found = h, true
		}
	}
	return least, counts
}
