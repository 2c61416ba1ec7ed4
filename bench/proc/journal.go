package proc

import (
	"context"
	"fmt"
	"sync"
)

// Journal keeps the events that a child reports and lets others wait for one.
// The zero value is ready. It grows with the child's output, which tests and
// benchmarks keep short.
type Journal[E any] struct {
	mu      sync.Mutex
	events  []E
	changed chan struct{} // closed at the next Add or Close
	closed  bool
}

// Add appends an event and wakes those who wait.
func (j *Journal[E]) Add(e E) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
	j.wake()
}

// Close says that no more events will come; waiters fail at once.
func (j *Journal[E]) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.wake()
}

func (j *Journal[E]) wake() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// All returns the events so far, oldest first.
func (j *Journal[E]) All() []E {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]E(nil), j.events...)
}

// Wait returns the first event, past or to come, for which match is true. what
// names it in the error.
func (j *Journal[E]) Wait(ctx context.Context, what string, match func(E) bool) (E, error) {
	var none E
	seen := 0
	for {
		j.mu.Lock()
		fresh := j.events[seen:len(j.events):len(j.events)]
		seen += len(fresh)
		closed := j.closed
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed := j.changed
		j.mu.Unlock()

		for _, e := range fresh {
			if match(e) {
				return e, nil
			}
		}
		if closed {
			return none, fmt.Errorf("wait for %s: the program ended without it", what)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return none, fmt.Errorf("wait for %s: %w (%d other events came)", what, context.Cause(ctx), seen)
		}
	}
}
