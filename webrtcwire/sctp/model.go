package sctp

import (
	"math"
	"sync/atomic"
	"time"
)

// See the package's documentation for the model as a whole.
const (
	startupGain = 2.77 // of pacing: 4 ln 2, doubles the rate each round trip (BBR's draft, section 4.1.1)
	drainGain   = 0.35 // its inverse
	windowGain  = 2.0  // of the congestion window over what the path holds
	probeUp     = 1.25
	probeDown   = 0.75
	cycleLength = 8 // phases: probeUp, probeDown, and six at 1

	// rateRounds is for how many round trips the highest delivery rate counts.
	rateRounds = 10

	// fullGrowth and fullRounds: the pipe is full if the rate grew by less in that many rounds.
	fullGrowth = 1.25
	fullRounds = 3

	// lossLimit is the share of a round's packets whose loss means that a queue overflows, if they
	// are at least leastLosses: a path may lose 2 % at random.
	lossLimit   = 0.05
	leastLosses = 8

	// Packets that are lost in a round whose least round trip is queued of minRTT longer, and shortPath
	// at least, were lost to a queue. Then no more may be under way than lossCut of what was, and more again as
	// CUBIC has it (RFC 9438), cubicC in packets/s^3, or steadily, if that is more: by roundGrowth packets a round
	// trip, but no more than secondGrowth a second. Where the least round trip is not a tenth longer, or
	// leastQueue, nobody queues: then by an eighth a round.
	queued       = 0.3
	lossCut      = 0.7
	cubicC       = 0.4
	roundGrowth  = 4
	secondGrowth = 40
	leastQueue   = 2 * time.Millisecond

	// rttMemory is how long the least round trip counts, or twice that while others come within a part of it, one in
	// nearLeast; probeTime is how long the queue is then left to drain so that a new one can be seen.
	rttMemory = 5 * time.Second
	nearLeast = 64
	probeTime = 100 * time.Millisecond

	// leastRound keeps rounds of very short paths long enough to measure something.
	leastRound = 2 * time.Millisecond

	initialWindow = 32 * packetSize
	leastCwnd     = 4 * packetSize

	// On a path shorter than shortPath the ends' scheduling is longer than the path, so what it holds
	// says little: the window is what Chromium's socket takes (about 50 packets of ours, and the
	// page takes some meanwhile), the same for everybody, and the packets go as acknowledgements come.
	// To a peer on this machine it is always that: what is measured there beside thirty others is the
	// wait for a processor, and whoever measured the longest would get the most.
	shortPath   = 3 * time.Millisecond
	ShortWindow = 80_000

	// OwnWindow is that for a peer on this machine that is a program like this: it takes packets
	// from its socket at once, but tells of them up to a millisecond later.
	OwnWindow = 200_000

	// ownByAll bounds what may be under way to all of those together, so that what is kept of it stays
	// small; ShortWindow each may have.
	ownByAll = 1_600_000

	// A sender that was held up, by a timer or for a processor, may catch up for a quarter of a
	// round trip, within these bounds: else it would send less than the rate, and then take
	// that for the path's.
	leastCredit = 2 * time.Millisecond
	mostCredit  = 10 * time.Millisecond
	maxCredit   = 40 * packetSize

	// quantum is the part of a round trip's packets that go together, within these bounds of their
	// time: a wake-up for each would cost more than all else.
	quantum      = 16
	leastQuantum = time.Millisecond
	mostQuantum  = 4 * time.Millisecond
)

// owns counts the associations of this process that have OwnWindow.
var owns atomic.Int64

type mode int

const (
	startup mode = iota
	drain
	probeBW
	probeRTT
)

