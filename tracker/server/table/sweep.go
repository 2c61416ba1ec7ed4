package table

import "time"

const (
	// sweepEvery is how many seconds it takes Tick, called each second, to look at all
	// shards once for peers that have expired.
	sweepEvery = 32
	// sweepHold bounds how many peers are looked at while others wait for a shard; one
	// swarm is looked at as a whole.
	sweepHold = 4096
)

// Tick moves the table's clock and drops peers that have expired. It is to be called
// about once each second; a peer is gone within half a minute after it expired.
func (t *Table) Tick(now time.Time) {
	t.tickMu.Lock()
	defer t.tickMu.Unlock()
	before := t.now.Load()
	after := max(before, uint32(max(0, now.Sub(t.start)/time.Second)))
	t.now.Store(after)
	// All shards have their turn in sweepEvery seconds, however often Tick is called.
	turns := min(shards, int(after-before)*shards/sweepEvery)
	for range turns {
		t.sweep(&t.shards[t.swept])
		t.swept = (t.swept + 1) % shards
	}
}

// sweep drops a shard's expired peers, and lets others have the shard in between.
func (t *Table) sweep(s *shard) {
	for next := 0; next >= 0; {
		next = t.sweepSome(s, next)
	}
}

// sweepSome looks at swarms from a number on. It returns where to go on, or -1.
func (t *Table) sweepSome(s *shard, from int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for looked := 0; looked < sweepHold; from++ {
		if from >= int(s.usedSwarms) {
			return -1
		}
		w := s.swarm(uint32(from))
		size := s.size(w)
		looked += 1 + size
		if size == 0 {
			continue // one that is free
		}
		t.sweepSwarm(s, w)
		if s.size(w) == 0 {
			_, hash := t.hash(&w.hash)
			t.dropIfEmpty(s, w, hash)
		}
	}
	return from
}

func (t *Table) sweepSwarm(s *shard, w *swarm) {
	t.sweepFamily(s, w, kind4)
	t.sweepFamily(s, w, kind6)
	now := t.now.Load()
	for i := 0; w.web != 0 && i < len(s.webOf(w).peers); {
		p := &s.webOf(w).peers[i]
		if uint16(now)-p.seen > t.expireWeb {
			t.removeWeb(s, w, i)
			continue
		}
		if n := len(p.given); n > 0 && now-p.given[n-1].at > answerWithin {
			p.given = nil
		}
		i++
	}
}

// sweepFamily goes from the last peer to the first, since the last takes the place of one
// that is removed.
func (t *Table) sweepFamily(s *shard, w *swarm, k *kind) {
	now := t.seenNow()
	for i := int(w.family(k).n) - 1; i >= 0; i-- {
		if k.age(s.record(w.family(k), k, i), now) > t.expire {
			t.remove(s, w, k, i)
		}
	}
}
