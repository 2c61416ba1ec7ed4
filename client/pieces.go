package client

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"

	"github.com/causeway-bt/causeway/wire"
)

func randomInt(n int) int { return rand.IntN(n) }

// pieceSet is a set of pieces that the event loop changes and all others read.
type pieceSet struct {
	words []atomic.Uint64
	n     int
}

func newPieceSet(n int) *pieceSet {
	return &pieceSet{words: make([]atomic.Uint64, (n+63)/64), n: n}
}

func (s *pieceSet) has(i int) bool {
	return s != nil && uint(i) < uint(s.n) && s.words[i/64].Load()&(1<<(i%64)) != 0
}

func (s *pieceSet) add(i int) { s.words[i/64].Or(1 << (i % 64)) }

func (s *pieceSet) remove(i int) { s.words[i/64].And(^(uint64(1) << (i % 64))) }

func (s *pieceSet) count() (n int) {
	for i := range s.words {
		n += bits.OnesCount64(s.words[i].Load())
	}
	return n
}

// bitfield returns the set as it goes over the wire and into the resume state.
func (s *pieceSet) bitfield() wire.Bitfield {
	f := wire.NewBitfield(s.n)
	for i := range s.n {
		if s.has(i) {
			f.Set(i)
		}
	}
	return f
}
