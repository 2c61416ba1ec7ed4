package utp

import (
	"net/netip"
	"time"
)

// Sizes of packets, which are UDP payloads, in bytes.
const (
	// firstPacket passes all of the internet: the least MTU of IPv6, 1280, less 48 of headers.
	firstPacket = 1232
	// ethernet4 and ethernet6 are what an MTU of 1500 leaves: libtorrent and libutp have no room for
	// more.
	ethernet4 = 1500 - 28
	ethernet6 = 1500 - 48
	// jumbo is what the usual jumbo frames of local networks leave, 9000; loopback is for an MTU of 64 KiB:
	// two of them, and their acknowledgements, fit the least receive buffers of systems.
	jumbo    = 9000 - 48
	loopback = 32 << 10
	// leastPacket is for IPv4 paths where no more than the 576 bytes of RFC 791 come through.
	leastPacket = 576 - 28

	// probeTries is how many packets of a size must be lost until it is too large (RFC 8899, 5.1.2: three).
	probeTries = 3
	// probeGap ends the search: it is not worth more.
	probeGap = 16
	// probeAgain is when a path is tried anew for larger packets (RFC 4821, 7.1: 10 minutes).
	probeAgain = 10 * time.Minute
	// blackHole is how many times in a row packets of a size must be lost, and none of that size arrive, until they
	// count as too large for a path that has become narrower, of which nobody has told us (RFC 4821, 7.7; RFC 8899,
	// 4.3, and 5.1.2 for the number).
	blackHole = 3
	// holeAgain is when larger packets are tried again after that: it may have been a path that was broken for
	// some seconds. One that comes and goes costs a pause of some seconds in each.
	holeAgain = time.Minute
)

// near reports whether an address is of this machine or of a network where packets of
// more than 1500 bytes may be had.
func (s *Socket) near(a netip.Addr) bool {
	return a.IsLoopback() || s.whole != nil && (a.IsPrivate() || a.IsLinkLocalUnicast())
}

// largestPacket returns the largest packet that may be sent to an implementation like ours.
func largestPacket(a netip.Addr) int {
	if a.IsLoopback() {
		return loopback
	}
	return jumbo
}

func ethernet(a netip.Addr) int {
	if a.Is4() {
		return ethernet4
	}
	return ethernet6
}

// mtu finds out how large packets may be (RFC 4821, 8899): a packet of data is made longer by an
// extension without meaning. If it is lost, the data goes once more without that, and nothing
// else comes of it.
type mtu struct {
	size     int // of packets
	low, top int // what is known to pass, and what may
	most     int // what the peer and the interface may take
	probing  bool
	tries    int
	next     moment // no probe before

	holes    int    // losses of large packets in a row, one for all that were under way together
	holeSize int    // the smallest of these packets
	holeAt   moment // the last of these losses
}

func (m *mtu) init(a netip.Addr) {
	m.size, m.low = firstPacket, firstPacket
	m.most = ethernet(a)
	m.top = m.most
}

// allow takes the peer's word that it can take packets of n bytes.
func (m *mtu) allow(a netip.Addr, n int) {
	if n = min(n, largestPacket(a)); n > m.most {
		m.most, m.top = n, n
	}
}

// probe returns the size to try now, or 0.
func (m *mtu) probe(now moment) int {
	if m.probing || now < m.next {
		return 0
	}
	if m.top-m.low < probeGap {
		if m.low == m.most {
			return 0
		}
		m.top = m.most
		m.next = now + probeAgain
		return 0
	}
	m.probing = true
	size := m.top
	if size < m.most { // failed at the top: the usual sizes before a search
		size = (m.low + m.top + 1) / 2
		for _, usual := range [3]int{jumbo, ethernet4, ethernet6} {
			if m.low < usual && usual < m.top {
				size = usual
				break
			}
		}
	}
	return max(size, m.low+leastPad)
}

// passed notes that a probe of n bytes arrived.
func (m *mtu) passed(n int) {
	m.probing, m.tries, m.holes = false, 0, 0
	m.low = max(m.low, n)
	m.top = max(m.top, m.low)
	m.size = m.low
}

// failed notes that one was lost; for sure, if the system itself would not send it.
func (m *mtu) failed(n int, sure bool) {
	m.probing = false
	if m.tries++; sure || m.tries >= probeTries {
		m.tries = 0
		m.top = max(min(m.top, n-1), m.low)
	}
}

// shrink goes back to what passes everywhere.
func (m *mtu) shrink(now moment) {
	m.probing = false
	m.top = max(firstPacket, m.size-1)
	m.low, m.size = min(firstPacket, m.size), min(firstPacket, m.size)
	m.next = now + probeAgain
	m.holes = 0
}

// least is the size to which lost packets make it fall: the usual one at first. Below that is something
// only in IPv4, for paths that let no more through than RFC 791 asks for.
func (m *mtu) least(a netip.Addr) int {
	if a.Is4() && m.size <= firstPacket {
		return leastPacket
	}
	return firstPacket
}

// tooLarge reports whether a packet of n bytes that was made before is to go in fragments now, if it must: the
// path does not take it any more, or it may be that it does not, as it has been sent tries times.
func (m *mtu) tooLarge(n, tries int, a netip.Addr) bool {
	return n > m.size || tries > blackHole && n > m.least(a)
}

// lost notes that a packet of n bytes was lost, which was sent whole at the moment at.
func (m *mtu) lost(n int, at, now moment, a netip.Addr) {
	least := m.least(a)
	if n <= least || n > m.size || at < m.holeAt {
		return
	}
	if m.holes == 0 || n < m.holeSize {
		m.holeSize = n
	}
	m.holeAt = now
	if m.holes++; m.holes < blackHole {
		return
	}
	m.probing, m.tries = false, 0
	m.low, m.size, m.top = least, least, m.most
	m.next = now + holeAgain
	m.holes = 0
}

// arrived notes that a packet of n bytes came through whole.
func (m *mtu) arrived(n int) {
	if n >= m.holeSize {
		m.holes = 0
	}
}

// fragmentPad returns how many bytes make a packet of n bytes, which is too large for the path, longer for
// the sender's system to send it in fragments. In IPv4 routers cut it; in IPv6 only the sender does, and Linux only
// what is longer than the interface takes. Packets of that length fit the receive buffers of all: 1464 bytes where
// libtorrent's has 1500.
func (m *mtu) fragmentPad(n int, a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return max(m.most-n, 0) + leastPad
}
