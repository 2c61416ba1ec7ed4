package ws

import "time"

const (
	// Connecting again: after minWait, doubling to maxFirstWait. While a tracker was
	// there within outageWindow it has probably only restarted, and everybody is
	// waiting for it: then the wait stays short enough that all torrents are announced
	// within 5 s of its return. One that stays dead for longer is rested for twice as
	// long each time, up to maxWait.
	minWait      = time.Second
	outageWait   = 3 * time.Second
	outageWindow = 10 * time.Minute
	maxFirstWait = time.Minute
	maxWait      = time.Hour

	// steady is how long a connection must last to count as one. A tracker that takes
	// and drops connections is as good as dead.
	steady = 30 * time.Second
)

// waits is how long to wait before a tracker is tried again.
type waits struct {
	since    time.Time // of the first try, or when the tracker was last there
	met      bool      // it was there
	failures int       // in a row, within outageWindow
	late     int       // and after it
}

// next returns the wait after a connection that has ended, or was not made. contact says
// whether the tracker said anything in it, lived how long it took.
func (w *waits) next(contact bool, lived time.Duration, now time.Time) time.Duration {
	if contact && (!w.met || lived >= steady) {
		*w = waits{since: now, met: true}
	}
	if now.Sub(w.since) >= outageWindow {
		w.late++
		return jitter(min(maxFirstWait<<min(w.late, 6), maxWait))
	}
	limit := maxFirstWait
	if w.met {
		limit = outageWait
	}
	wait := min(minWait<<min(w.failures, 6), limit)
	w.failures++
	return jitter(wait)
}
