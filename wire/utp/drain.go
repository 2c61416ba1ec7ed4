package utp

import "time"

const (
	// firstDrain after the connection, then after twice as long each time up to drainEvery, the queue is let run empty for
	// a round trip: a flow that came when another one filled the queue has never seen
	// the path without it, and would take all of it. It costs half a round trip.
	firstDrain = 1500 * time.Millisecond
	drainEvery = 10 * time.Second
	// drainPart of what the path holds is sent meanwhile.
	drainPart = 0.5
	// drainBack is the part of the window that comes back: others have grown meanwhile.
	drainBack = 0.9
	// drainRounds bounds it.
	drainRounds = 4
	// drainQueue is the least delay that is worth it.
	drainQueue = target / 4
)

// drain is the slowdown of LEDBAT++.
type drain struct {
	next  moment
	every time.Duration
	on    bool
	low   int64   // delivered when the window was reached, 0: not yet
	end   moment  // at the latest
	saved float64 // the window before
}

// step reports whether the window is that of a drain now.
func (d *drain) step(c *control, a ackInfo) bool {
	if !d.on {
		return d.begin(c, a)
	}
	small := drainPart * c.content()
	switch {
	case a.now >= d.end:
	case d.low == 0:
		if a.inflight <= int(max(small, float64(minPackets*a.mss))) {
			d.low = a.delivered
		}
		return true
	case a.sentAfter < d.low:
		return true
	}
	d.stop()
	c.cwnd = drainBack * d.saved
	c.bound(a.mss)
	return true
}

func (d *drain) stop() { d.on, d.low = false, 0 }

func (d *drain) begin(c *control, a ackInfo) bool {
	if d.next == 0 {
		d.every = firstDrain
		d.next = a.now + d.every
	}
	if a.now < d.next || c.slow {
		return false
	}
	// Flows that began together must not drain together for ever.
	d.every = min(2*d.every, drainEvery)
	d.next = a.now + d.every + a.now%(d.every/4)
	if c.queue < drainQueue || c.content() == 0 {
		return false
	}
	d.on, d.low = true, 0
	d.end = a.now + drainRounds*(c.minRTT+c.queue)
	d.saved = c.cwnd
	c.cwnd = drainPart * c.content()
	c.bound(a.mss)
	return true
}
