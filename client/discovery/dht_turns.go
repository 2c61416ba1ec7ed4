package discovery

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Level says how much a torrent needs the DHT's peers.
type Level int32

const (
	// Idle is a torrent that others may find, and that looks for nobody: a seed. It is
	// announced just often enough that nodes do not forget it.
	Idle Level = iota
	// Active is a download that has peers.
	Active
	// Fresh is a torrent that cannot go on without peers: a magnet link without
	// metadata, a download without anybody.
	Fresh
)

const (
	// maxLookups bounds the lookups that run at the same time. One takes a few seconds
	// and a dozen or two of packets.
	maxLookups = 8
	// maxIdleLookups of them may be of idle torrents, so that a hundred of those, which all
	// start with the program, are in nobody's way.
	maxIdleLookups = 2
	// freshLookups of them are kept for fresh torrents.
	freshLookups = 2
	// freshRounds is how often a fresh torrent goes first. One that has found nobody by
	// then is likely to go on so, and may not hold up new ones.
	freshRounds = 4
)

// Need is a torrent's level, which may be changed at any time. The zero Need is Idle.
type Need struct {
	mu      sync.Mutex
	level   Level
	changed chan struct{} // nil until somebody waits
}

// NewNeed returns a need of that level.
func NewNeed(l Level) *Need { return &Need{level: l} }

// Set changes the level. A torrent that comes to need more gets its turn sooner. It
// costs next to nothing when the level is the same.
func (n *Need) Set(l Level) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.level == l {
		return
	}
	n.level = l
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}

// get returns the level, and a channel that is closed when it changes.
func (n *Need) get() (Level, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.level, n.changed
}

// turns shares out the lookups among torrents: those that need peers most come first, of
// those alike whoever had the fewest turns, then whoever has waited longest.
type turns struct {
	mu      sync.Mutex
	running [Fresh + 1]int
	waiting []*turn
}

// turn is a torrent that waits for its lookup.
type turn struct {
	level  Level
	rounds int // lookups that it has had
	since  time.Time
	ready  chan struct{} // closed when it is its turn
}

// classOf is the level at which a torrent is served.
func classOf(l Level, rounds int) Level {
	if l == Fresh && rounds >= freshRounds {
		return Active
	}
	return l
}

// take waits for a turn at need's level, as it is meanwhile. It returns false when ctx
// ends first; else give must be called with the level that it returns.
func (q *turns) take(ctx context.Context, need *Need, rounds int) (Level, bool) {
	for since := time.Now(); ; {
		level, changed := need.get()
		t := &turn{level: classOf(level, rounds), rounds: rounds, since: since, ready: make(chan struct{})}
		q.mu.Lock()
		q.waiting = append(q.waiting, t)
		q.share()
		q.mu.Unlock()
		select {
		case <-t.ready:
			return t.level, true
		case <-changed:
		case <-ctx.Done():
		}
		if q.withdraw(t) {
			if ctx.Err() != nil {
				return 0, false
			}
			continue
		}
		return t.level, true // it came at the same moment
	}
}

// withdraw takes back a turn that waits; false means that it has come.
func (q *turns) withdraw(t *turn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, t)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// give ends a turn.
func (q *turns) give(l Level) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running[l]--
	q.share()
}

// share lets those go who come first, while there is room for them. q.mu is held.
func (q *turns) share() {
	for {
		best := -1
		for i, t := range q.waiting {
			if q.room(t.level) && (best < 0 || t.before(q.waiting[best])) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		t := q.waiting[best]
		q.waiting = slices.Delete(q.waiting, best, best+1)
		q.running[t.level]++
		close(t.ready)
	}
}

func (q *turns) room(l Level) bool {
	idle, active, fresh := q.running[Idle], q.running[Active], q.running[Fresh]
	switch l {
	case Idle:
		return idle < maxIdleLookups && idle+active+fresh < maxLookups-freshLookups
	case Active:
		return idle+active+fresh < maxLookups-freshLookups
	default:
		return idle+active+fresh < maxLookups
	}
}

func (t *turn) before(other *turn) bool {
	switch {
	case t.level != other.level:
		return t.level > other.level
	case t.rounds != other.rounds:
		return t.rounds < other.rounds
	}
	return t.since.Before(other.since)
}
