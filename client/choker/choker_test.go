package choker

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// room is a Choker with its peers, which follow what it decides.
type room struct {
	*Choker
	now   time.Time
	peers []Peer
	turns map[int]int // rounds for which each peer was unchoked
}

func newRoom(slots, webSlots int, seed uint64) *room {
	rng := rand.New(rand.NewPCG(seed, 0))
	return &room{
		Choker: New(Config{Slots: slots, WebSlots: webSlots, Random: rng.IntN}),
		now:    time.Unix(1000, 0), turns: make(map[int]int),
	}
}

// hostOf is the address of peer n, if each has one of its own.
func hostOf(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 32)
}

// add lets n interested peers in, with ids from first on.
func (r *room) add(first, n int, web bool, received float64) {
	for id := first; id < first+n; id++ {
		r.peers = append(r.peers, Peer{ID: id, Host: hostOf(id), Web: web, Interested: true, Changed: r.now, Received: received})
	}
}

func (r *room) apply(chosen map[int]bool, chokeOthers bool) {
	for i := range r.peers {
		p := &r.peers[i]
		if unchoke := chosen[p.ID] || p.Unchoked && !chokeOthers; unchoke != p.Unchoked {
			p.Unchoked, p.Changed = unchoke, r.now
		}
	}
}

func (r *room) rechoke(seeding bool) map[int]bool {
	r.now = r.now.Add(Interval)
	chosen := r.Rechoke(r.now, seeding, r.peers)
	r.apply(chosen, true)
	for id := range chosen {
		r.turns[id]++
	}
	return chosen
}

func (r *room) fill() map[int]bool {
	chosen := r.Fill(r.peers)
	r.apply(chosen, false)
	return chosen
}

// count returns how many of the chosen are of one swarm.
func (r *room) count(chosen map[int]bool, web bool) (n int) {
	for _, p := range r.peers {
		if chosen[p.ID] && p.Web == web {
			n++
		}
	}
	return n
}

func TestReciprocation(t *testing.T) {
	r := newRoom(4, 0, 1)
	r.add(0, 20, false, 0)
	for i := range r.peers {
		r.peers[i].Received = float64(i * 1000)
	}
	for range 30 {
		chosen := r.rechoke(false)
		if len(chosen) != 4 || !chosen[19] || !chosen[18] || !chosen[17] {
			t.Fatalf("unchoked %v, want the three that give most and one more", chosen)
		}
	}
}

func TestPeersThatWantNothingGetNoSlot(t *testing.T) {
	r := newRoom(4, 0, 1)
	r.add(0, 4, false, 1000)
	for i := range r.peers {
		r.peers[i].Interested = i%2 == 0
	}
	for _, seeding := range []bool{true, false} {
		if chosen := r.rechoke(seeding); len(chosen) != 2 || !chosen[0] || !chosen[2] {
			t.Errorf("seeding %v: unchoked %v, want 0 and 2", seeding, chosen)
		}
	}
}

func TestOptimisticSlotGoesRound(t *testing.T) {
	r := newRoom(2, 0, 1)
	r.add(0, 1, false, 1000)
	r.add(1, 9, false, 0)
	var holders []int
	for range 300 {
		chosen := r.rechoke(false)
		for id := range chosen {
			if id != 0 {
				holders = append(holders, id)
			}
		}
		if !chosen[0] || len(chosen) != 2 {
			t.Fatalf("unchoked %v, want 0 and another", chosen)
		}
	}
	seen := map[int]bool{}
	for i := 0; i < len(holders); i += optimisticRounds {
		term := holders[i : i+optimisticRounds]
		seen[term[0]] = true
		if slices.Min(term) != slices.Max(term) {
			t.Errorf("the slot went from hand to hand within %d rounds: %v", optimisticRounds, term)
		}
	}
	if len(seen) != 9 {
		t.Errorf("in 100 terms %d of 9 had the slot", len(seen))
	}
}

func TestOptimisticPeerThatLeavesIsReplaced(t *testing.T) {
	r := newRoom(1, 0, 1)
	r.add(0, 5, false, 0)
	first := r.rechoke(false)
	r.peers = slices.DeleteFunc(r.peers, func(p Peer) bool { return first[p.ID] })
	if chosen := r.rechoke(false); len(chosen) != 1 {
		t.Errorf("unchoked %v, want another one", chosen)
	}
}

