// Package simtcp simulates TCP in tests of congestion control: something to share a link with, in
// the virtual time of testing/synctest.
package simtcp

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// PacketSize is that of a full packet without the IP header, bytes.
const PacketSize = 1472

// Link is where a flow sends its packets. Pass returns when one that is sent now arrives at the
// other end; false: it is lost.
type Link interface {
	Pass(size int) (arrives time.Time, ok bool)
}

// Cubic is a TCP that always has data: RFC 9438, with selective acknowledgements and without their
// details: what is lost is known a round trip later. Acknowledgements are not lost.
type Cubic struct {
	link Link
	back time.Duration // that an acknowledgement takes

	mu       sync.Mutex
	cwnd     float64 // packets
	ssthresh float64
	inflight int
	wmax     float64
	noK      bool // no loss yet: convex at once, as Linux
	epoch    time.Time
	recover  time.Time // losses of what was sent before are of the same event
	rtt      time.Duration
	minRTT   time.Duration
	stopped  bool
	got      atomic.Int64
}

// StartCubic begins a flow whose acknowledgements take back.
func StartCubic(link Link, back time.Duration) *Cubic {
	c := &Cubic{link: link, back: back, cwnd: 10, ssthresh: math.Inf(1), minRTT: time.Hour, rtt: 2 * back}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send()
	return c
}

// Stop ends the flow.
func (c *Cubic) Stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
}

// Received returns the bytes that have arrived.
func (c *Cubic) Received() int64 { return c.got.Load() }

func (c *Cubic) send() {
	for !c.stopped && float64(c.inflight) < c.cwnd {
		c.inflight++
		sent := time.Now()
		arrives, ok := c.link.Pass(PacketSize)
		if !ok {
			time.AfterFunc(c.rtt, func() { c.lost(sent) })
			continue
		}
		time.AfterFunc(time.Until(arrives), func() { c.got.Add(PacketSize) })
		time.AfterFunc(time.Until(arrives)+c.back, func() { c.acked(sent) })
	}
}

func (c *Cubic) acked(sent time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inflight--
	now := time.Now()
	c.rtt = now.Sub(sent)
	c.minRTT = min(c.minRTT, c.rtt)
	if c.cwnd < c.ssthresh {
		c.cwnd++
		// HyStart (RFC 9406), roughly.
		if c.rtt > c.minRTT+max(c.minRTT/8, 4*time.Millisecond) && c.cwnd > 16 {
			c.ssthresh = c.cwnd
			c.wmax, c.epoch, c.noK = c.cwnd, now, true
		}
	} else {
		c.grow(now)
	}
	c.send()
}

// grow is congestion avoidance (RFC 9438 section 4.2 to 4.5).
func (c *Cubic) grow(now time.Time) {
	const c3, beta = 0.4, 0.7
	k := math.Cbrt(c.wmax * (1 - beta) / c3)
	if c.noK {
		k = 0
	}
	t := now.Sub(c.epoch).Seconds()
	want := c3*(t-k)*(t-k)*(t-k) + c.wmax
	est := c.wmax*beta + 3*(1-beta)/(1+beta)*t/c.rtt.Seconds()
	if want = max(want, est); want > c.cwnd {
		c.cwnd += min((want-c.cwnd)/c.cwnd, 0.5)
	} else {
		c.cwnd += 0.01 / c.cwnd
	}
}

func (c *Cubic) lost(sent time.Time) {
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
