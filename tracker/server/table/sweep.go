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

// sweepSome looks at swarms from one on, from the last to the first since swarms that
// are dropped have the last put in their place. It returns where to go on, or -1.
func (t *Table) sweepSome(s *shard, done int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for looked := 0; looked < sweepHold; done++ {
		i := len(s.order) - 1 - done
		if i < 0 {
			return -1
		}
		w := s.order[i]
		looked += 1 + w.size()
		t.sweepSwarm(w)
		if w.size() == 0 {
			t.dropIfEmpty(s, w)
			done--
		}
	}
	return done
}

func (t *Table) sweepSwarm(w *swarm) {
	t.sweepList(w, kind4)
	t.sweepList(w, kind6)
	now := t.now.Load()
	for i := 0; w.web != nil && i < len(w.web.peers); {
		p := &w.web.peers[i]
		if uint16(now)-p.seen > t.expireWeb {
			t.removeWeb(w, i)
			continue
		}
		if n := len(p.given); n > 0 && now-p.given[n-1].at > answerWithin {
			p.given = nil
		}
		i++
	}
}

func (t *Table) sweepList(w *swarm, k *kind) {
	now := uint16(t.now.Load())
	l := w.list(k)
	for i := 0; l != nil && i < l.len(k); {
		if now-k.seen(l.at(k, i)) > t.expire {
			t.remove(w, k, i)
			continue
		}
		i++
	}
}
