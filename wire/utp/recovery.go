package utp

import (
	"net"
	"syscall"
	"time"
)

const (
	// minTimeout is the least retransmission timeout; the delay of a packet may grow by that of a queue before it
	// is known, and RFC 6298 asks for 1 s, BEP 29 for 500 ms. Losses are found before that but for
	// those of whole windows.
	minTimeout = 300 * time.Millisecond
	maxTimeout = 8 * time.Second
	// minTail is the least time after which the last packet is sent again.
	minTail = 10 * time.Millisecond
	// maxReorderSteps bounds the reordering window, in quarters of the round trip.
	maxReorderSteps = 8
)

// recovery is RACK-TLP (RFC 8985), on selective acknowledgements: a packet is lost
// if one that was sent a while later has arrived.
type recovery struct {
	at       moment // when the latest of the packets that arrived was sent
	seq      uint16 // its number
	rtt      time.Duration
	steps    int  // of the reordering window, beyond the first
	dirty    bool // something has arrived since findLost
	timeouts int  // in a row
	probed   bool // the tail has been sent again
}

// seen takes note of a packet that has arrived.
func (r *recovery) seen(seq uint16, at moment, rtt time.Duration) {
	if at > r.at || at == r.at && before(r.seq, seq) {
		r.at, r.seq, r.rtt = at, seq, rtt
	}
}

// spurious widens the reordering window, for good: RFC 8985, 6.2, takes that back after 16 recoveries, and
// widens again on a path that still reorders. It is a round trip at most.
func (r *recovery) spurious() { r.steps = min(r.steps+1, maxReorderSteps) }

// window is how long a packet may be overtaken before it counts as lost.
func (r *recovery) window(minRTT, srtt time.Duration) time.Duration {
	return min(minRTT/4*time.Duration(1+r.steps), srtt)
}

// measure takes a round trip (RFC 6298).
func (t *sender) measure(rtt time.Duration) {
	if t.srtt == 0 {
		t.srtt, t.rttvar = rtt, rtt/2
		return
	}
	t.rttvar += ((t.srtt - rtt).Abs() - t.rttvar) / 4
	t.srtt += (rtt - t.srtt) / 8
}

// rto returns the retransmission timeout.
func (t *sender) rto() time.Duration {
	d := firstTimeout
	if t.srtt > 0 {
		d = max(t.srtt+4*t.rttvar, minTimeout)
	}
	return min(d<<min(t.recovery.timeouts, 8), maxTimeout)
}

// tail returns after what time the last packet is sent again (RFC 8985, 7.2).
func (t *sender) tail() time.Duration {
	if t.srtt == 0 {
		return firstTimeout
	}
	return max(2*t.srtt, minTail)
}

// lose notes that a packet is to be sent again.
func (t *sender) lose(seq uint16, p *sent) {
	p.lost = true
	t.inflight -= p.wire()
	if t.lost++; t.lost == 1 || before(seq, t.lostFrom) {
		t.lostFrom = seq
	}
}

// unlose notes that it is not, any more.
func (t *sender) unlose(p *sent) {
	p.lost = false
	t.lost--
}

// firstLost returns the first packet to be sent again; there is one.
func (t *sender) firstLost() uint16 {
	for !t.at(t.lostFrom).lost {
		t.lostFrom++
	}
	return t.lostFrom
}

// findLost looks for packets that were overtaken by ones sent later.
func (c *Conn) findLost(now moment) {
	t := &c.tx
	r := &t.recovery
	r.dirty = false
	t.reorderAt = never
	window := r.window(c.cc.minRTT, t.srtt)
	bytes := 0
	for seq := t.una; seq != t.nxt; seq++ {
		p := t.at(seq)
		if p.done || p.lost {
			continue
		}
		if p.at > r.at || p.at == r.at && !before(seq, r.seq) {
			if p.tries == 1 {
				break // so were all after it
			}
			continue
		}
		if until := p.at + r.rtt + window; until > now {
			t.reorderAt = min(t.reorderAt, until)
			continue
		}
		c.noteSize(p, now)
		bytes += c.lose(seq, p)
	}
	if bytes > 0 {
		c.cc.onLoss(bytes, t.delivered, c.mtu.size)
	}
}

