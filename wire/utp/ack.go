package utp

import (
	"math"
	"math/bits"
	"net"
	"time"
)

// onAck handles what a packet that came in at the moment at, and is handled now, acknowledges.
func (c *Conn) onAck(p *packet, now, at moment) {
	t := &c.tx
	if before(p.ack, t.una-1) {
		return // overtaken by a later one
	}
	closed, full := t.window == 0, t.full()
	t.window = int(min(p.window, maxRing))
	if full || t.full() {
		c.asked = now // it lives, and cannot acknowledge anything
	}
	if closed && t.window > 0 && t.inflight > 0 {
		c.reopen()
	}
	if p.diff != 0 {
		c.cc.delays.add(p.diff, at)
	}
	a := arrivals{now: now, at: at}
	for n := p.ack + 1 - t.una; n > 0; n-- {
		s := t.at(t.una)
		if s.done {
			t.arrived -= int(s.size)
		} else {
			c.arrive(t.una, s, &a)
		}
		t.buf.discard(int(s.size))
		t.unaOff += uint64(s.size)
		t.una++
	}
	if before(t.lostFrom, t.una) {
		t.lostFrom = t.una
	}
	c.onSack(p, &a)
	if a.bytes > 0 {
		c.progress(&a)
	}
}

// onSack handles selective acknowledgements.
func (c *Conn) onSack(p *packet, a *arrivals) {
	t := &c.tx
	first := p.ack + 2
	for i, b := range p.sack {
		for ; b != 0; b &= b - 1 {
			seq := first + uint16(8*i+bits.TrailingZeros8(b))
			if before(seq, t.una) || !before(seq, t.nxt) {
				continue // known already, or never sent
			}
			if s := t.at(seq); !s.done {
				c.arrive(seq, s, a)
				s.done = true
				t.arrived += int(s.size)
			}
		}
	}
}

// arrivals sums up what one packet acknowledged for the first time.
type arrivals struct {
	// at is when the packet came in, for round trips and rates; now is when it is handled, from which timeouts
	// count.
	now, at moment

	bytes  int
	latest sent // the one that was sent last
	rtt    time.Duration
}

// arrive notes that the packet seq is known to have arrived.
func (c *Conn) arrive(seq uint16, s *sent, a *arrivals) {
	t := &c.tx
	if s.lost {
		t.unlose(s)
	} else {
		t.inflight -= s.wire()
	}
	a.bytes += s.wire()
	t.delivered += int64(s.wire())
	if s.probe > 0 {
		c.mtu.passed(int(s.probe))
		s.probe = 0
	}
	if s.whole {
		c.mtu.arrived(s.wire())
	}
	if s.at >= a.latest.at {
		a.latest = *s
	}
	rtt := a.at - s.at
	switch {
	case rtt < 0:
		return // not by the clock that stamped it
	case s.tries == 1:
		a.rtt = max(rtt, time.Microsecond)
	case c.cc.minRTT != math.MaxInt64 && rtt < c.cc.minRTT*3/4:
		// It was the first one, which was not lost: packets overtake each other by more.
		t.recovery.spurious()
		return
	}
	t.recovery.seen(seq, s.at, rtt)
}

// progress goes on after something has arrived.
func (c *Conn) progress(a *arrivals) {
	t := &c.tx
	t.deliveredAt = a.at
	if a.latest.at >= t.firstAt {
		t.firstAt = a.latest.at
	}
	t.recovery.dirty = true
	t.recovery.timeouts, t.recovery.probed = 0, false
	if a.rtt > 0 {
		t.measure(a.rtt)
	}
	info := ackInfo{
		now: a.at, acked: a.bytes, delivered: t.delivered, sentAfter: a.latest.delivered,
		rtt: a.rtt, srtt: t.srtt, inflight: t.inflight, limited: t.limited, mss: c.mtu.size,
	}
	span := max(a.latest.at-a.latest.firstAt, a.at-a.latest.deliveredAt)
	// Shorter than a round trip is a burst of acknowledgements, and no rate.
	if span > 0 && span >= c.cc.minRTT && a.rtt > 0 {
		info.rate = float64(t.delivered-a.latest.delivered) / span.Seconds()
	}
	c.cc.onAck(info)
	if t.una == t.nxt {
		t.rtoAt, t.tailAt, t.reorderAt = never, never, never
		c.asked = never
		if t.finSent && c.state == closing {
			c.die(net.ErrClosed)
		}
		return
	}
	c.asked = a.now
	t.rtoAt = a.now + t.rto()
	t.tailAt = a.now + t.tail()
}

// flush ends a batch of packets that came in.
func (c *Conn) flush(now moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == opening || c.state == over {
		return
	}
	if c.tx.recovery.dirty {
		c.findLost(now)
	}
	c.transmit(now)
	if c.rx.owed {
		c.sendState(now)
	}
	if c.rx.buf.len() > 0 || c.rx.eof {
		c.readers.wake()
	}
	if c.writers.n > 0 && c.sendRoom() > (c.sendRoom()+c.tx.buf.len())/4 {
		c.writers.wake()
	}
	c.arm(now)
}
