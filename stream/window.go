package stream

import (
	"math"
	"time"
)

const (
	// probeSize is the longest range that counts as a probe: players look at
	// headers, tails and indices in ranges of some hundred KiB, and want
	// nothing beyond them.
	probeSize = 1 << 20
	// firstWindow is for a reader of which nothing is known yet: a few seconds
	// of film in high definition.
	firstWindow = 4 << 20
	// minWindowPieces: the piece at the position and the next, since a piece
	// can only be read when all of it is there.
	minWindowPieces = 2
	// maxWindow bounds what a wrong or hostile container header can ask for.
	maxWindow = 512 << 20
	// maxMeasuredWindow bounds the window that follows from the reading rate: a
	// download tool reads as fast as it can, and needs no more than this.
	maxMeasuredWindow = 64 << 20
)

// demand is what decides how far ahead of a reader bytes are wanted. All
// amounts are in bytes, all rates in bytes per second.
type demand struct {
	asked       int64 // bytes of the response still to be sent
	probe       bool  // the whole response is a probe
	remaining   int64 // bytes from the position to the end of the file
	pieceLength int64
	bitrate     float64 // from the container's header; 0 if unknown
	readRate    float64 // how fast the client reads
	ahead       time.Duration
}

// window returns the number of bytes ahead of the position to ask for: the
// bitrate times the target time, never less than two pieces; only what was asked
// for by a probe; never beyond the file. A response in ranges is otherwise not
// bounded by its end, since the player's next range continues there.
func (d demand) window() int64 {
	if d.probe {
		return d.asked
	}
	var want int64
	switch {
	case d.bitrate > 0:
		want = scale(d.bitrate, d.ahead, maxWindow)
	default:
		want = max(firstWindow, scale(d.readRate, d.ahead, maxMeasuredWindow))
	}
	return min(max(want, minWindowPieces*d.pieceLength), d.remaining)
}

func scale(rate float64, d time.Duration, limit int64) int64 {
	return int64(math.Min(rate*d.Seconds(), float64(limit)))
}

const (
	// meterTime is the time constant of the measured rate: long enough to even
	// out the bursts in which players fill their buffers.
	meterTime = 5 * time.Second
	// meterStep is the shortest time over which a rate is taken.
	meterStep = 200 * time.Millisecond
)

// meter measures a rate as an exponential average.
type meter struct {
	rate  float64 // bytes per second
	bytes int64   // since last
	last  time.Time
}

func (m *meter) add(n int64, now time.Time) {
	if m.last.IsZero() {
		m.last = now
	}
	m.bytes += n
	m.at(now)
}

// at returns the rate, which decays while nothing is added.
func (m *meter) at(now time.Time) float64 {
	if m.last.IsZero() {
		return 0
	}
	if elapsed := now.Sub(m.last); elapsed >= meterStep {
		weight := 1 - math.Exp(-elapsed.Seconds()/meterTime.Seconds())
		m.rate += weight * (float64(m.bytes)/elapsed.Seconds() - m.rate)
		m.bytes, m.last = 0, now
	}
	return m.rate
}
