package swarm

import (
	"fmt"
	"time"
)

// reasons are what may keep a torrent from seeing a browser, besides its trackers. A
// browser that connects makes them void.
type reasons struct {
	noOffer     error // why the last offers were not made, nil if they were
	failures    int   // of connections
	lastFailure error
	met         bool // there was a browser
}

func (r *reasons) failed(err error) {
	r.failures++
	r.lastFailure = err
}

// browserPatience is how long a torrent waits for a browser before it says why it
// sees none, and looks again while connections are being made; browserInterval is when it
// looks again otherwise.
const (
	browserPatience = 15 * time.Second
	browserInterval = 2 * time.Minute
)

// tellIfAlone reports why no browser is connected, when that has changed.
func (w *Web) tellIfAlone(now time.Time) {
	if w.s.shared.RTC == nil || w.s.host.Browsers() > 0 {
		w.nextTold = now.Add(browserPatience)
		return
	}
	if w.nextTold.IsZero() {
		w.nextTold = now.Add(browserPatience)
	}
	if now.Before(w.nextTold) {
		return
	}
	w.nextTold = now.Add(browserInterval)
	if w.tries() {
		w.nextTold = now.Add(browserPatience)
	}
	if reason := w.whyAlone(); reason != w.told {
		w.told = reason
		w.s.host.Alone(reason)
	}
}

// tries reports whether a connection is being made.
func (w *Web) tries() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.negotiating) > 0
}

// whyAlone says why no browser is connected, as far as can be told.
func (w *Web) whyAlone() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.handles) == 0 {
		return "the torrent has no WebSocket tracker, by which browsers could be met"
	}
	ok, browsers := 0, 0
	var down error
	for _, st := range w.status {
		if st.Err == nil {
			ok++
			browsers = max(browsers, st.Seeds+st.Leeches-1)
		} else {
			down = fmt.Errorf("%s: %w", st.URL, st.Err)
		}
	}
	switch {
	case ok == 0 && down != nil:
		return fmt.Sprintf("no WebSocket tracker can be reached (%v)", down)
	case ok == 0:
		return "no WebSocket tracker has answered yet"
	case w.reasons.noOffer != nil:
		return fmt.Sprintf("no offer could be made: %v", w.reasons.noOffer)
	case w.reasons.failures > 0:
		return fmt.Sprintf("connections could not be made (%d); the last: %v", w.reasons.failures, w.reasons.lastFailure)
	case browsers == 0:
		return "the WebSocket trackers know of no other peer"
	case w.reasons.met:
		return "the browsers that were connected have gone, and no other has come"
	default:
		return "nobody has answered our offers, and nobody has made any"
	}
}