// model is the sender's view of the path, in the manner of BBR: the rate at which it delivers and
// its least round trip. All times are nanoseconds of the association's clock.
type model struct {
	near int // what may be under way to a peer on this machine; 0: it is elsewhere
	mode mode
	cwnd int // bytes that may be under way
	gain float64

	delivered   int64 // bytes, ever
	deliveredAt int64
	firstSentAt int64
	limitedTill int64 // of delivered: until there the application had too little to send

	rates    [rateRounds]float64
	round    int
	roundEnd int64 // of delivered
	roundAt  int64

	minRTT, minRTTAt int64
	nearAt           int64 // when a round trip was nearly as short
	srtt, rttvar     int64
	probeEnd         int64
	fullRate         float64
	flatRounds       int
	full             bool
	phase            int
	phaseAt          int64
	lost, got        int   // bytes of this round
	most             int   // under way in this round
	roundRTT         int64 // the least of this round
	again            bool  // what was sent since the last cut was lost in this round
	cut              cut
	nextSend         int64
	beforeProbe      int
}

func (m *model) begin(near int) {
	*m = model{near: near, mode: startup, cwnd: initialWindow, gain: startupGain, roundRTT: never}
}

// snapshot is what the model keeps with a packet.
type snapshot struct {
	sentAt, firstSentAt, deliveredAt, delivered int64
	limited                                     bool
}

func (m *model) send(now int64, size, inflight int) snapshot {
	if inflight == 0 {
		m.firstSentAt, m.deliveredAt = now, now
	}
	m.most = max(m.most, inflight+size)
	m.spend(now, size)
	return snapshot{now, m.firstSentAt, m.deliveredAt, m.delivered, m.limitedTill > m.delivered}
}

// rate is the estimate of what the path delivers, in bytes per second; 0: not known.
func (m *model) rate() (most float64) {
	for _, r := range m.rates {
		most = max(most, r)
	}
	return most
}

// pipe is what the path holds.
func (m *model) pipe() int { return int(m.rate() * seconds(m.minRTT)) }

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

func (m *model) short() bool { return m.near > 0 || m.minRTT > 0 && m.minRTT < int64(shortPath) }

// pace is the rate to send at, in bytes per second. Until the pipe is full it is not below that of
// the initial window: what was measured may be that of a few small messages.
func (m *model) pace() float64 {
	rate := m.rate()
	if !m.full {
		rtt := m.minRTT
		if rtt == 0 {
			rtt = int64(100 * time.Millisecond)
		}
		rate = max(rate, initialWindow/seconds(max(rtt, int64(time.Millisecond))))
	}
	rate *= m.gain
	if m.short() {
		rate = max(rate, ShortWindow/shortPath.Seconds())
	}
	return rate
}

// spend takes size bytes off the allowance.
func (m *model) spend(now int64, size int) {
	if m.near > 0 {
		return
	}
	pace := m.pace()
	allowed := min(max(int64(leastCredit), min(m.minRTT/4, int64(mostCredit))), int64(maxCredit/pace*1e9))
	m.nextSend = max(m.nextSend, now-allowed) + int64(float64(size)/pace*1e9)
}

// wakeAt is when it is worth to send again after nextSend.
func (m *model) wakeAt() int64 {
	return m.nextSend + max(int64(leastQuantum), min(m.minRTT/quantum, int64(mostQuantum)))
}

// sample is what an acknowledgement tells.
type sample struct {
	newest      snapshot
	any         bool
	size        int // newly delivered
	rtt         int64
	outstanding int // still under way
}

// take notes the delivery of one packet.
func (m *model) take(now int64, s *sample, p snapshot, size int) {
	m.delivered += int64(size)
	m.deliveredAt = now
	m.got += size
	s.size += size
	if !s.any || p.delivered > s.newest.delivered || p.delivered == s.newest.delivered && p.sentAt > s.newest.sentAt {
		s.any, s.newest = true, p
	}
}

// lose notes the loss of one.
func (m *model) lose(size int, sentAt int64) {
	m.lost += size
	m.again = m.again || sentAt > m.cut.at
}

// update follows take.
func (m *model) update(now int64, s *sample) {
	if !s.any {
		return
	}
	m.firstSentAt = s.newest.sentAt
	m.updateRTT(now, s)
	newRound := s.newest.delivered >= m.roundEnd && now-m.roundAt >= int64(leastRound)
	if newRound {
		m.roundEnd = m.delivered
	}
	m.updateRate(now, s, newRound)
	if newRound {
		m.endRound(now, s)
	}
	m.updateMode(now, s)
	m.updateWindow(s)
}

