package utp

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

// A SYN costs its receiver no memory, as with the SYN cookies of TCP: the reply's sequence number
// is made of the peer's address, the connection's number, that of the SYN, and a key. The first
// data that acknowledges it proves that the peer gets what is sent to its address, and
// makes the connection.

const (
	// cookieSlot is for how long cookies are made alike; they hold for one to two slots.
	cookieSlot = 16 * time.Second
	// earlyPackets is how many packets the opener may have sent before the first one of them
	// arrives, which may be any.
	earlyPackets = initialPackets
)

// cookie returns the number that our data begin with, less that of the SYN; syn is the latter.
func (s *Socket) cookie(addr netip.AddrPort, id, syn uint16, slot moment) uint16 {
	a := addr.Addr().As16()
	var b [30]byte
	n := copy(b[:], a[:])
	binary.BigEndian.PutUint16(b[n:], addr.Port())
	binary.BigEndian.PutUint16(b[n+2:], id)
	binary.BigEndian.PutUint16(b[n+4:], syn)
	binary.BigEndian.PutUint64(b[n+6:], uint64(slot))
	return uint16(maphash.Bytes(s.seed, b[:]) >> 24)
}

// answerSyn replies to a SYN with one packet that is no longer, and keeps nothing of it. A SYN that comes
// again gets its reply again.
func (s *Socket) answerSyn(p *packet, from netip.AddrPort, now moment) {
	if c := s.find(keyOf(from, p.id+1)); c != nil {
		c.again(p, now)
		return
	}
	if !s.room(from) {
		return
	}
	s.sendSynAck(p, from, p.seq+s.cookie(from, p.id, p.seq, now/cookieSlot), now)
}

// sendSynAck sends the reply; seq is the number that our first data will have.
func (s *Socket) sendSynAck(p *packet, from netip.AddrPort, seq uint16, now moment) {
	var b [headerSize + 4]byte
	h := header{
		typ: typeState, id: p.id, timestamp: stamp(now), diff: stamp(now) - p.timestamp,
		window: firstReceive, seq: seq, ack: p.seq,
	}
	out := b[:headerSize]
	if p.large > 0 && s.near(from.Addr()) {
		h.put(out, extLarge)
		out = appendLarge(out, extEnd, largestPacket(from.Addr()))
	} else {
		h.put(out, extEnd)
	}
	_, _ = s.pc.WriteToUDPAddrPort(out, from) // like all packets, it may be lost
}

// room reports whether a peer may open one more connection.
func (s *Socket) room(from netip.AddrPort) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return !s.closed && s.accepted < s.cfg.MaxConns && len(s.queue) < cap(s.queue) &&
		(s.perHost[hostOf(from.Addr())] < s.cfg.MaxPerAddr || from.Addr().IsLoopback())
}

// hostOf returns the addresses that a host may have alone: one of IPv4, a /64 of IPv6.
func hostOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // there are as many bits
	return p
}

// establish makes the connection whose first data p is, if it is that: it acknowledges a
// cookie of ours. It returns nil otherwise.
func (s *Socket) establish(p *packet, from netip.AddrPort, now moment) *Conn {
	if p.typ != typeData || len(p.payload) == 0 {
		return nil
	}
	syn, ok := s.synOf(p, from, now)
	if !ok || !s.room(from) {
		return nil
	}
	c := newConn(s, from, p.id, p.id-1)
	c.incoming = true
	c.accepted(syn, p.ack+1, now)
	s.mu.Lock()
	if s.closed || s.conns[c.key] != nil {
		s.mu.Unlock()
		return nil
	}
	s.conns[c.key] = c
	s.accepted++
	s.perHost[hostOf(from.Addr())]++
	s.mu.Unlock()
	select {
	case s.queue <- c:
		return c
	default: // unlikely, as there was room
		s.forget(c)
		return nil
	}
}

// synOf returns the number of the SYN whose reply p acknowledges, if that was ours. Late data of a connection that
// is gone would pass for a first packet if the cookie were not of this number, too: both sides may have
// sent as many packets since.
func (s *Socket) synOf(p *packet, from netip.AddrPort, now moment) (syn uint16, ok bool) {
	slot := now / cookieSlot
	for _, slot := range [2]moment{slot, slot - 1} {
		for nth := range uint16(earlyPackets) {
			syn = p.seq - 1 - nth
			if p.ack+1 == syn+s.cookie(from, p.id-1, syn, slot) {
				return syn, true
			}
		}
	}
	return 0, false
}
