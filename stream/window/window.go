// Package window decides how far ahead of a reader bytes are asked of peers. It holds no
// reader and knows no torrent: rooms that read files while they are fetched (stream over
// HTTP, mount through the kernel) hand in what they know of one, and tell the engine what
// comes out.
//
//	w := window.Demand{Asked: n, Remaining: left, PieceLength: piece, Bitrate: rate, Ahead: window.Ahead}.Window()
package window

import (
	"math"
	"time"
)

const (
	// ProbeSize is the longest range that counts as a probe: players look at
	// headers, tails and indices in ranges of some hundred KiB, and want
	// nothing beyond them.
	ProbeSize = 1 << 20
	// Ahead is for how long the window reaches, unless told otherwise.
	Ahead = 30 * time.Second
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

// Demand is what decides how far ahead of a reader bytes are wanted. All
// amounts are in bytes, all rates in bytes per second.
type Demand struct {
	Asked       int64 // bytes of the response still to be sent
	Probe       bool  // the whole response is a probe
	Remaining   int64 // bytes from the position to the end of the file
	PieceLength int64
	Bitrate     float64 // from the container's header; 0 if unknown
	ReadRate    float64 // how fast the client reads
	Ahead       time.Duration
}

// Window returns the number of bytes ahead of the position to ask for: the
// bitrate times the target time, never less than two pieces; only what was asked
// for by a probe; never beyond the file. A response in ranges is otherwise not
// bounded by its end, since the player's next range continues there.
func (d Demand) Window() int64 {
	if d.Probe {
		return d.Asked
	}
	var want int64
	switch {
	case d.Bitrate > 0:
		want = scale(d.Bitrate, d.Ahead, maxWindow)
	default:
		want = max(firstWindow, scale(d.ReadRate, d.Ahead, maxMeasuredWindow))
	}
	return min(max(want, minWindowPieces*d.PieceLength), d.Remaining)
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

// Meter measures a rate as an exponential average.
type Meter struct {
	rate  float64 // bytes per second
	bytes int64   // since last
	last  time.Time
}

// Add counts n bytes.
func (m *Meter) Add(n int64, now time.Time) {
	if m.last.IsZero() {
		m.last = now
	}
	m.bytes += n
	m.At(now)
}

// At returns the rate, which decays while nothing is added.
func (m *Meter) At(now time.Time) float64 {
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
