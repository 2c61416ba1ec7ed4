package utp

import (
	"math"
	"sync"
	"time"
)

// moment is a time on the monotonic clock, since the socket was opened.
type moment = time.Duration

const never moment = math.MaxInt64

// timers wakes connections, each at one moment, with one goroutine and one timer of the runtime.
// A connection whose moment moves to later is left where it is: it is woken too early
// once, and says then when it wants to be woken.
type timers struct {
	mu    sync.Mutex
	heap  []*Conn // a binary heap by wakeAt
	sleep moment  // until when the goroutine sleeps
	wake  chan struct{}
}

// set has c woken at the moment at, or before it.
func (t *timers) set(c *Conn, at moment) {
	if at == never {
		return
	}
	t.mu.Lock()
	if c.heapAt >= 0 && c.wakeAt <= at {
		t.mu.Unlock()
		return
	}
	c.wakeAt = at
	if c.heapAt < 0 {
		c.heapAt = len(t.heap)
		t.heap = append(t.heap, c)
	}
	t.up(c.heapAt)
	signal := at < t.sleep
	if signal {
		t.sleep = at
	}
	t.mu.Unlock()
	if signal {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// remove forgets c.
func (t *timers) remove(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.heapAt >= 0 {
		t.take(c.heapAt)
	}
}

// next takes a connection that is due, or returns nil and the moment of the next one.
func (t *timers) next(now moment) (*Conn, moment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		t.sleep = never
		return nil, never
	}
	if c := t.heap[0]; c.wakeAt <= now {
		t.take(0)
		return c, 0
	}
	t.sleep = t.heap[0].wakeAt
	return nil, t.sleep
}

func (t *timers) take(i int) {
	c, last := t.heap[i], len(t.heap)-1
	t.swap(i, last)
	t.heap[last] = nil
	t.heap = t.heap[:last]
	c.heapAt = -1
	if i < last {
		t.down(i)
		t.up(i)
	}
}

func (t *timers) swap(i, j int) {
	h := t.heap
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

func (t *timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if t.heap[parent].wakeAt <= t.heap[i].wakeAt {
			return
		}
		t.swap(i, parent)
		i = parent
	}
}

func (t *timers) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if r := child + 1; r < len(t.heap) && t.heap[r].wakeAt < t.heap[child].wakeAt {
			child = r
		}
		if t.heap[i].wakeAt <= t.heap[child].wakeAt {
			return
		}
		t.swap(i, child)
		i = child
	}
}

// run wakes connections until done is closed.
func (s *Socket) runTimers() {
	defer close(s.timersDone)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := s.now()
		c, at := s.timers.next(now)
		if c != nil {
			s.guard(c, func() { c.onTimer(now) })
			continue
		}
		if at == never {
			at = now + time.Hour
		}
		timer.Reset(at - now)
		select {
		case <-timer.C:
		case <-s.timers.wake:
		case <-s.done:
			return
		}
	}
}
