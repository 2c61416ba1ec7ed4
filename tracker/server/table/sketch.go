package table

import (
	"math/rand/v2"
	"sync/atomic"
)

// sketch counts peers by host in fixed memory: two rows of counters, each host having
// one counter in each row, by different hashes; the lower of the two is an upper bound
// of the host's count. A host is counted too high only by what shares both counters.
type sketch struct {
	seed uint64
	rows [2][sketchWidth]atomic.Int32
}

// sketchWidth makes 512 KiB in all. At the default bounds, ten million peers
// spread over many hosts add about 150 to a counter, little beside a host's bound.
const sketchWidth = 1 << 16

// places returns a host's counters.
func (s *sketch) places(host uint64) (a, b *atomic.Int32) {
	h := mix(host ^ s.seed)
	return &s.rows[0][h%sketchWidth], &s.rows[1][h>>32%sketchWidth]
}

func (s *sketch) count(host uint64) int {
	a, b := s.places(host)
	return int(min(a.Load(), b.Load()))
}

func (s *sketch) add(host uint64, n int32) {
	a, b := s.places(host)
	a.Add(n)
	b.Add(n)
}

// mix spreads a number over 64 bits (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func randomSeed() uint64 { return rand.Uint64() }