func TestSeedingGoesRound(t *testing.T) {
	r := newRoom(3, 0, 1)
	r.add(0, 10, false, 0)
	r.peers[7].Sent = 1e9 // speed buys nothing
	const rounds = 300
	longest, waited := 0, map[int]int{}
	for range rounds {
		chosen := r.rechoke(true)
		for _, p := range r.peers {
			waited[p.ID]++
			if chosen[p.ID] {
				waited[p.ID] = 0
			}
			longest = max(longest, waited[p.ID])
		}
	}
	for id := range 10 {
		if n := r.turns[id]; n < rounds*3/10*8/10 || n > rounds*3/10*12/10 {
			t.Errorf("peer %d had a slot in %d of %d rounds, want about %d", id, n, rounds, rounds*3/10)
		}
	}
	// Three slots for ten peers, in turns of 30 seconds: three turns pass at most,
	// and a round for each.
	if longest > 12 {
		t.Errorf("a peer waited for %d rounds", longest)
	}
}

func TestSwarmsDoNotStarveEachOther(t *testing.T) {
	for _, seeding := range []bool{true, false} {
		r := newRoom(8, 3, 1)
		r.add(0, 20, false, 1e6)
		r.add(100, 20, true, 0)
		for range 60 {
			chosen := r.rechoke(seeding)
			if web, classic := r.count(chosen, true), r.count(chosen, false); web != 3 || classic != 5 {
				t.Fatalf("seeding %v: %d browsers and %d others unchoked, want 3 and 5", seeding, web, classic)
			}
		}
		for _, p := range r.peers {
			if seeding && r.turns[p.ID] == 0 {
				t.Errorf("peer %d never had a turn", p.ID)
			}
		}
	}
}

func TestUnusedSlotsAreLent(t *testing.T) {
	r := newRoom(8, 3, 1)
	r.add(0, 20, false, 1)
	if n := len(r.rechoke(true)); n != 8 {
		t.Errorf("%d unchoked without browsers, want 8", n)
	}
	r.add(100, 2, true, 0)
	if chosen := r.rechoke(true); r.count(chosen, true) != 2 || len(chosen) != 8 {
		t.Errorf("with two browsers %v are unchoked, want both and 6 others", chosen)
	}
	r = newRoom(8, 3, 1)
	r.add(100, 20, true, 0)
	if n := len(r.rechoke(false)); n != 8 {
		t.Errorf("%d unchoked without classic peers, want 8", n)
	}
}

func TestFillUsesFreeSlotsOnly(t *testing.T) {
	r := newRoom(4, 2, 1)
	r.add(0, 3, false, 0)
	if chosen := r.fill(); len(chosen) != 3 {
		t.Errorf("%v unchoked at once, want all three", chosen)
	}
	r.add(100, 3, true, 0)
	if chosen := r.fill(); len(chosen) != 1 || r.count(chosen, true) != 1 {
		t.Errorf("%v unchoked with one slot free, want one browser", chosen)
	}
	r.add(200, 3, true, 0)
	if chosen := r.fill(); len(chosen) != 0 {
		t.Errorf("%v unchoked with no slot free", chosen)
	}
	if chosen := r.rechoke(true); r.count(chosen, true) != 2 {
		t.Errorf("the next round unchokes %d browsers, want 2", r.count(chosen, true))
	}
}

func TestOddConfigurations(t *testing.T) {
	for _, c := range [][2]int{{0, 0}, {-1, -1}, {2, 9}, {1, 1}} {
		r := newRoom(c[0], c[1], 1)
		r.add(0, 5, false, 0)
		r.add(100, 5, true, 0)
		for range 10 {
			if n := len(r.rechoke(false)); n != max(c[0], 1) {
				t.Errorf("%d slots, %d for browsers: %d unchoked", c[0], c[1], n)
			}
		}
		if n := len(newRoom(c[0], c[1], 1).rechoke(false)); n != 0 {
			t.Errorf("%d unchoked of no peers", n)
		}
	}
}

