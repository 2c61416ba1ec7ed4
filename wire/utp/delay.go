package utp

import "time"

const (
	// The base delay is the least of baseHistory spans of time (RFC 6817, 4.2: BASE_HISTORY
	// of 10 minutes).
	baseHistory = 10
	baseSpan    = time.Minute
	// drift is how fast two clocks may run apart: 100 ppm. An old base is worth that
	// much less with its age, else a slow clock of the peer looked like a queue.
	drift = 10_000 // ns in one ns of drift
	// currentFilter is of how many samples the least is the current delay
	// (RFC 6817, CURRENT_FILTER): a packet that a busy machine was slow to take is no queue.
	currentFilter = 4
)

// delays turns one-way delays, which are between two clocks and thus relative, into the
// delay by queues on the path.
type delays struct {
	base  [baseHistory]int32 // µs, relative to origin
	at    [baseHistory]moment
	n     int // spans that have begun
	since moment

	recent  [currentFilter]int32 // µs, relative to origin
	samples int
	origin  uint32 // the first sample: all others are compared to it, around the wrap
}

// add takes the delay of a packet of ours, as the peer measured it, in µs.
func (d *delays) add(sample uint32, now moment) {
	if d.samples == 0 {
		d.origin = sample
	}
	v := int32(sample - d.origin)
	d.recent[d.samples%currentFilter] = v
	d.samples++
	i := (d.n - 1) % baseHistory
	switch {
	case d.n == 0 || now-d.since >= baseSpan:
		i = d.n % baseHistory
		d.n++
		d.since = now
		d.base[i], d.at[i] = v, now
	case v <= d.base[i]:
		d.base[i], d.at[i] = v, now
	}
}

// least returns the base delay in µs, relative to origin, and when it was seen.
func (d *delays) least(now moment) (base int32, seen moment) {
	for i := range min(d.n, baseHistory) {
		v := d.base[i] + int32((now-d.at[i])/drift/time.Microsecond)
		if i == 0 || v < base {
			base, seen = v, d.at[i]
		}
	}
	return base, seen
}

// queue returns by how much packets are delayed by queues now.
func (d *delays) queue(now moment) time.Duration {
	if d.samples == 0 {
		return 0
	}
	current := d.recent[0]
	for _, v := range d.recent[:min(d.samples, currentFilter)] {
		current = min(current, v)
	}
	base, _ := d.least(now)
	return time.Duration(max(current-base, 0)) * time.Microsecond
}

// A delivered packet tells the rate: what was delivered since it was sent, by the time that
// took (as in draft-cheng-iccrg-delivery-rate-estimation).

// maxRate is the highest rate of the last rateRounds to 2·rateRounds rounds.
type maxRate struct {
	now, before float64 // bytes/s
	rounds      int
}

// rateRounds is long enough that one slow round does not count, and short enough
// that a rate that is no longer to be had is soon forgotten.
const rateRounds = 8

func (m *maxRate) add(rate float64) { m.now = max(m.now, rate) }

// round ends a round.
func (m *maxRate) round() {
	if m.rounds++; m.rounds >= rateRounds {
		m.before, m.now, m.rounds = m.now, 0, 0
	}
}

func (m *maxRate) value() float64 { return max(m.now, m.before) }
