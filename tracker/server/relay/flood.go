package relay

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	// requestRate and requestBurst bound the requests over UDP that are answered to an
	// address, per second. Their sources may be forged, and an answer without credentials
	// may be three times as long as its question: whoever wants to hit another by our
	// answers gets 10 KB/s. A page that makes ten connections at once sends 60 requests.
	requestRate  = 100
	requestBurst = 300

	// floodBuckets is how many addresses are told apart; those that share one share its
	// rate.
	floodBuckets = 1 << 12
)

// flood is a token bucket for each address, in a table of fixed size.
type flood struct {
	seed    maphash.Seed
	now     func() time.Time
	mu      sync.Mutex
	buckets [floodBuckets]bucket
}

type bucket struct {
	tokens float32
	filled int64 // when, in Unix ms; 0: never used, full
}

func newFlood(now func() time.Time) *flood { return &flood{seed: maphash.MakeSeed(), now: now} }

// allow reports whether a request of an address may be answered.
func (f *flood) allow(from netip.Addr) bool {
	now := f.now().UnixMilli()
	from = network(from)
	i := maphash.Comparable(f.seed, from) % floodBuckets
	f.mu.Lock()
	defer f.mu.Unlock()
	b := &f.buckets[i]
	if b.filled == 0 {
		b.tokens = requestBurst
	} else if passed := now - b.filled; passed > 0 {
		b.tokens = min(b.tokens+float32(passed)*requestRate/1000, requestBurst)
	}
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