// While seeding, a slow peer keeps its slot until it has a piece, whatever that takes up
// to ten minutes; one that has got it gives way after its turn.
func TestSlowPeerGetsAPieceInATurn(t *testing.T) {
	const rate, piece = 20_000, 4 << 20 // 210 s
	r := newRoom(2, 0, 1)
	r.Set(2, 0, piece)
	r.add(1, 1, false, 0) // the slow one
	r.add(2, 9, false, 0)
	var sent int64 // in its turn
	whole := 0
	for range 20 * 60 / int(Interval/time.Second) {
		for i := range r.peers {
			p := &r.peers[i]
			if !p.Unchoked {
				p.Sent, p.SentInTurn = 0, 0
				continue
			}
			p.Sent = 1 << 20
			if p.ID == 1 {
				p.Sent = rate
			}
			p.SentInTurn = int64(p.Sent * r.now.Sub(p.Changed).Seconds())
			if p.ID == 1 {
				sent = p.SentInTurn
			}
		}
		had := r.peers[0].Unchoked
		r.rechoke(true)
		if had && !r.peers[0].Unchoked {
			if sent < piece {
				t.Errorf("its turn ended with %d bytes of a piece of %d", sent, piece)
			}
			whole++
		}
	}
	if whole == 0 {
		t.Error("it never had a whole turn")
	}
	for id := 2; id <= 10; id++ {
		if r.turns[id] < 3 {
			t.Errorf("peer %d had %d rounds in 20 minutes", id, r.turns[id])
		}
	}
}

// Peers that are slow on purpose do not hold all slots for ten minutes.
func TestSlowPeersDoNotHoldAllSlots(t *testing.T) {
	r := newRoom(8, 0, 1)
	r.Set(8, 0, 16<<20)
	r.add(1, 20, false, 0) // slow
	r.add(21, 1, false, 0) // honest, and last
	waited := 0
	for !r.peers[20].Unchoked {
		for i := range r.peers[:20] {
			if p := &r.peers[i]; p.Unchoked {
				p.Sent, p.SentInTurn = 10, int64(10*r.now.Sub(p.Changed).Seconds())
			}
		}
		r.rechoke(true)
		if waited++; waited > 18 { // three minutes
			t.Fatal("it gets no slot in three minutes")
		}
	}
}

// A peer that does not use its slot loses it to one that waits, and its host comes last.
func TestUnusedTurnsEndEarly(t *testing.T) {
	r := newRoom(2, 0, 1)
	r.add(1, 4, false, 0)
	r.rechoke(true)
	r.peers[0].Idle = true // it was unchoked: the first two were
	chosen := r.rechoke(true)
	if chosen[1] || !chosen[2] || !chosen[3] {
		t.Fatalf("unchoked are %v, want 2 and 3", chosen)
	}
	r.peers[0].Idle, r.peers[0].Wasted = false, 1
	r.add(5, 1, false, 0)
	for range 3 { // the turns of 2 and 3 end
		chosen = r.rechoke(true)
	}
	if chosen[1] {
		t.Errorf("unchoked are %v: who wasted a turn comes before who waits", chosen)
	}
	r.peers = r.peers[:1]
	if !r.rechoke(true)[1] {
		t.Error("who wasted a turn gets no slot that nobody else wants")
	}
}

// A hundred connections of ten hosts that use no turn do not make one of another host wait for all of them,
// neither when turns end nor when some of them go and their slots are free at once. Those of a host that has used
// its turns count as any.
func TestCrowdOfFewHostsStandsInLineOnce(t *testing.T) {
	for _, used := range []bool{false, true} {
		for _, leave := range []bool{false, true} {
			r := newRoom(8, 0, 1)
			r.add(1, 100, false, 0)
			for i := range r.peers {
				r.peers[i].Host, r.peers[i].UsedTurns = hostOf(i%10), used
			}
			r.fill()
			r.now = r.now.Add(time.Second)
			r.add(500, 1, false, 0)
			rounds := 0
			for ; !r.peers[len(r.peers)-1].Unchoked; rounds++ {
				if leave {
					for i, p := range r.peers {
						if !used && slices.ContainsFunc(r.peers, func(o Peer) bool { return o.Unchoked && o.Host == p.Host }) {
							r.peers[i].Wasted++
						}
					}
					r.peers = slices.DeleteFunc(r.peers, func(p Peer) bool { return p.Unchoked })
					r.fill()
					continue
				}
				for i := range r.peers {
					r.peers[i].Idle = r.peers[i].Unchoked
				}
				r.rechoke(true)
			}
			if want := map[bool]int{false: 1, true: 12}[used]; rounds != want {
				t.Errorf("used %v, leave %v: it waited for %d rounds, want %d", used, leave, rounds, want)
			}
		}
	}
}
