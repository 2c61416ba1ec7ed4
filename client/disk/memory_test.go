package disk

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The bound holds for any torrents and pieces: never more is reserved than the limit and
// the largest piece.
func TestMemoryIsBounded(t *testing.T) {
	const limit = 64 << 20
	for _, size := range []int64{16 << 10, 1 << 20, 16 << 20, 64 << 20, 100 << 20} {
		m := NewMemory(limit)
		accounts := make([]account, 1000)
		most := int64(0)
		var open []*account
		for range 20_000 {
			a := &accounts[rand.IntN(len(accounts))]
			if rand.IntN(3) > 0 || len(open) == 0 {
				if m.reserve(a, size, rand.IntN(2) == 0) {
					open = append(open, a)
				}
			} else {
				i := rand.IntN(len(open))
				m.release(open[i], size)
				open[i] = open[len(open)-1]
				open = open[:len(open)-1]
			}
			most = max(most, m.Reserved())
		}
		if most > limit+size {
			t.Errorf("pieces of %d: %d were reserved, the limit is %d", size, most, limit)
		}
		if most < min(limit/2, 1000*size) {
			t.Errorf("pieces of %d: only %d were reserved at most", size, most)
		}
	}
}

// Every torrent gets its turn, however greedy the others are.
func TestMemoryTurns(t *testing.T) {
	for _, size := range []int64{1, 10, 64, 100} {
		m := NewMemory(64)
		const torrents = 50
		var done sync.WaitGroup
		for i := range torrents {
			done.Go(func() {
				room := make(chan struct{}, 1)
				a := &account{room: func() {
					select {
					case room <- struct{}{}:
					default:
					}
				}}
				n := size
				if i%2 == 0 {
					n = 1 // greedy for small ones
				}
				open := 0
				for range 100 {
					for !m.reserve(a, n, false) {
						if open > 0 {
							m.release(a, n)
							open--
							continue
						}
						select {
						case <-room:
						case <-time.After(10 * time.Millisecond):
						}
					}
					open++
				}
				for range open {
					m.release(a, n)
				}
				m.leave(a)
			})
		}
		done.Wait()
		if m.Reserved() != 0 || len(m.waiting) != 0 {
			t.Errorf("%d reserved, %d waiting", m.Reserved(), len(m.waiting))
		}
	}
}

// Who waits comes before who has, but only as long as he comes for it.
func TestMemoryIsKeptForWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(100)
		var rich, poor, third account
		woken := 0
		poor.room = func() { woken++ }
		for range 7 {
			m.reserve(&rich, 10, false)
		}
		m.reserve(&third, 30, true)     // the limit
		if m.reserve(&rich, 10, true) { // full
			t.Error("it goes over the limit")
		}
		if !m.reserve(&poor, 60, false) || m.Reserved() != 160 {
			t.Error("who has none did not get his piece over the limit")
		}
		m.release(&poor, 60)
		m.reserve(&account{}, 50, false) // another goes over
		if m.reserve(&poor, 60, false) {
			t.Error("two go over the limit")
		}
		m.release(&rich, 10) // 140
		m.release(&third, 30)
		if woken != 0 {
			t.Error("called before there is room")
		}
		m.release(&rich, 10)
		if woken != 1 {
			t.Errorf("called %d times when there was room", woken)
		}
		if m.reserve(&rich, 1, true) {
			t.Error("who has takes it before who waits")
		}
		time.Sleep(turnPatience)
		m.release(&rich, 10)
		if !m.reserve(&rich, 1, true) {
			t.Error("it is kept for who does not come")
		}
	})
}

// Pieces that get no blocks give way to torrents that have no memory.
func TestIdlePiecesAreReclaimed(t *testing.T) {
	var reclaimed []int
	tr := newTorrent(t, entry{"f", 8 * pieceLength, ""})
	s := start(t, tr, t.TempDir(), func(c *Config) {
		c.Memory = NewMemory(2 * pieceLength)
		c.Reclaim = func(piece int) { reclaimed = append(reclaimed, piece) }
	})
	m := s.cfg.Memory
	p := s.begin(0)
	q := s.Begin(1, true, false)
	if q == nil {
		t.Fatal("no memory for the second piece")
	}
	b := m.Get()
	q.Put(0, b, nil)
	m.reserve(&account{}, pieceLength, false) // over the limit
	other := &account{}
	if m.reserve(other, 1, false) || len(reclaimed) > 0 {
		t.Fatal("there was room")
	}
	age := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.looked = time.Time{}
		for p, at := range m.pieces {
			m.pieces[p] = progress{at.blocks, at.since.Add(-idleAfter)}
		}
	}
	age()
	m.reserve(other, 1, false)
	if len(reclaimed) != 1 || reclaimed[0] != 0 {
		t.Errorf("reclaimed are %v, want the piece that got nothing", reclaimed)
	}
	p.Drop()
	q.Drop()
}
