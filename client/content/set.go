package content

import (
	"math/bits"
	"sync/atomic"

	"github.com/causeway-bt/causeway/wire"
)

// Set is a set of pieces that the event loop changes and all others read. A nil one is
// empty.
type Set struct {
	words []atomic.Uint64
	n     int
}

// NewSet returns an empty set of n pieces.
func NewSet(n int) *Set { return &Set{words: make([]atomic.Uint64, (n+63)/64), n: n} }

// Len returns how many pieces there are, in the set or not.
func (s *Set) Len() int { return s.n }

// Has reports whether a piece is in the set. It may be called from any goroutine.
func (s *Set) Has(i int) bool {
	return s != nil && uint(i) < uint(s.n) && s.words[i/64].Load()&(1<<(i%64)) != 0
}

func (s *Set) add(i int) { s.words[i/64].Or(1 << (i % 64)) }

func (s *Set) remove(i int) { s.words[i/64].And(^(uint64(1) << (i % 64))) }

// Count returns how many pieces are in the set.
func (s *Set) Count() (n int) {
	for i := range s.words {
		n += bits.OnesCount64(s.words[i].Load())
	}
	return n
}

// Bitfield returns the set as it goes over the wire and into the resume state.
func (s *Set) Bitfield() wire.Bitfield {
	f := wire.NewBitfield(s.n)
	for i := range s.n {
		if s.Has(i) {
			f.Set(i)
		}
	}
	return f
}
