package utp

import (
	"sync"
	"time"
)

// waiters are the goroutines that wait to read, or to write. All is guarded by the connection's mutex.
type waiters struct {
	cond     sync.Cond
	n        int
	deadline time.Time
	timer    *time.Timer // runs only while somebody waits
}

func (w *waiters) late() bool { return !w.deadline.IsZero() && !time.Now().Before(w.deadline) }

func (w *waiters) set(t time.Time) {
	w.deadline = t
	if w.n > 0 {
		w.arm()
		w.cond.Broadcast()
	}
}

func (w *waiters) arm() {
	switch {
	case w.deadline.IsZero():
		w.end()
	case w.timer == nil:
		w.timer = time.AfterFunc(time.Until(w.deadline), func() {
			w.cond.L.Lock()
			defer w.cond.L.Unlock()
			w.cond.Broadcast()
		})
	default:
		w.timer.Reset(time.Until(w.deadline))
	}
}

func (w *waiters) wait() {
	if w.n++; w.n == 1 {
		w.arm()
	}
	w.cond.Wait()
	if w.n--; w.n == 0 && w.timer != nil {
		w.timer.Stop()
	}
}

func (w *waiters) wake() {
	if w.n > 0 {
		w.cond.Broadcast()
	}
}

// end stops the timer, and wakes all.
func (w *waiters) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.cond.Broadcast()
}
