package path

import (
	"runtime"
	"sync"
	"time"
)

const (
	// tick is how long the forwarder sleeps when it has moved packets, so that it wakes for
	// some at once and not for each: two or three at 12.5 MB/s. Packets are late by as much.
	tick = 300 * time.Microsecond
	// batch bounds what is taken of a host at a time, so that what is due to it goes out.
	batch = 256
	// look is how often an idle forwarder looks whether the path is closed.
	look = 50 * time.Millisecond
)

// forward carries packets until the path is closed.
func (p *Path) forward() {
	defer close(p.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer hurry()()
	spare(1)
	defer spare(-1)
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		moved, next := p.carry()
		if moved > 0 {
			nap(tick)
			continue
		}
		await(min(next, look), p.a.device, p.b.device)
	}
}

// spare gives the process so many more of Go's processors than it has.
func spare(n int) {
	spareLock.Lock()
	defer spareLock.Unlock()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
}

var spareLock sync.Mutex

// carry moves what can be moved now, and returns how many packets that were and in what time
// the next is due.
func (p *Path) carry() (moved int, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Since(p.started)
	next = look
	for _, w := range []struct {
		*way
		from, to *tap
	}{{&p.there, p.a.device, p.b.device}, {&p.back, p.b.device, p.a.device}} {
		for range batch {
			f := p.frame()
			f.n = w.from.read(f.data[:])
			if f.n < linkHeader {
				w.drop(f)
				break
			}
			w.take(f, now)
			moved++
		}
		moved += w.give(now, w.to.write)
		if due, ok := w.next(); ok {
			next = min(next, due-now)
		}
	}
	return moved, next
}

func (p *Path) frame() *frame {
	n := len(p.frames)
	if n == 0 {
		return new(frame)
	}
	f := p.frames[n-1]
	p.frames = p.frames[:n-1]
	return f
}
