package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A view that was made from others, however, is the same as one made at once.
func TestViewsDoNotDependOnWhatWasBefore(t *testing.T) {
	var all []*node
	for i := range 20 {
		all = append(all, newNode("x", identity{fmt.Sprint("node-", i), 1}, uint16(i)))
	}
	var v *view
	for range 30 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		members := all[:1+rand.IntN(len(all))]
		v = newView(v, members)
		if want := newView(nil, members); v.owner != want.owner || v.score != want.score {
			t.Fatalf("with %d members, owners differ", len(members))
		}
	}
}

func TestSlotsAreSharedOutEvenly(t *testing.T) {
	for _, n := range []int{2, 3, 10, 100} {
		var members []*node
		for i := range n {
			members = append(members, newNode("x", identity{fmt.Sprintf("tracker-%d.example.org", i), 1}, uint16(i)))
		}
		owned := make(map[*node]int)
		for _, owner := range newView(nil, members).owner {
			owned[owner]++
		}
		for _, m := range members {
			if got, even := owned[m], slots/n; got < even/3 || got > 2*even {
				t.Errorf("%s of %d owns %d slots; even would be %d", m.name, n, got, even)
			}
		}
	}
}
