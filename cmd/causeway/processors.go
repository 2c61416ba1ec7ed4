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

	// idleBelow is the share below which the process is idle, once that is so for calm.
	// What begins then has all processors.
	idleBelow = 0.02

	// processorTick is between two looks at the time used; idleTick is that while idle.
	processorTick = 100 * time.Millisecond
	idleTick      = 2 * time.Second
)

// processorTuner runs a process that needs less than a core on one processor (in the
// sense of GOMAXPROCS). Go wakes an idle one for each goroutine that becomes ready; to
// find, mostly, that the first has done the work.
//
// What it goes by is the time that the process got, so beside others that take all
// processors it may stay on one.
type processorTuner struct {
	one        bool
	calm, idle time.Duration // so far
}

// next decides after the process has used share of a core since the last look. It returns
// how long to wait for the next.
func (t *processorTuner) next(share float64) time.Duration {
	if share >= idleBelow {
		t.idle = 0
	} else if t.idle += processorTick; t.idle >= calm {
		*t = processorTuner{idle: calm}
		return idleTick
	}
	switch {
	case share > allAbove:
		t.one, t.calm = false, 0
	case share >= fewBelow:
		t.calm = 0
	default:
		t.calm += processorTick
		t.one = t.one || t.calm >= calm
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
			wait = t.next((usedNow - used).Seconds() / now.Sub(last).Seconds())
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
