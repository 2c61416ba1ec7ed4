package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
)

// Bitfield is a set of pieces as it goes over the wire: piece 0 is the highest
// bit of the first byte (BEP 3).
type Bitfield []byte

// NewBitfield returns an empty set for n pieces.
func NewBitfield(n int) Bitfield { return make(Bitfield, (n+7)/8) }

// ParseBitfield checks that b is a bitfield of n pieces, spare bits clear, and
// copies it.
func ParseBitfield(b []byte, n int) (Bitfield, error) {
	if len(b) != (n+7)/8 {
		return nil, fmt.Errorf("bitfield of %d bytes for %d pieces", len(b), n)
	}
	if n%8 != 0 && b[len(b)-1]<<(n%8) != 0 {
		return nil, fmt.Errorf("bitfield has spare bits set behind piece %d", n-1)
	}
	return append(Bitfield(nil), b...), nil
}

// Has reports whether piece i is in the set; false for pieces out of range.
func (f Bitfield) Has(i int) bool {
	return uint(i)>>3 < uint(len(f)) && f[i>>3]&(0x80>>(i&7)) != 0
}

// Set adds piece i.
func (f Bitfield) Set(i int) { f[i>>3] |= 0x80 >> (i & 7) }

// Clear removes piece i.
func (f Bitfield) Clear(i int) { f[i>>3] &^= 0x80 >> (i & 7) }

// Fill adds the pieces 0 to n-1.
func (f Bitfield) Fill(n int) {
	for i := range n / 8 {
		f[i] = 0xff
	}
	for i := n &^ 7; i < n; i++ {
		f.Set(i)
	}
}

// Count returns how many pieces are in the set.
func (f Bitfield) Count() (n int) {
	for _, b := range f {
		n += bits.OnesCount8(b)
	}
	return n
}

// From yields the pieces of the set that are not before first, in order. It passes
// over empty stretches eight bytes at a time.
func (f Bitfield) From(first int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := max(first, 0) / 64 * 8; i < len(f); i += 8 {
			var word uint64
			if rest := f[i:]; len(rest) >= 8 {
				word = binary.BigEndian.Uint64(rest)
			} else {
				var last [8]byte
				copy(last[:], rest)
				word = binary.BigEndian.Uint64(last[:])
			}
			for word != 0 {
				bit := bits.LeadingZeros64(word)
				word &^= 1 << (63 - bit)
				if piece := i*8 + bit; piece >= first && !yield(piece) {
					return
				}
			}
		}
	}
}

// Clone returns a copy.
func (f Bitfield) Clone() Bitfield { return append(Bitfield(nil), f...) }
