// Package choker decides which peers may download from us. It knows their rates
// and swarms, not their sockets; it does not talk to them.
//
//	c := choker.New(choker.Config{Slots: 8, WebSlots: 4})
//	unchoke := c.Rechoke(now, seeding, peers) // every Interval
//	unchoke = c.Fill(peers)                   // when somebody becomes interested
//
// While leeching, slots go to those who give us most (tit for tat, BEP 3), and one
// of them, the optimistic slot, goes round so that newcomers can show what they
// have. While seeding, they go round among all, so that each gets its share. Slots
// that are kept for one swarm and not used by it go to the other.
package choker

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Interval is how often Rechoke is to be called (BEP 3).
const Interval = 10 * time.Second

const (
	// optimisticRounds is for how many intervals a peer keeps the optimistic slot
	// (BEP 3: three).
	optimisticRounds = 3
	// turn is how long a peer keeps its slot while seeding before others that wait
	// are let in. One that is slow and has not got Config.Turn bytes by then keeps it
	// until it has, up to longTurn: what it has of a piece is of no use to it.
	turn     = 30 * time.Second
	longTurn = 10 * time.Minute
)

// Peer is what the choker must know of a connected peer.
type Peer struct {
	ID         int // stays the same while it is connected
	Web        bool
	Interested bool // in what we have
	Unchoked   bool
	// Changed is when it was last choked or unchoked, or connected.
	Changed time.Time
	// Received is the rate at which it gives to us, Sent the rate at which it takes,
	// in bytes per second.
	Received, Sent float64
	// SentInTurn is what it has taken since Changed, in bytes.
	SentInTurn int64
	// Idle: it is unchoked, and takes nothing.
	Idle bool
	// Host is where it is. Wasted is how many turns its host had and did not use; UsedTurns: its host had turns, and
	// used as many as it wasted, or more.
	Host      netip.Prefix
	Wasted    int
	UsedTurns bool
}

// Config sets how many slots there are.
type Config struct {
	Slots int // peers unchoked at a time, at least 1
	// WebSlots of them are kept for browsers, as long as browsers want them; the
	// rest are kept for classic peers in the same way.
	WebSlots int
	// Turn is how many bytes a peer gets in a turn while seeding at least: a piece.
	Turn int64
	// Random returns a number in [0, n).
	Random func(n int) int
}

// Choker shares out upload slots. It is used by one goroutine.
type Choker struct {
	cfg        Config
	optimistic int // ID of the peer in the optimistic slot, -1 none
	round      int // for how many rounds it has been there
}

// New returns a choker.
func New(cfg Config) *Choker {
	c := &Choker{cfg: cfg, optimistic: -1}
	c.Set(cfg.Slots, cfg.WebSlots, cfg.Turn)
	return c
}

// Set changes the fields of Config with these names. It takes effect with the next
// Rechoke or Fill.
func (c *Choker) Set(slots, webSlots int, turn int64) {
	c.cfg.Slots = max(slots, 1)
	c.cfg.WebSlots = min(max(webSlots, 0), c.cfg.Slots)
	c.cfg.Turn = turn
}

// Rechoke returns the IDs of the peers that are to be unchoked from now on; all
// others are to be choked.
func (c *Choker) Rechoke(now time.Time, seeding bool, peers []Peer) map[int]bool {
	var want []Peer
	for _, p := range peers {
		if p.Interested {
			want = append(want, p)
		}
	}
	if seeding {
		c.optimistic = -1
		return c.share(c.seedingTurns(now, want), 0)
	}
	slices.SortStableFunc(want, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(b.Received, a.Received), cmp.Compare(b.Sent, a.Sent))
	})
	return c.share(c.promoteOptimistic(want), 0)
}

// The order of peers while seeding: those whose turn lasts, those who wait, those who had
// their turn, and those who do not use it.
const (
	inTurn = iota
	waiting
	hadTurn
	idle
)

