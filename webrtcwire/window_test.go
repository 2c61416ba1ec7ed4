package webrtcwire

import (
	"testing"
	"time"
)

// run has a path answer what a window has under way after rtt, at no more than rate bytes
// per second, for a number of measurements.
func run(w *window, now time.Time, rate float64, rtt time.Duration, times int) time.Time {
	delivered := w.delivered
	for range times {
		now = now.Add(windowInterval)
		got := min(float64(w.size)/rtt.Seconds(), rate)
		delivered += uint64(got * windowInterval.Seconds())
		w.limited = true
		w.adapt(now, delivered, path{rtt, sendBuffer})
	}
	return now
}

func TestWindowFollowsThePath(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, test := range []struct {
		name          string
		rate          float64 // bytes per second
		rtt           time.Duration
		least, atMost int
	}{
		{"loopback", 18e6, 500 * time.Microsecond, minWindow, 90_000},
		{"5 MB/s at 20 ms", 5e6, 20 * time.Millisecond, 200_000, 240_000},
		{"slow", 1e5, 50 * time.Millisecond, minWindow, minWindow},
		{"more than we hold", 1e8, 100 * time.Millisecond, sendBuffer, sendBuffer},
	} {
		w := newWindow(start)
		run(&w, start, test.rate, test.rtt, 20)
		if w.size < test.least || w.size > test.atMost {
			t.Errorf("%s: %d bytes, want %d to %d", test.name, w.size, test.least, test.atMost)
		}
	}
}

// TestWindowIgnoresItsOwnQueue has round trips grow with what is under way, after one that
// was measured before.
func TestWindowIgnoresItsOwnQueue(t *testing.T) {
	w := newWindow(time.Unix(1000, 0))
	now := run(&w, time.Unix(1000, 0), 18e6, time.Millisecond, 1)
	now = run(&w, now, 18e6, 30*time.Millisecond, 20)
	if w.size > 120_000 {
		t.Errorf("%d bytes", w.size)
	}
	now = run(&w, now.Add(rttMemory), 18e6, 30*time.Millisecond, 1)
	run(&w, now.Add(rttMemory), 18e6, 30*time.Millisecond, 20)
	if w.size != sendBuffer {
		t.Errorf("%d bytes on a path that has become longer", w.size)
	}
}

// TestWindowStaysWhileNotUsed has a connection that had little to send.
func TestWindowStaysWhileNotUsed(t *testing.T) {
	w := newWindow(time.Unix(1000, 0))
	now := run(&w, time.Unix(1000, 0), 5e6, 50*time.Millisecond, 20)
	size := w.size
	w.adapt(now.Add(windowInterval), w.delivered+100, path{50 * time.Millisecond, sendBuffer})
	if w.size != size {
		t.Errorf("from %d to %d bytes", size, w.size)
	}
	w.limited = true // just before a pause
	w.adapt(now.Add(time.Minute), w.delivered+100, path{50 * time.Millisecond, sendBuffer})
	if w.size != size {
		t.Errorf("from %d to %d bytes over a pause", size, w.size)
	}
}

// TestWindowShrinksAfterLosses has SCTP's own window halved by losses, first on a short
// path, whose queue our data fills, then on a long one, which loses packets whatever we do.
func TestWindowShrinksAfterLosses(t *testing.T) {
	start := time.Unix(1000, 0)
	lossy := func(rate float64, rtt time.Duration) *window {
		w := newWindow(start)
		now := run(&w, start, rate, rtt, 10)
		for range 10 {
			now = now.Add(windowInterval)
			w.limited = true
			w.adapt(now, w.delivered+uint64(rate*windowInterval.Seconds()), path{rtt, w.size / 2})
		}
		return &w
	}
	short := lossy(70e6, time.Millisecond)
	if want := int(2 * 70e6 * 0.001); short.size > want {
		t.Errorf("%d bytes on a short path, want the %d that are in the path", short.size, want)
	}
	if long := lossy(1e6, 100*time.Millisecond); long.size < 190_000 {
		t.Errorf("%d bytes on a long path", long.size)
	}
	before := short.size
	run(short, start.Add(time.Minute), 70e6, time.Millisecond, 1000)
	if short.size <= before {
		t.Errorf("still %d bytes long after the losses", short.size)
	}
}
