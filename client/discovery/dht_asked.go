package discovery

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// maxQuestions bounds the queries that are remembered: more than are sent, by sendRate and
	// sendBurst, while answers are waited for.
	maxQuestions = 1024
	// questionLife is how long an answer to one is listened to.
	questionLife = 2 * queryTimeout
)

// question is a query of ours, as its answer shows it.
type question struct {
	to          netip.AddrPort
	transaction string
}

// questions remembers what was asked of whom, so that nobody is listened to who was not asked:
// packets can be forged, as many as somebody likes. Its methods may be called from any
// goroutine.
type questions struct {
	mu   sync.Mutex
	sent map[question]time.Time
}

// note remembers a query. Where there are too many it is forgotten.
func (q *questions) note(to netip.AddrPort, transaction []byte, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.sent) >= maxQuestions {
		for old, at := range q.sent {
			if now.Sub(at) > questionLife {
				delete(q.sent, old)
			}
		}
		if len(q.sent) >= maxQuestions {
			return
		}
	}
	if q.sent == nil {
		q.sent = make(map[question]time.Time)
	}
	q.sent[question{plainAddr(to), string(transaction)}] = now
}

// answered reports whether a packet is the first answer to a query.
func (q *questions) answered(from netip.AddrPort, transaction []byte, now time.Time) bool {
	key := question{plainAddr(from), string(transaction)}
	q.mu.Lock()
	defer q.mu.Unlock()
	at, asked := q.sent[key]
	delete(q.sent, key)
	return asked && now.Sub(at) <= questionLife
}

// plainAddr is an address as packets come from it.
func plainAddr(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
