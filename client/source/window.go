package source

import (
	"time"

	"github.com/causeway-bt/causeway/wire"
)

const (
	// startWindow is how many blocks are asked of a source of which nothing is known:
	// 512 KiB, which 100 ms at 5 MB/s take.
	startWindow = 32
	// minWindow is how many are asked of the slowest.
	minWindow = 3
	// snubbedWindow is how many are asked of a source that has stopped sending.
	snubbedWindow = 1
	// defaultReqq is how many requests a peer queues that does not say (BEP 10
	// leaves it open; libtorrent takes 250).
	defaultReqq = 250
	// maxWindow bounds the requests to one source: 16 MiB.
	maxWindow = 1024
	// slackTime is for how long, at the measured rate, a source has requests beyond
	// those that its round trip needs: what our own delays must not exceed.
	slackTime = 250 * time.Millisecond
	// sampleTime is over how long a rate is measured to follow a source that is
	// still getting faster.
	sampleTime = 50 * time.Millisecond
)

// Window decides how many blocks a source may owe us: its rate times its round trip,
// twice over so that the rate can double with each, plus slack. It is nobody's
// fixed number: a fast distant peer has hundreds, a slow one three.
type Window struct {
	Rate float64 // bytes per second, of the last samples

	roundTrip time.Duration // the shortest seen from a request to its block
	average   float64       // Rate, smoothed
	since     time.Time     // start of the sample
	bytes     int64         // in the sample
}

// received notes a block.
func (w *Window) received(askedAt, at time.Time, n int) {
	if d := at.Sub(askedAt); w.roundTrip == 0 || d < w.roundTrip {
		w.roundTrip = max(d, time.Microsecond)
	}
	if w.since.IsZero() {
		w.since = at
		return
	}
	w.bytes += int64(n)
	elapsed := at.Sub(w.since)
	if elapsed < sampleTime {
		return
	}
	rate := float64(w.bytes) / elapsed.Seconds()
	// It follows a rise at once, and a fall slowly: a lull says little.
	w.Rate = max(rate, w.Rate+0.1*(rate-w.Rate))
	if w.average == 0 {
		w.average = rate
	}
	w.average += 0.25 * (rate - w.average)
	w.since, w.bytes = at, 0
}

// blocks returns how many blocks the source may owe.
func (w *Window) blocks() int {
	if w.Rate == 0 {
		return startWindow
	}
	need := w.Rate * (2*w.roundTrip + slackTime).Seconds()
	return max(int(need/wire.BlockSize)+1, minWindow)
}

const (
	// hurriedStart is how many blocks are asked of an unknown source while a player
	// waits, so that several share a piece.
	hurriedStart = 8
	// hurriedSlack replaces slackTime while a player waits: what is queued at a source
	// comes before what a seek asks for.
	hurriedSlack = 40 * time.Millisecond
)

// hurriedBlocks is blocks while a player waits.
func (w *Window) hurriedBlocks() int {
	if w.Rate == 0 {
		return hurriedStart
	}
	need := w.average * (w.roundTrip + hurriedSlack).Seconds()
	return max(int(need/wire.BlockSize)+1, minWindow)
}

// Room returns how many more blocks may be asked. hurried: a player waits.
func (s *Source) Room(hurried bool) int {
	n := s.Window.blocks()
	switch {
	case s.Pick.Snubbing:
		n = snubbedWindow
	case hurried:
		n = s.Window.hurriedBlocks()
	}
	reqq := s.Link.MaxRequests()
	if reqq == 0 {
		reqq = defaultReqq
	}
	return min(n, reqq, maxWindow) - s.Pick.InFlight()
}

// minHurry and maxHurry bound hurry.
const (
	minHurry = 150 * time.Millisecond
	maxHurry = time.Second
)

// hurry returns how long a request of what a player waits for may take before
// another source is asked too.
func (s *Source) hurry() time.Duration {
	if s.Window.Rate < 1 {
		return 2 * minHurry
	}
	return min(2*s.queueTime()+2*s.Window.roundTrip+minHurry, maxHurry)
}

// queueTime is how long what is asked of it takes at its rate.
func (s *Source) queueTime() time.Duration {
	return time.Duration(float64(s.Pick.InFlight()+1) * wire.BlockSize / s.Window.Rate * float64(time.Second))
}

const (
	// snubAfter is how long a source that owes blocks may send none before others
	// are asked too.
	snubAfter = 4 * time.Second
	// minPatience and maxPatience bound how long one request may take.
	minPatience = 3 * time.Second
	maxPatience = time.Minute
)

// snubbing reports whether a source that owes blocks has stopped sending.
func (s *Source) snubbing(now time.Time) bool {
	return s.Pick.InFlight() > 0 && now.Sub(s.lastSign()) > snubAfter
}

// patience returns how long a request may take: twice what the queue needs at the
// measured rate.
func (s *Source) patience() time.Duration {
	if s.Window.Rate < 1 {
		return 2 * minPatience
	}
	return min(2*s.queueTime()+2*s.Window.roundTrip+minPatience, maxPatience)
}