func (m *model) updateRTT(now int64, s *sample) {
	if s.rtt <= 0 {
		return
	}
	if m.srtt == 0 {
		m.srtt, m.rttvar = s.rtt, s.rtt/2
	} else { // RFC 6298 section 2.3
		m.rttvar += (max(m.srtt-s.rtt, s.rtt-m.srtt) - m.rttvar) / 4
		m.srtt += (s.rtt - m.srtt) / 8
	}
	m.roundRTT = min(m.roundRTT, s.rtt)
	if s.rtt <= m.minRTT+m.minRTT/nearLeast {
		m.nearAt = now
	}
	expired := m.minRTTAt > 0 && m.forgets(now)
	if m.minRTT == 0 || s.rtt <= m.minRTT || expired && m.mode == probeRTT {
		m.minRTT, m.minRTTAt = s.rtt, now
	}
}

// forgets reports whether the least round trip is too old to count.
func (m *model) forgets(now int64) bool {
	return now-m.minRTTAt > 2*int64(rttMemory) || now-max(m.minRTTAt, m.nearAt) > int64(rttMemory)
}

func (m *model) updateRate(now int64, s *sample, newRound bool) {
	interval := max(s.newest.sentAt-s.newest.firstSentAt, now-s.newest.deliveredAt)
	if interval < m.minRTT || interval <= 0 {
		return // BBR's draft, section 4.1.2.3: too short to be true
	}
	rate := float64(m.delivered-s.newest.delivered) / seconds(interval)
	if s.newest.limited && rate < m.rate() {
		return
	}
	if newRound && !s.newest.limited {
		m.round++
		m.rates[m.round%rateRounds] = 0
	}
	at := &m.rates[m.round%rateRounds]
	*at = max(*at, rate)
}

// endRound looks at the losses of a round, and at whether the rate still grows.
func (m *model) endRound(now int64, s *sample) {
	overflows := m.lost >= leastLosses*packetSize && float64(m.lost) > lossLimit*float64(m.lost+m.got)
	switch c := &m.cut; {
	case overflows, m.again && !m.short() && m.longer(queued, shortPath):
		c.begin(now, m.most, max(m.pipe(), leastCwnd))
		m.full = true
	case c.ceiling > 0 && m.most >= c.ceiling*9/10:
		c.grow(now-m.roundAt, m.srtt, m.longer(0.1, leastQueue))
	}
	if m.cut.ceiling > 2*int(windowGain)*m.pipe()+initialWindow {
		m.cut = cut{at: m.cut.at}
	}
	m.roundAt, m.roundRTT, m.again = now, never, false
	m.lost, m.got, m.most = 0, 0, s.outstanding
	if m.full || s.newest.limited {
		return
	}
	if rate := m.rate(); rate >= m.fullRate*fullGrowth {
		m.fullRate, m.flatRounds = rate, 0
	} else if m.flatRounds++; m.flatRounds >= fullRounds {
		m.full = true
	}
}

// longer reports whether all round trips of this round were longer than the least, by a part of it and
// by a time at least: there was a queue. It is false where none was measured.
func (m *model) longer(part float64, least time.Duration) bool {
	by := max(int64(part*float64(m.minRTT)), int64(least))
	return m.roundRTT < never && m.roundRTT > m.minRTT+by
}

func (m *model) updateMode(now int64, s *sample) {
	switch m.mode {
	case startup:
		if m.full {
			m.mode, m.gain = drain, drainGain
		}
	case probeRTT:
		if now < m.probeEnd {
			return
		}
		m.minRTTAt = now
		m.cwnd = max(m.cwnd, m.beforeProbe)
		m.mode, m.gain = startup, startupGain
		if m.full {
			m.cruise(now)
		}
	case probeBW:
		m.cycle(now, s)
	}
	if m.mode == drain && s.outstanding <= m.pipe() {
		m.cruise(now)
	}
	if m.mode != probeRTT && !m.short() && m.forgets(now) {
		m.mode, m.gain, m.beforeProbe = probeRTT, 1, m.cwnd
		m.probeEnd = now + max(int64(probeTime), m.srtt)
	}
}

