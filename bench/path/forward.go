package path

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// tick is how long the forwarder sleeps when it has moved packets, so that it wakes for
	// some at once and not for each: two or three at 12.5 MB/s. Packets are late by as much.
	tick = 300 * time.Microsecond
	// batch bounds what is taken of a host at a time, so that what is due to it goes out.
	batch = 256
	// look is how often an idle forwarder looks whether the path is another.
	look = 50 * time.Millisecond
)

// forwarder carries packets between two devices.
type forwarder struct {
	a, b    *tap
	started time.Time

	mu          sync.Mutex
	there, back way
	frames      []*frame // that are free
}

func newForwarder(a, b *tap) *forwarder {
	f := &forwarder{a: a, b: b, started: time.Now()}
	for _, w := range []*way{&f.there, &f.back} {
		w.random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
		w.pool = &f.frames
	}
	return f
}

func (f *forwarder) set(c Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.there.config, f.back.config = c, c
	if c.Back != nil {
		f.back.config = *c.Back
	}
}

func (f *forwarder) counters() (there, back Counters) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.there.Counters, f.back.Counters
}

func (f *forwarder) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range []*way{&f.there, &f.back} {
		w.Counters, w.came = Counters{}, 0
	}
}

// run carries packets for as long as the process lives.
func (f *forwarder) run() {
	for {
		if moved, next := f.carry(); moved > 0 {
			nap(tick)
		} else {
			await(min(next, look), f.a, f.b)
		}
	}
}

// carry moves what can be moved now, and returns how many packets that were and in what time
// the next is due.
func (f *forwarder) carry() (moved int, next time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Since(f.started)
	next = look
	for _, w := range []struct {
		*way
		from, to *tap
	}{{&f.there, f.a, f.b}, {&f.back, f.b, f.a}} {
		for range batch {
			packet := f.frame()
			packet.n = w.from.read(packet.data[:])
			if packet.n < linkHeader {
				w.drop(packet)
				break
			}
			w.take(packet, now)
			moved++
		}
		moved += w.give(now, w.to.write)
		if due, ok := w.next(); ok {
			next = min(next, due-now)
		}
	}
	return moved, next
}

func (f *forwarder) frame() *frame {
	n := len(f.frames)
	if n == 0 {
		return new(frame)
	}
	packet := f.frames[n-1]
	f.frames = f.frames[:n-1]
	return packet
}