// seedingTurns puts first those whose turn lasts, then those who wait. Half of the slots
// are for turns that are longer than usual at most: who is slow on purpose does not hold all.
func (c *Choker) seedingTurns(now time.Time, want []Peer) []Peer {
	overtime := 0
	var classes [idle + 1][]Peer
	for _, p := range want {
		had, class := now.Sub(p.Changed), hadTurn
		switch {
		case !p.Unchoked:
			class = waiting
		case p.Idle:
			class = idle
		case had < turn:
			class = inTurn
		case had < longTurn && p.Sent > 0 && p.SentInTurn < c.cfg.Turn && overtime < (c.cfg.Slots+1)/2:
			overtime++
			class = inTurn
		}
		classes[class] = append(classes[class], p)
	}
	for class, peers := range classes {
		if class == waiting {
			line(peers, want)
		} else {
			slices.SortStableFunc(peers, longest)
		}
	}
	return slices.Concat(classes[:]...)
}

// longest compares by how long peers have been choked or unchoked.
func longest(a, b Peer) int { return a.Changed.Compare(b.Changed) }

// line puts those who wait in order, out of all that want slots: the longest first, but behind others those of
// hosts that have wasted turns. A host that has not used one yet stands in line once for each that it has wasted,
// and for each connection of its that is before, so that a hundred connections of a few hosts are not before all others.
func line(wait, all []Peer) {
	before := make(map[netip.Prefix]int)
	for _, p := range all {
		if p.Unchoked {
			before[p.Host]++
		}
	}
	slices.SortStableFunc(wait, longest)
	place := make(map[int]int, len(wait))
	for _, p := range wait {
		place[p.ID] = p.Wasted
		if !p.UsedTurns {
			place[p.ID] += before[p.Host]
			before[p.Host]++
		}
	}
	slices.SortStableFunc(wait, func(a, b Peer) int { return cmp.Compare(place[a.ID], place[b.ID]) })
}

// promoteOptimistic moves the peer in the optimistic slot to the front: the one
// that has it, for its rounds, then one chosen at random from those that would get
// no slot if there were one fewer.
func (c *Choker) promoteOptimistic(want []Peer) []Peer {
	at := slices.IndexFunc(want, func(p Peer) bool { return p.ID == c.optimistic })
	if at < 0 || c.round >= optimisticRounds {
		c.optimistic, c.round = -1, 0
		chosen, regular := c.share(want, 0), 0
		var without []int
		for i, p := range want {
			if chosen[p.ID] && regular < c.cfg.Slots-1 {
				regular++
			} else {
				without = append(without, i)
			}
		}
		if len(without) == 0 {
			return want
		}
		at = without[c.cfg.Random(len(without))]
		c.optimistic = want[at].ID
	}
	c.round++
	p := want[at]
	return slices.Insert(slices.Delete(want, at, at+1), 0, p)
}

// Fill returns the IDs of choked peers that may be unchoked at once because slots
// are free: nobody waits for the next round without need.
func (c *Choker) Fill(peers []Peer) map[int]bool {
	var want []Peer
	for _, p := range peers {
		if p.Interested && p.Unchoked {
			want = append(want, p)
		}
	}
	holding := len(want)
	for _, p := range peers {
		if p.Interested && !p.Unchoked {
			want = append(want, p)
		}
	}
	line(want[holding:], want)
	chosen := c.share(want, holding)
	for _, p := range want[:holding] {
		delete(chosen, p.ID)
	}
	return chosen
}

// share gives slots to the peers in want, in that order: first to those that are
// holding one already, as many as it says from the start; then within each swarm's
// own slots; then what is left to whoever is next.
func (c *Choker) share(want []Peer, holding int) map[int]bool {
	chosen := make(map[int]bool, c.cfg.Slots)
	kept := map[bool]int{true: c.cfg.WebSlots, false: c.cfg.Slots - c.cfg.WebSlots}
	for i, p := range want {
		if i < holding || kept[p.Web] > 0 && len(chosen) < c.cfg.Slots {
			kept[p.Web]--
			chosen[p.ID] = true
		}
	}
	for _, p := range want {
		if len(chosen) >= c.cfg.Slots {
			break
		}
		chosen[p.ID] = true
	}
	return chosen
}
