package picker

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestSwarm downloads torrents from peers that choke, lose pieces, send wrong ones,
// come and go, and checks every count after each step.
func TestSwarm(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runSwarm(t, seed) })
	}
}

type swarm struct {
	*table
	t    *testing.T
	rng  *rand.Rand
	all  []*Peer
	owes map[*Peer]map[Request]bool
}

func runSwarm(t *testing.T, seed uint64) {
	const pieces = 40
	s := &swarm{
		table: lay(pieces, seed), t: t, rng: rand.New(rand.NewPCG(seed, 2)),
		owes: make(map[*Peer]map[Request]bool),
	}
	s.SetSequential(seed%3 == 0)
	s.enter(true) // never leaves, so that every piece can be had
	for step := 0; s.Left() > 0; step++ {
		if step > 100000 {
			t.Fatalf("%d pieces are left after %d steps", s.Left(), step)
		}
		s.now = s.now.Add(20 * time.Millisecond)
		s.full = s.Open() > 6
		s.step()
		s.check(t)
	}
	for _, p := range s.all {
		if p.InFlight() != 0 || p.Wanted() != 0 {
			t.Errorf("at the end a peer owes %d blocks, and has %d that we want", p.InFlight(), p.Wanted())
		}
	}
	if s.Open() != 0 {
		t.Errorf("at the end %d pieces are open", s.Open())
	}
}

func (s *swarm) enter(seed bool) {
	p := &Peer{Patience: time.Second, Hurry: time.Second / 2}
	s.AddPeer(p)
	s.all = append(s.all, p)
	s.owes[p] = make(map[Request]bool)
	if seed {
		s.PeerHasAll(p)
		return
	}
	for i := range s.cfg.Pieces {
		if s.rng.IntN(2) == 0 {
			s.PeerHas(p, i)
		}
	}
}

func (s *swarm) step() {
	p := s.all[s.rng.IntN(len(s.all))]
	piece := s.rng.IntN(s.cfg.Pieces)
	faults := s.Left() > 5 || s.rng.IntN(20) == 0 // let it come to an end
	switch kind := s.rng.IntN(40); {
	case kind < 14:
		for _, r := range s.Pick(nil, p, 1+s.rng.IntN(8)) {
			if s.owes[p][r] || s.have.Has(r.Piece) || !p.Has(r.Piece) {
				s.t.Fatalf("%v was picked: owed already %v, there already %v, peer has it %v",
					r, s.owes[p][r], s.have.Has(r.Piece), p.Has(r.Piece))
			}
			s.owes[p][r] = true
		}
	case kind < 28:
		s.deliver(p)
	case !faults:
	case kind == 28:
		s.Forget(p)
		clear(s.owes[p])
	case kind == 29 && len(s.all) < 8:
		s.enter(s.rng.IntN(4) == 0)
	case kind == 30 && p != s.all[0]:
		s.RemovePeer(p)
		delete(s.owes, p)
		for i, other := range s.all {
			if other == p {
				s.all = append(s.all[:i], s.all[i+1:]...)
				break
			}
		}
	case kind == 31 && p != s.all[0]:
		s.PeerLost(p, piece)
	case kind == 32:
		s.PeerHas(p, piece)
	case kind == 33:
		p.Snubbing = !p.Snubbing
	case kind == 34:
		s.SetDeadlines(map[int]time.Time{piece: s.now.Add(time.Second), (piece + 1) % s.cfg.Pieces: s.now})
	case kind == 35:
		s.close(piece, func() { s.Abandon(piece) })
	case kind == 36:
		s.SetWanted(piece, false)
		s.check(s.t)
		s.close(piece, func() { s.Abandon(piece) })
		s.check(s.t)
		s.SetWanted(piece, true)
	case kind == 37:
		for r := range s.owes[p] {
			s.Unask(p, r)
			delete(s.owes[p], r)
			break
		}
	case kind == 38:
		s.Lost(piece)
	case kind == 39:
		for _, r := range s.PickFrom(nil, p, 3, []int{piece}) {
			s.owes[p][r] = true
		}
	}
}

// deliver sends one block that a peer owes.
func (s *swarm) deliver(p *Peer) {
	for r := range s.owes[p] {
		delete(s.owes[p], r)
		for _, other := range s.Received(p, r) {
			if !s.owes[other][r] {
				s.t.Fatalf("%v is to be cancelled at a peer that does not owe it", r)
			}
			delete(s.owes[other], r)
		}
		if pc := s.open[r.Piece]; pc != nil && pc.missing == 0 {
			s.close(r.Piece, func() { s.Done(r.Piece, s.Left() < 5 || s.rng.IntN(5) > 0) })
		}
		return
	}
}

// close ends a piece, and what is owed of it.
func (s *swarm) close(piece int, end func()) {
	end()
	for _, owed := range s.owes {
		for r := range owed {
			if r.Piece == piece {
				delete(owed, r)
			}
		}
	}
}

// BenchmarkPick picks and receives one block at a time of a large torrent.
func BenchmarkPick(b *testing.B) {
	const pieces, peers = 1_000_000, 50
	for _, bb := range []struct {
		name       string
		sequential bool
		has        func(rng *rand.Rand, peer, piece int) bool
	}{
		{"seeds", false, nil},
		{"halves", false, func(rng *rand.Rand, _, _ int) bool { return rng.IntN(2) == 0 }},
		{"few", false, func(rng *rand.Rand, _, _ int) bool { return rng.IntN(1000) == 0 }},
		{"halves in order", true, func(rng *rand.Rand, _, _ int) bool { return rng.IntN(2) == 0 }},
		{"the end of it in order", true, func(_ *rand.Rand, _, piece int) bool { return piece > pieces*9/10 }},
		{"one half the same", false, func(_ *rand.Rand, peer, piece int) bool { return peer%2 == 0 || piece%2 == 0 }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			tb := lay(pieces, 1)
			tb.SetSequential(bb.sequential)
			var all []*Peer
			for n := range peers {
				p := &Peer{Patience: time.Minute}
				tb.AddPeer(p)
				all = append(all, p)
				if bb.has == nil {
					tb.PeerHasAll(p)
					continue
				}
				for i := range pieces {
					if bb.has(rng, n, i) {
						tb.PeerHas(p, i)
					}
				}
			}
			var picks []Request
			for n := 0; b.Loop(); n++ {
				p := all[n%peers]
				picks = tb.Pick(picks[:0], p, 1)
				tb.receive(p, picks...)
			}
		})
	}
}
