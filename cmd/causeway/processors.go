package main

import (
	"os"
	"runtime"
	"time"
)

// The shares of a core below which one processor is enough, and above which all are
// wanted. Between them nothing changes.
const (
	fewBelow = 0.6
	allAbove = 0.9
)

const (
	// calm is how long the process must have used less than fewBelow.
	calm = time.Second

	// idleBelow is the share that counts as idle. What begins then has all processors.
	idleBelow = 0.02

	// processorTick is between two looks at the time used; idleTick is that while idle.
	processorTick = 100 * time.Millisecond
	idleTick      = 2 * time.Second
)

// processorTuner runs a process that needs less than a core on one processor (in the
// sense of GOMAXPROCS). Go wakes an idle one for each goroutine that becomes ready, which
// with WebRTC is several for each packet; to find, mostly, that the first has done the work.
type processorTuner struct {
	one  bool
	calm time.Duration
}

// next decides after the process has used share of a core for d. It returns how
// long to wait for the next look.
func (t *processorTuner) next(share float64, d time.Duration) time.Duration {
	switch {
	case share < idleBelow:
		t.one, t.calm = false, 0
		return idleTick
	case share > allAbove:
		t.one, t.calm = false, 0
	case share < fewBelow:
		if t.calm += d; t.calm >= calm {
			t.one = true
		}
	default:
		t.calm = 0
	}
	return processorTick
}

// tuneProcessors starts a processorTuner, unless the user has set GOMAXPROCS or the
// system does not tell the time used.
func tuneProcessors() {
	used, ok := processorTime()
	if !ok || os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	go func() {
		var t processorTuner
		wait, last, one := processorTick, time.Now(), false
		for {
			time.Sleep(wait)
			now := time.Now()
			usedNow, _ := processorTime()
			elapsed := now.Sub(last)
			wait = t.next((usedNow-used).Seconds()/elapsed.Seconds(), elapsed)
			used, last = usedNow, now
			switch {
			case t.one && !one:
				runtime.GOMAXPROCS(1)
			case one && !t.one:
				runtime.SetDefaultGOMAXPROCS()
			}
			one = t.one
		}
	}()
}
