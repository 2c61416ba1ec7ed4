package utp

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// cubic is a TCP that always has data: RFC 9438 over a simulated link, with selective
// acknowledgements and without their details: what is lost is known a round trip later.
type cubic struct {
	s        *sim
	ab, ba   *link
	mu       sync.Mutex
	cwnd     float64 // packets
	ssthresh float64
	inflight int
	wmax     float64
	noK      bool // no loss yet: convex at once, as Linux
	epoch    time.Time
	recover  time.Time // losses of what was sent before are of the same event
	minRTT   time.Duration
	got      atomic.Int64
	stopped  bool
}

const tcpPacket = 1472

func (s *sim) startCubic(ab, ba *link) *cubic {
	c := &cubic{s: s, ab: ab, ba: ba, cwnd: 10, ssthresh: math.Inf(1), minRTT: time.Hour}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send()
	return c
}

func (c *cubic) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
}

func (c *cubic) send() {
	for !c.stopped && float64(c.inflight) < c.cwnd {
		c.inflight++
		sent := time.Now()
		arrivals := c.ab.pass(tcpPacket, false)
		if len(arrivals) == 0 {
			// Three packets after it make it known.
			c.s.at(sent.Add(c.srtt()), func() { c.lost(sent) })
			continue
		}
		c.s.at(arrivals[0], func() {
			c.got.Add(tcpPacket)
			if acks := c.ba.pass(40, false); len(acks) > 0 {
				c.s.at(acks[0], func() { c.acked(sent) })
			} else {
				c.s.at(time.Now().Add(c.ba.delay), func() { c.acked(sent) })
			}
		})
	}
}

func (c *cubic) srtt() time.Duration {
	c.ab.mu.Lock()
	defer c.ab.mu.Unlock()
	return c.ab.delay + c.ba.delay + max(time.Until(c.ab.free), 0)
}

func (c *cubic) acked(sent time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inflight--
	now := time.Now()
	rtt := now.Sub(sent)
	c.minRTT = min(c.minRTT, rtt)
	switch {
	case c.cwnd < c.ssthresh:
		c.cwnd++
		// HyStart (RFC 9406), roughly.
		if rtt > c.minRTT+max(c.minRTT/8, 4*time.Millisecond) && c.cwnd > 16 {
			c.ssthresh = c.cwnd
			c.wmax, c.epoch, c.noK = c.cwnd, now, true
		}
	default:
		const c3, beta = 0.4, 0.7
		k := math.Cbrt(c.wmax * (1 - beta) / c3)
		if c.noK {
			k = 0
		}
		t := now.Sub(c.epoch).Seconds()
		want := c3*(t-k)*(t-k)*(t-k) + c.wmax
		est := c.wmax*beta + 3*(1-beta)/(1+beta)*t/rtt.Seconds()
		if want = max(want, est); want > c.cwnd {
			c.cwnd += min((want-c.cwnd)/c.cwnd, 0.5)
		} else {
			c.cwnd += 0.01 / c.cwnd
		}
	}
	c.send()
}

func (c *cubic) lost(sent time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inflight--
	if sent.After(c.recover) {
		c.recover, c.epoch = time.Now(), time.Now()
		c.wmax = c.cwnd
		c.cwnd = max(0.7*c.cwnd, 2)
		c.ssthresh = c.cwnd
		c.noK = false
	}
	c.send()
}
