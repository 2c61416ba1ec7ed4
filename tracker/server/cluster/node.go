package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// node is one life of another node, or this one.
type node struct {
	identity
	key      uint64
	nameHash uint64
	index    uint16 // upper 16 bits of its sockets' handles here; 0 is this node
	subject  string // where it takes batches
	up       atomic.Bool

	// What Cluster.mu guards.
	heard    time.Time // the last sign of life
	uptime   uint64    // of the last heartbeat, ms
	patience time.Duration
	left     bool // said that it is gone; it never comes back

	mu     sync.Mutex
	closed bool // takes no requests; see Cluster.bury
	batch  batch
	calls  calls
}

func newNode(prefix string, id identity, index uint16) *node {
	n := &node{identity: id, key: id.key(), nameHash: hashName(id.name), index: index, closed: true}
	n.subject = fmt.Sprintf("%s.to.%016x", prefix, n.key)
	return n
}

// shut has a node take no more requests, and returns those that it has not answered.
func (n *node) shut() []waiting {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	return n.calls.all()
}

// calls are requests that a node has not answered. Their numbers grow, so the oldest
// are found without looking at others.
type calls struct {
	waiting      map[uint32]waiting
	oldest, next uint32
}

type waiting struct {
	call call
	till time.Time
	// again: the call was already put to a node that went away.
	again bool
}

// add gives a call its number.
func (s *calls) add(w waiting) uint32 {
	if s.waiting == nil {
		s.waiting = make(map[uint32]waiting)
	}
	id := s.next
	s.next++
	s.waiting[id] = w
	return id
}

// take returns a call and forgets it; nil if it is not there.
func (s *calls) take(id uint32) call {
	w, ok := s.waiting[id]
	if !ok {
		return nil
	}
	delete(s.waiting, id)
	return w.call
}

// late appends the calls whose time is over, and forgets them.
func (s *calls) late(now time.Time, to []waiting) []waiting {
	for ; s.oldest != s.next; s.oldest++ {
		w, ok := s.waiting[s.oldest]
		if !ok {
			continue
		}
		if now.Before(w.till) {
			break
		}
		delete(s.waiting, s.oldest)
		to = append(to, w)
	}
	return to
}

// all returns all calls in the order they came, and forgets them.
func (s *calls) all() []waiting {
	var all []waiting
	for ; s.oldest != s.next; s.oldest++ {
		if w, ok := s.waiting[s.oldest]; ok {
			all = append(all, w)
		}
	}
	s.waiting = nil
	return all
}
