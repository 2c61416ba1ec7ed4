package main

import (
	"testing"
	"time"
)

func TestProcessorsFollowTheShareUsed(t *testing.T) {
	var tuner processorTuner
	for _, step := range []struct {
		name  string
		share float64
		times int
		one   bool
		wait  time.Duration
	}{
		{"idle", 0.001, 9, false, processorTick},
		{"idle for a second", 0.001, 20, false, idleTick},
		{"some work", 0.4, 9, false, processorTick},
		{"some work for a second", 0.4, 1, true, processorTick},
		{"more", 0.7, 20, true, processorTick},
		{"too much for one", 0.95, 1, false, processorTick},
		{"less than that", 0.7, 20, false, processorTick},
		{"some work again", 0.4, 9, false, processorTick},
		{"a moment of much", 0.7, 1, false, processorTick},
		{"some work again", 0.4, 9, false, processorTick},
		{"some work for a second", 0.4, 1, true, processorTick},
		{"idle again", 0.001, 9, true, processorTick},
		{"idle for a second", 0.001, 1, false, idleTick},
		{"work after that", 0.4, 1, false, processorTick},
	} {
		for range step.times {
			if wait := tuner.next(step.share); wait != step.wait {
				t.Fatalf("%s: the next look is in %v, want %v", step.name, wait, step.wait)
			}
		}
		if tuner.one != step.one {
			t.Fatalf("%s: one processor is %v", step.name, tuner.one)
		}
	}
}
