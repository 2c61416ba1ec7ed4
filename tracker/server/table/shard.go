package table

import (
	"hash/maphash"
	"sync"
)

// shards is how many locks there are: far more than processors, so that two front
// ends seldom want the same one.
const (
	shards    = 64
	shardBits = 6
)

// shard is the part of the swarms that one lock guards. Swarms have numbers, and a
// hash table with linear probing finds them: each of its slots has 32 bits of the
// infohash's hash and the swarm's number plus one.
type shard struct {
	mu    sync.Mutex
	slots []uint64
	count int // swarms

	swarms     []*[swarmChunk]swarm
	usedSwarms uint32
	freeSwarm  uint32 // number plus one of one that is free, which has the next in v4.head

	blocks     []*[blockChunk]block
	usedBlocks uint32
	freeBlock  uint32

	lists numbered[list]
	webs  numbered[webSwarm]

	_ [64]byte // keeps locks on cache lines of their own
}

// swarmChunk is how many swarms are allocated at a time: 14,336 bytes, a size class of Go's.
const swarmChunk = 256

// swarm is what is known of one infohash.
type swarm struct {
	hash       Hash
	downloaded uint32 // completed events
	seeds      uint32 // of all kinds, without shadows
	partial    uint32 // partial seeds, likewise
	shadows    uint32 // entries of peers that have another entry, too, which counts
	v4, v6     family
	web        uint32 // number plus one of its webSwarm
}

// hash returns the shard of an infohash and what its slots know of it.
func (t *Table) hash(h *Hash) (s *shard, hash uint32) {
	v := maphash.Bytes(t.hashSeed, h[:])
	return &t.shards[v>>(64-shardBits)], uint32(v)
}

func (s *shard) swarm(number uint32) *swarm {
	return &s.swarms[number/swarmChunk][number%swarmChunk]
}

// slot returns where an infohash is, or the free slot where it would be.
func (s *shard) slot(h *Hash, hash uint32) (slot int, w *swarm) {
	mask := len(s.slots) - 1
	for i := int(hash) & mask; ; i = (i + 1) & mask {
		v := s.slots[i]
		if v == 0 {
			return i, nil
		}
		if uint32(v>>32) == hash {
			if w := s.swarm(uint32(v) - 1); w.hash == *h {
				return i, w
			}
		}
	}
}

// lookup returns a swarm; nil if it is not known.
func (s *shard) lookup(h *Hash, hash uint32) *swarm {
	if s.count == 0 {
		return nil
	}
	_, w := s.slot(h, hash)
	return w
}

// make returns a new swarm.
func (s *shard) make(h *Hash, hash uint32) *swarm {
	if (s.count+1)*8 > len(s.slots)*7 {
		s.grow()
	}
	number := s.freeSwarm
	if number != 0 {
		s.freeSwarm = s.swarm(number - 1).v4.head
	} else {
		if s.usedSwarms%swarmChunk == 0 {
			s.swarms = append(s.swarms, new([swarmChunk]swarm))
		}
		s.usedSwarms++
		number = s.usedSwarms
	}
	slot, _ := s.slot(h, hash)
	s.slots[slot] = uint64(hash)<<32 | uint64(number)
	s.count++
	w := s.swarm(number - 1)
	*w = swarm{hash: *h}
	return w
}

// grow doubles the slots.
func (s *shard) grow() {
	old := s.slots
	s.slots = make([]uint64, max(16, 2*len(old)))
	mask := len(s.slots) - 1
	for _, v := range old {
		if v == 0 {
			continue
		}
		i := int(v>>32) & mask
		for s.slots[i] != 0 {
			i = (i + 1) & mask
		}
		s.slots[i] = v
	}
}

// drop forgets a swarm, which has no peers. Swarms further on in its chain move up, so
// that no chain has a hole.
func (s *shard) drop(h *Hash, hash uint32) {
	hole, w := s.slot(h, hash)
	*w = swarm{v4: family{head: s.freeSwarm}}
	s.freeSwarm = uint32(s.slots[hole])
	mask := len(s.slots) - 1
	for i := (hole + 1) & mask; s.slots[i] != 0; i = (i + 1) & mask {
		home := int(s.slots[i]>>32) & mask
		if (i-home)&mask >= (i-hole)&mask {
			s.slots[hole] = s.slots[i]
			hole = i
		}
	}
	s.slots[hole] = 0
	s.count--
}

// family returns a swarm's peers of one address family.
func (w *swarm) family(k *kind) *family {
	if k == kind4 {
		return &w.v4
	}
	return &w.v6
}

// webOf returns a swarm's web peers; nil if there are none.
func (s *shard) webOf(w *swarm) *webSwarm {
	if w.web == 0 {
		return nil
	}
	return s.webs.at(w.web - 1)
}

// size is the number of entries.
func (s *shard) size(w *swarm) int {
	n := int(w.v4.n + w.v6.n)
	if web := s.webOf(w); web != nil {
		n += len(web.peers)
	}
	return n
}

func (s *shard) counts(w *swarm) Counts {
	in := uint32(s.size(w)) - w.shadows - w.seeds
	return Counts{Complete: w.seeds, Incomplete: in, Downloaded: w.downloaded, Downloaders: in - w.partial}
}
