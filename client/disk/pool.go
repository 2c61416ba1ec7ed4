package disk

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// stallAfter is how long a job may take before its worker is given up for lost,
	// for the time being, and another takes its place: a disk that hangs, or a
	// network mount, holds no other torrent up.
	stallAfter = time.Second
	// closePatience is how long an end waits for a disk on which nothing moves.
	closePatience = 10 * time.Second
)

// Pool is a set of workers that hash and write, for all torrents of a process. Each
// torrent has a lane of its own, and the lanes take turns.
type Pool struct {
	size     int           // workers that are not stalled
	patience time.Duration // closePatience, but in tests
	stall    time.Duration // stallAfter, but in tests
	started  time.Time

	mu      sync.Mutex
	wake    sync.Cond
	ready   []*lane // lanes with jobs that may be run, in turns
	workers map[*worker]struct{}
	idle    int
	stalled int
	watched bool // look will be called
	closed  bool
	ended   chan struct{} // closed when the last worker has ended after Close
}

// job is something that a worker does.
type job interface {
	work()
	// failed is called when work has panicked.
	failed(error)
}

// lane is the jobs of one torrent. How many there are is bounded by who submits them:
// one for each open piece, and a few checks.
type lane struct {
	jobs    []job
	listed  bool // in Pool.ready
	stalled int  // jobs that hang; while there are any, no others are begun
}

type worker struct {
	lane    *lane         // nil: idle
	since   time.Duration // since Pool.started
	stalled bool
}

// NewPool starts n workers.
func NewPool(n int) *Pool {
	p := &Pool{
		size: max(n, 1), patience: closePatience, stall: stallAfter, started: time.Now(),
		workers: make(map[*worker]struct{}), ended: make(chan struct{}),
	}
	p.wake.L = &p.mu
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.size {
		p.hire()
	}
	return p
}

func (p *Pool) hire() {
	w := &worker{}
	p.workers[w] = struct{}{}
	go p.run(w)
}

// submit hands in a job. It never waits.
func (p *Pool) submit(l *lane, j job) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		go j.failed(ErrClosed) // the caller may hold locks
		return
	}
	l.jobs = append(l.jobs, j)
	p.list(l)
	p.mu.Unlock()
}

// list lets a lane have its turn, if it has jobs and does not hang.
func (p *Pool) list(l *lane) {
	if l.listed || len(l.jobs) == 0 || l.stalled > 0 {
		return
	}
	l.listed = true
	p.ready = append(p.ready, l)
	if p.idle > 0 {
		p.wake.Signal()
	} else {
		p.watch()
	}
}

// take returns the next job.
func (p *Pool) take() (*lane, job) {
	for len(p.ready) > 0 {
		l := p.ready[0]
		p.ready = p.ready[1:]
		l.listed = false
		if l.stalled > 0 {
			continue // it is listed again when it goes on
		}
		j := l.jobs[0]
		l.jobs[0] = nil
		l.jobs = l.jobs[1:]
		p.list(l)
		return l, j
	}
	return nil, nil
}

func (p *Pool) run(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.left(w)
	for len(p.workers)-p.stalled <= p.size {
		l, j := p.take()
		if j == nil {
			if p.closed {
				return
			}
			p.idle++
			p.wake.Wait()
			p.idle--
			continue
		}
		w.lane, w.since = l, time.Since(p.started)
		p.mu.Unlock()
		guard(j)
		p.mu.Lock()
		w.lane = nil
		if w.stalled {
			w.stalled = false
			p.stalled--
			l.stalled--
			p.list(l)
		}
	}
}

// left takes a worker off the list.
func (p *Pool) left(w *worker) {
	delete(p.workers, w)
	if p.closed && len(p.workers) == 0 {
		close(p.ended)
	}
	if len(p.ready) > 0 {
		p.wake.Signal()
	}
}

// PanicError is the error of what ended with a panic in a worker.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("a fault of this program: %v", e.Value) }

// guard does a job. A panic ends what the job was for, and nothing else.
func guard(j job) {
	defer func() {
		if r := recover(); r != nil {
			defer func() { _ = recover() }()
			j.failed(&PanicError{r, debug.Stack()})
		}
	}()
	j.work()
}

// watch has the workers looked after, once jobs wait.
func (p *Pool) watch() {
	if !p.watched {
		p.watched = true
		time.AfterFunc(p.stall, p.look)
	}
}

// look replaces the workers that hang.
func (p *Pool) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched = false
	now := time.Since(p.started)
	for w := range p.workers {
		if w.lane != nil && !w.stalled && now-w.since >= p.stall {
			w.stalled = true
			w.lane.stalled++
			p.stalled++
		}
	}
	if len(p.ready) == 0 {
		return
	}
	for len(p.workers)-p.stalled < p.size {
		p.hire()
	}
	p.watch()
}

// Close waits for the jobs that were handed in, but not for those that hang. None may
// be handed in any more.
func (p *Pool) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	p.wake.Broadcast()
	p.mu.Unlock()
	patience := time.NewTimer(p.patience)
	defer patience.Stop()
	select {
	case <-p.ended:
	case <-patience.C:
	}
}
