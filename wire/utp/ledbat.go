package utp

import (
	"math"
	"time"
)

const (
	// target is the queueing delay that is aimed at (BEP 29; RFC 6817, TARGET).
	target = 100 * time.Millisecond
	// initialPackets is the first window (RFC 6928), and minPackets the least one: RFC 6817,
	// MIN_CWND.
	initialPackets = 10
	minPackets     = 2
	// maxWindow bounds the window: 12.5 MB/s at a round trip of 600 ms.
	maxWindow = 8 << 20
	// Slow start ends when packets queue for longer than this: more than the noise of a busy
	// machine, and an eighth of the target, since as much again comes before it is seen.
	slowStartDelay = target / 8
	// plateauRounds without plateauGrowth end slow start, too: there is no more to be had.
	plateauRounds = 3
	plateauGrowth = 1.2
	// While next to nothing queues the window grows by 1/gainFast in a round trip, else by gainGentle packets: slower than
	// that of TCP,
	// and up to gainRoom more the farther below the target it is.
	gainFast   = 16
	gainGentle = 1
	gainRoom   = 3
	// The target falls by targetStep with each doubling of the rate over targetRate, down to
	// leastTarget. So the faster one of two flows yields to the slower one until they are equally fast (as
	// in Swift, SIGCOMM 2020, 3.1), and a fast one yields to TCP sooner.
	leastTarget = 25 * time.Millisecond
	targetStep  = 10 * time.Millisecond
	targetRate  = 64 << 10 // bytes/s
	// yield is which part of what queues above the target is taken from the window after a round trip: nearly
	// all, since the next one sees all of its effect.
	yield = 0.75
	// mostYield bounds it (LEDBAT++).
	mostYield = 0.5
	// lossHigh and lossLow are parts of what was sent in some round trips; between them loss
	// has the window fall to what the path holds, above them further.
	lossLow  = 0.02
	lossHigh = 0.10
	lossCut  = 0.7
	// slack is added to the round trip when the path's content is estimated: timers and
	// schedulers take that long.
	slack = 500 * time.Microsecond
)

// control decides how much may be in flight: LEDBAT (RFC 6817) with the multiplicative decrease and
// the drains of LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus), and for loss a
// model of the path: a lost packet is no reason to send less than what is known to arrive.
type control struct {
	cwnd    float64 // bytes
	slow    bool    // in slow start
	delays  delays
	queue   time.Duration // the last queueing delay
	least   time.Duration // the least in this round trip
	full    bool          // no growth: it was over the target in the last round trip
	maxSeen time.Duration // the longest queueing delay of late
	rate    maxRate
	minRTT  time.Duration
	srtt    time.Duration // as in sender

	round       int64 // the round ends when what was sent after this many delivered bytes arrives
	acked, lost int   // bytes in this round
	lossRate    float64
	cutAt       int64 // as round: no second cut before
	plateau     int
	best        float64 // rate at the last growth of it

	drain drain
}

func (c *control) init(mss int) {
	c.cwnd = float64(initialPackets * mss)
	c.slow = true
	c.minRTT, c.least = math.MaxInt64, math.MaxInt64
}

// ackInfo is what a packet told about those that it acknowledges.
type ackInfo struct {
	now       moment
	acked     int     // bytes delivered that had not been before
	delivered int64   // bytes in all
	sentAfter int64   // delivered when the latest of them was sent
	rate      float64 // bytes/s, 0: unknown
	rtt       time.Duration
	inflight  int
	limited   bool // the window, or its pacing, was all that held data back
	srtt      time.Duration
	mss       int
}

// content returns how many bytes the path holds without a queue, as far as is known. What
// busy machines add to the round trip is part of the path.
func (c *control) content() float64 {
	if c.minRTT == math.MaxInt64 {
		return 0
	}
	return c.rate.value() * (max(c.srtt-c.queue, c.minRTT) + slack).Seconds()
}

func (c *control) onAck(a ackInfo) {
	c.srtt = a.srtt
	if a.rtt > 0 {
		c.minRTT = min(c.minRTT, a.rtt)
		// No packet waited longer than its round trip took.
		c.queue = min(c.delays.queue(a.now), a.rtt)
	}
	c.rate.add(a.rate)
	c.acked += a.acked
	c.least = min(c.least, c.queue)
	if a.sentAfter >= c.round {
		c.endRound(a)
	}
	if c.drain.step(c, a) {
		return
	}
	switch {
	case c.slow:
		if c.queue > slowStartDelay {
			c.leaveSlowStart(a.mss)
		} else if a.limited {
			c.cwnd += float64(a.acked)
		}
	case a.limited && !c.full:
		c.cwnd += float64(a.acked) / c.cwnd * c.grow(float64(a.mss))
	}
	c.bound(a.mss)
}

