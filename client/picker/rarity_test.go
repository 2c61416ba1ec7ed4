package picker

import (
	"math/rand/v2"
	"testing"
)

// checkOrder compares the structure with what it is an ordering of.
func (r *rarity) checkOrder(t *testing.T, count []int32, in []bool) {
	t.Helper()
	n := 0
	for piece := range in {
		if r.count[piece] != count[piece] {
			t.Fatalf("piece %d counted %d times, want %d", piece, r.count[piece], count[piece])
		}
		place := r.place[piece]
		if (place >= 0) != in[piece] {
			t.Fatalf("piece %d at %d, want it there: %v", piece, place, in[piece])
		}
		if place < 0 {
			continue
		}
		n++
		c := int(r.count[piece])
		if int(r.pieces[place]) != piece || int(place) < r.begin(c) || int(place) >= r.end[c] {
			t.Fatalf("piece %d of count %d at %d, outside of its bucket", piece, c, place)
		}
	}
	if n != len(r.pieces) || r.end[len(r.end)-1] != n {
		t.Fatalf("%d pieces, %d in the order, the last bucket ends at %d", n, len(r.pieces), r.end[len(r.end)-1])
	}
}

func TestRarityAgainstAModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		const n = 30
		r := newRarity(n, rng.IntN)
		count, in := make([]int32, n), make([]bool, n)
		for range 3000 {
			piece := rng.IntN(n)
			switch rng.IntN(5) {
			case 0, 1:
				r.increment(piece)
				count[piece]++
			case 2:
				if count[piece] > 0 {
					r.decrement(piece)
					count[piece]--
				}
			case 3:
				r.insert(piece)
				in[piece] = true
			case 4:
				r.remove(piece)
				in[piece] = false
			}
			r.checkOrder(t, count, in)
		}
	}
}

func TestTiesAreBrokenAtRandom(t *testing.T) {
	const n, runs = 8, 4000
	first := make([]int, n)
	for seed := range uint64(runs) {
		tb := lay(n, seed)
		seedPeer := tb.join("seed")
		first[tb.pick(seedPeer, 1)[0].Piece]++
	}
	for piece, times := range first {
		if times < runs/n*7/10 || times > runs/n*13/10 {
			t.Errorf("piece %d came first %d times of %d, want about %d", piece, times, runs, runs/n)
		}
	}
}