// noteSize notes that a packet of this size did not come through.
func (c *Conn) noteSize(p *sent, now moment) {
	if p.whole {
		c.mtu.lost(p.wire(), p.at, now, c.addr.Addr())
	}
}

// lose notes that a packet is lost and returns the bytes that count as congestion.
func (c *Conn) lose(seq uint16, p *sent) int {
	c.tx.lose(seq, p)
	if p.probe > 0 {
		c.mtu.failed(int(p.probe), false)
		p.probe = 0
		return 0
	}
	return p.wire()
}

// onTimer is called when the time of arm has come.
func (c *Conn) onTimer(now moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.tx
	switch {
	case c.state == over:
		return
	case c.state == opening:
		if now >= t.rtoAt {
			c.sendSyn(now)
		} else {
			c.arm(now)
		}
		return
	case now >= c.lingerAt, now-c.heard >= silent, now >= c.deadAt():
		err := error(syscall.ETIMEDOUT)
		if c.state == closing {
			err = net.ErrClosed
		}
		c.die(err)
		return
	}
	if now >= t.reorderAt {
		c.findLost(now)
	}
	switch {
	case now >= t.rtoAt:
		c.onTimeout(now)
	case now >= t.tailAt:
		c.probeTail(now)
	}
	if now >= t.windowAt {
		c.probeWindow(now)
	}
	c.transmit(now)
	if now-c.lastSent >= keepAlive {
		c.sendState(now)
	}
	c.arm(now)
}

// deadAt returns when the connection ends if nothing is acknowledged until then.
func (c *Conn) deadAt() moment {
	if c.asked == never {
		return never
	}
	return c.asked + deadAfter
}

// onTimeout begins anew, with the oldest packet.
func (c *Conn) onTimeout(now moment) {
	t := &c.tx
	t.recovery.timeouts++
	for seq := t.una; seq != t.nxt; seq++ {
		if p := t.at(seq); !p.done && !p.lost {
			if t.window > 0 { // else the peer may have had no room
				c.noteSize(p, now)
			}
			c.lose(seq, p)
		}
	}
	c.cc.onTimeout(c.mtu.size)
	t.rtoAt = now + t.rto()
	t.tailAt, t.reorderAt = never, never
	t.nextSend = now
}

// probeTail sends the last packet again, so that its acknowledgement tells what is lost before it.
func (c *Conn) probeTail(now moment) {
	t := &c.tx
	t.tailAt = never
	t.recovery.probed = true
	if t.lost > 0 {
		return
	}
	for seq := t.nxt - 1; !before(seq, t.una); seq-- {
		if p := t.at(seq); !p.done {
			if c.lose(seq, p) == 0 {
				return // a probe of the path: it goes again by itself
			}
			t.unlose(p)
			b := c.s.batches.Get().(*batch)
			c.emit(b, seq, p, now)
			c.sendBatch(b)
			c.s.batches.Put(b)
			return
		}
	}
}

// windowProbe is how many bytes are sent to a peer that has no room, to have it say when it has.
const windowProbe = 64

// probeWindow asks for the peer's window.
func (c *Conn) probeWindow(now moment) {
	t := &c.tx
	t.windowAt = never
	if t.una != t.nxt || t.unsent() == 0 {
		return
	}
	b := c.s.batches.Get().(*batch)
	c.emitNew(b, min(t.unsent(), windowProbe), false, now)
	c.sendBatch(b)
	c.s.batches.Put(b)
}

// reopen sends again at once what the peer has had no room for.
func (c *Conn) reopen() {
	t := &c.tx
	for seq := t.una; seq != t.nxt; seq++ {
		if p := t.at(seq); !p.done && !p.lost {
			c.lose(seq, p)
		}
	}
	t.recovery.timeouts = 0
}