func (c *control) bound(mss int) {
	c.cwnd = min(max(c.cwnd, float64(minPackets*mss)), maxWindow)
}

// adjust is the decrease of LEDBAT, after a round trip in which no packet queued for less than least.
func (c *control) adjust(least time.Duration) {
	excess := least - c.aim()
	if c.full = excess > 0; c.full {
		x := float64(excess) / float64(c.minRTT+least)
		c.cwnd -= min(yield*x, mostYield) * c.cwnd
	}
}

// grow returns how many bytes the window grows in a round trip.
func (c *control) grow(mss float64) float64 {
	if c.queue < slowStartDelay {
		return mss + c.cwnd/gainFast
	}
	return (gainGentle + gainRoom*c.room()) * mss
}

// room returns by which part of the target the delay is below it.
func (c *control) room() float64 {
	aim := c.aim()
	return max(float64(aim-c.queue)/float64(aim), 0)
}

// aim returns the queueing delay to aim at.
func (c *control) aim() time.Duration {
	if c.minRTT == math.MaxInt64 {
		return target
	}
	rate := c.cwnd / (c.minRTT + c.queue).Seconds()
	doublings := max(math.Log2(rate/targetRate), 0)
	return max(target-time.Duration(doublings*float64(targetStep)), leastTarget)
}

func (c *control) leaveSlowStart(mss int) {
	c.slow = false
	if hold := c.content() + c.rate.value()*c.queue.Seconds(); hold > 0 {
		c.cwnd = min(c.cwnd, hold)
	}
	c.bound(mss)
}

func (c *control) endRound(a ackInfo) {
	c.round = a.delivered
	if sent := c.acked + c.lost; sent > 0 {
		c.lossRate += (float64(c.lost)/float64(sent) - c.lossRate) / 4
	}
	c.acked, c.lost = 0, 0
	c.maxSeen = max(c.queue, c.maxSeen*15/16)
	c.rate.round()
	least := c.least
	c.least = math.MaxInt64
	switch {
	case !c.slow && !c.drain.on:
		c.adjust(least)
		return
	case !c.slow || !a.limited:
		return
	}
	if c.rate.value() > c.best*plateauGrowth {
		c.best, c.plateau = c.rate.value(), 0
	} else if c.plateau++; c.plateau >= plateauRounds {
		c.leaveSlowStart(a.mss)
	}
}

// onLoss takes note of lost bytes; delivered as in ackInfo.
func (c *control) onLoss(bytes int, delivered int64, mss int) {
	c.lost += bytes
	if delivered < c.cutAt {
		return
	}
	inRound := float64(c.lost) / float64(max(c.acked+c.lost, 20*mss))
	rate := max(c.lossRate, inRound)
	queued := c.queue > max(c.maxSeen/2, 3*time.Millisecond)
	window := &c.cwnd
	if c.drain.on {
		window = &c.drain.saved // what comes back, or the end of the drain would undo the cut
	}
	content := c.content() + float64(minPackets*mss)
	low := lossLow
	if c.slow { // in a few packets one is many
		low = lossHigh
	}
	switch {
	case rate > lossHigh:
		*window *= lossCut
		c.rate.before = 0 // not what is to be had any more
	case (rate > low || queued) && *window > content:
		*window = max(content, lossCut*(*window))
	case rate <= low:
		return
	}
	c.slow = false
	c.cutAt = delivered + int64(*window)
	c.bound(mss)
}

// onTimeout is called when nothing at all arrives any more.
func (c *control) onTimeout(mss int) {
	c.cwnd = float64(minPackets * mss)
	c.slow = true
	c.best, c.plateau = 0, 0
	c.rate = maxRate{}
	c.drain.stop()
}

// pace returns at which rate to send, in bytes/s.
func (c *control) pace(srtt time.Duration) float64 {
	gain := 1.25
	if c.slow {
		gain = 2
	}
	return gain * c.cwnd / max(srtt, time.Microsecond).Seconds()
}
