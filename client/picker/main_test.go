package picker

import (
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is a Picker with a clock and memory that the test sets.
type table struct {
	*Picker
	now  time.Time
	full bool // no memory, stretch apart
	// stretched are the pieces begun with stretch.
	stretched []int
}

const blocksEach = 4

// lay returns a picker of n pieces of blocksEach blocks, all wanted.
func lay(n int, seed uint64) *table {
	rng := rand.New(rand.NewPCG(seed, 0))
	tb := &table{now: time.Unix(1000, 0)}
	tb.Picker = New(Config{
		Pieces: n,
		Blocks: func(int) int { return blocksEach },
		Begin: func(piece int, stretch bool) bool {
			if stretch {
				tb.stretched = append(tb.stretched, piece)
			}
			return stretch || !tb.full
		},
		Now:    func() time.Time { return tb.now },
		Random: rng.IntN,
	})
	for i := range n {
		tb.SetWanted(i, true)
	}
	return tb
}

// join adds a peer with the given pieces, or all if there are none given.
func (tb *table) join(name string, pieces ...int) *Peer {
	p := &Peer{Tag: name, Patience: time.Minute, Hurry: time.Minute}
	tb.AddPeer(p)
	if pieces == nil {
		tb.PeerHasAll(p)
	}
	for _, i := range pieces {
		tb.PeerHas(p, i)
	}
	return p
}

func (tb *table) pick(p *Peer, n int) []Request { return tb.Pick(nil, p, n) }

// receive delivers blocks, and closes pieces that are whole.
func (tb *table) receive(p *Peer, rs ...Request) (others []*Peer) {
	for _, r := range rs {
		others = append(others, tb.Received(p, r)...)
		if pc := tb.open[r.Piece]; pc != nil && pc.missing == 0 {
			tb.Done(r.Piece, true)
		}
	}
	return others
}

// blocks are the requests for consecutive blocks of a piece.
func blocks(piece, from, to int) (rs []Request) {
	for i := from; i < to; i++ {
		rs = append(rs, Request{piece, i})
	}
	return rs
}

func join(rs ...[]Request) (all []Request) {
	for _, r := range rs {
		all = append(all, r...)
	}
	return all
}

// check compares every count of the picker with what it counts.
func (tb *table) check(t testing.TB) {
	t.Helper()
	owed := map[*Peer]int{}
	for _, pc := range tb.openList {
		if tb.open[pc.index] != pc || tb.order.place[pc.index] >= 0 {
			t.Fatalf("piece %d is open and not, or waits to be begun too", pc.index)
		}
		free, missing, firstFree := 0, 0, len(pc.blocks)
		for i, b := range pc.blocks {
			for _, p := range b.asked {
				owed[p]++
			}
			if b.received && b.asked != nil {
				t.Fatalf("piece %d block %d is there and still owed", pc.index, i)
			}
			if !b.received {
				missing++
				if len(b.asked) == 0 {
					free++
					firstFree = min(firstFree, i)
				}
			}
		}
		if pc.free != free || pc.missing != missing || (free > 0 && pc.firstFree > firstFree) {
			t.Fatalf("piece %d: free %d, missing %d, first free %d; counted %d, %d, %d",
				pc.index, pc.free, pc.missing, pc.firstFree, free, missing, firstFree)
		}
	}
	if len(tb.open) != len(tb.openList) {
		t.Fatalf("%d pieces open, %d in the list", len(tb.open), len(tb.openList))
	}
	left := 0
	for i := range tb.cfg.Pieces {
		if tb.lacking(i) {
			left++
		}
		if in := tb.order.place[i] >= 0; in != (tb.lacking(i) && tb.open[i] == nil) {
			t.Fatalf("piece %d waits to be begun: %v", i, in)
		}
		holders := 0
		for p := range tb.peers {
			if p.Has(i) {
				holders++
			}
		}
		if tb.Availability(i) != holders {
			t.Fatalf("piece %d: availability %d, %d peers have it", i, tb.Availability(i), holders)
		}
	}
	if tb.Left() != left {
		t.Fatalf("%d left, counted %d", tb.Left(), left)
	}
	for p := range tb.peers {
		wanted := 0
		for i := range tb.cfg.Pieces {
			if p.Has(i) && tb.lacking(i) {
				wanted++
			}
		}
		if p.inFlight != owed[p] || p.wanted != wanted {
			t.Fatalf("peer %v: %d in flight, %d wanted; counted %d, %d", p.Tag, p.inFlight, p.wanted, owed[p], wanted)
		}
		delete(owed, p)
	}
	if len(owed) > 0 {
		t.Fatalf("%d peers that have left owe blocks", len(owed))
	}
}
