package hostile

import (
	"sync"
	"time"
)

// Script decides what becomes of the n-th request of a connection, counted from 0:
// whether it is answered at all, after how long, and (by changing block) with what.
type Script func(n int, block []byte) (after time.Duration, send bool)

// Honest answers everything at once.
func Honest() Script {
	return func(int, []byte) (time.Duration, bool) { return 0, true }
}

// Slow answers everything truly at a rate in bytes per second.
func Slow(rate int64) Script {
	return func(_ int, block []byte) (time.Duration, bool) {
		return time.Duration(float64(len(block)) / float64(rate) * float64(time.Second)), true
	}
}

// WrongData changes one bit of every block.
func WrongData() Script {
	return func(_ int, block []byte) (time.Duration, bool) {
		block[len(block)/2] ^= 1
		return 0, true
	}
}

// NeverAnswers takes requests and sends nothing.
func NeverAnswers() Script {
	return func(int, []byte) (time.Duration, bool) { return 0, false }
}

// Trickles sends one block per interval.
func Trickles(interval time.Duration) Script {
	return func(int, []byte) (time.Duration, bool) { return interval, true }
}

// StopsAfter answers so many requests and then no more; with fewer than a piece has
// blocks, it stops in the middle of one.
func StopsAfter(blocks int) Script {
	return func(n int, _ []byte) (time.Duration, bool) { return 0, n < blocks }
}

// queue holds the requests that wait for an answer.
type queue struct {
	mu      sync.Mutex
	waiting []Block
	more    chan struct{} // has an element when waiting may not be empty
	done    chan struct{}
}

func newQueue() *queue {
	return &queue{more: make(chan struct{}, 1), done: make(chan struct{})}
}

func (q *queue) close() { close(q.done) }

func (q *queue) add(r Block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) < maxQueue {
		q.waiting = append(q.waiting, r)
	}
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *queue) remove(r Block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if w.Piece == r.Piece && w.Begin == r.Begin && w.Length == r.Length {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return
		}
	}
}

// next waits for a request; false when the queue was closed.
func (q *queue) next() (Block, bool) {
	for {
		q.mu.Lock()
		if len(q.waiting) > 0 {
			r := q.waiting[0]
			q.waiting = q.waiting[1:]
			q.mu.Unlock()
			return r, true
		}
		q.mu.Unlock()
		select {
		case <-q.more:
		case <-q.done:
			return Block{}, false
		}
	}
}
