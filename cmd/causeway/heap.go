package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	// heapFloor is about what the heap may grow to before garbage is collected, however little of
	// it lives. Go's default is 4 MiB: a seeder to a page, of which 3 MiB live, would
	// collect 50 times a second.
	heapFloor = 22 << 20

	// heapLarge is how much may live before garbage may be no more than a quarter as much again: a
	// torrent of a million files takes 350 MiB. What is allocated while a collection runs counts as
	// living, and a busy machine collects slowly: half as much came to 1.1 GB there.
	heapLarge = 128 << 20

	// heapGrowth is how much garbage there may be at the least, percent of what lives, up to heapLarge. Go's default
	// of 100 takes 4 MiB more for a crowd of thirty browsers, whose 16 MiB are collected once a second.
	heapGrowth = 75

	// heapRest is how long the process must have allocated little to count as at rest.
	heapRest = 10 * time.Second

	// heapLittle is how much that is, in bytes.
	heapLittle = heapFloor / 4
)

// Names of runtime/metrics, both in bytes.
const (
	liveHeap  = "/gc/heap/live:bytes"   // what the last collection kept
	allocated = "/gc/heap/allocs:bytes" // in all, since the start
)

// heapTuner keeps the heap's goal near heapFloor at least, and gives back what it used
// once the process is at rest. Its methods run after each collection, one at a time.
type heapTuner struct {
	percent int
	rest    *time.Timer
	rested  atomic.Uint64 // what had been allocated in all when memory was last given back
	seen    atomic.Uint64 // the same heapRest ago
}

// gcTrigger becomes garbage at once, so that its finalizer runs after each collection.
type gcTrigger struct{ tuner *heapTuner }

// tuneHeap starts a heapTuner, unless the user has set GOGC.
func tuneHeap() {
	if os.Getenv("GOGC") != "" {
		return
	}
	t := &heapTuner{percent: gcPercent(readMetric(liveHeap))}
	t.rest = time.AfterFunc(heapRest, t.atRest)
	t.rest.Stop()
	debug.SetGCPercent(t.percent)
	runtime.SetFinalizer(&gcTrigger{t}, (*gcTrigger).collected)
}

func (g *gcTrigger) collected() {
	g.tuner.collected()
	runtime.SetFinalizer(g, (*gcTrigger).collected)
}

func (t *heapTuner) collected() {
	if percent := gcPercent(readMetric(liveHeap)); percent != t.percent {
		t.percent = percent
		debug.SetGCPercent(percent)
	}
	// Less is not worth a collection of its own.
	if now := readMetric(allocated); now-t.rested.Load() >= heapLittle {
		t.seen.Store(now)
		t.rest.Reset(heapRest)
	}
}

// atRest gives memory back, unless the process goes on allocating.
func (t *heapTuner) atRest() {
	now := readMetric(allocated)
	if now-t.seen.Swap(now) >= heapLittle {
		t.rest.Reset(heapRest)
		return
	}
	t.rested.Store(now)
	runtime.GC() // what pools hold goes in the second collection
	debug.FreeOSMemory()
}

func readMetric(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// gcPercent returns the GOGC with which a heap of live bytes grows to about heapFloor (stacks,
// which Go adds, are left out), at least heapGrowth, or 25 of a large heap. Steps of 50 keep it from changing, which stops the
// world, each time.
func gcPercent(live uint64) int {
	const most, step = 600, 50
	if live > heapLarge {
		return 25
	}
	percent := min(int(heapFloor*100/max(live, 1<<20))-100, most)
	return max(percent/step*step, heapGrowth)
}