func (m *model) cruise(now int64) {
	m.mode, m.phase, m.phaseAt, m.gain = probeBW, int(now/1000)%(cycleLength-2)+2, now, 1
}

// cycle moves to the next phase of probeBW when it is time.
func (m *model) cycle(now int64, s *sample) {
	long := now-m.phaseAt > max(m.minRTT, int64(leastRound))
	switch m.phase {
	case 0: // until the queue is there, or a loss shows that none can be
		if !long || s.outstanding < int(probeUp*float64(m.pipe())) && m.lost < leastLosses*packetSize &&
			now-m.phaseAt < 4*m.minRTT {
			return
		}
	case 1:
		if !long && s.outstanding > m.pipe() {
			return
		}
	default:
		if !long {
			return
		}
	}
	m.phase, m.phaseAt = (m.phase+1)%cycleLength, now
	switch m.phase {
	case 0:
		m.gain = probeUp
	case 1:
		m.gain = probeDown
	default:
		m.gain = 1
	}
}

func (m *model) updateWindow(s *sample) {
	target := int(windowGain*float64(m.pipe())) + 3*max(2*packetSize, int(m.pace()*0.001))
	switch {
	case m.mode == probeRTT:
		m.cwnd = max(leastCwnd, m.pipe()/2)
		return
	case m.full:
		m.cwnd = min(m.cwnd+s.size, target)
	case m.cwnd < target || m.delivered < initialWindow:
		m.cwnd += s.size
	}
	m.cwnd = max(m.cwnd, leastCwnd)
}

// window is how much may be under way.
func (m *model) window() int {
	window := m.cwnd
	switch {
	case m.near > 0:
		window = min(m.near, max(ShortWindow, ownByAll/int(max(owns.Load(), 1))))
	case m.short():
		window = max(window, ShortWindow)
	}
	if m.cut.ceiling > 0 {
		window = min(window, m.cut.ceiling)
	}
	return window
}

// timedOut restarts from little: nothing is known of the path any more.
func (m *model) timedOut() { m.cwnd = leastCwnd }

// cut is the bound of what is under way since a queue has overflowed.
type cut struct {
	ceiling int   // bytes; 0: none
	at      int64 // when it was set last: losses of what was sent before are of the same event
	from    float64
	peak    float64 // where the queue overflowed, packets
	grown   int64   // time in which the ceiling was reached
}

// begin cuts most bytes, that were under way when a queue overflowed.
func (c *cut) begin(now int64, most, least int) {
	peak := float64(most) / packetSize
	from := max(peak*lossCut, float64(least)/packetSize)
	if peak < c.peak { // somebody else needs room: RFC 9438 section 4.7
		peak *= (1 + lossCut) / 2
	}
	*c = cut{ceiling: int(from * packetSize), at: now, from: from, peak: max(peak, from)}
}

// grow lets more be under way: an eighth where nobody queues, else as RFC 9438 sections 4.2 and 4.3, or steadily.
func (c *cut) grow(took, rtt int64, queue bool) {
	if !queue {
		c.ceiling += max(c.ceiling/8, packetSize)
		c.from, c.grown = float64(c.ceiling)/packetSize, 0
		c.peak = max(c.peak, c.from)
		return
	}
	c.grown += took
	t := seconds(c.grown)
	back := math.Cbrt((c.peak - c.from) / cubicC) // until it is at peak again
	ahead := t - back
	reno := 3 * (1 - lossCut) / (1 + lossCut) / seconds(rtt)
	steady := max(reno, min(roundGrowth/seconds(rtt), secondGrowth))
	packets := max(c.peak+cubicC*ahead*ahead*ahead, c.from+steady*t)
	c.ceiling = max(c.ceiling, min(int(packets*packetSize), c.ceiling*3/2))
}
