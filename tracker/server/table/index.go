package table

import (
	"encoding/binary"
	"math"
)

// indexFrom is how many peers a list has without an index: so few are looked
// through as fast as an index is.
const indexFrom = 64

// index finds peers of a large list: a hash table with linear probing, at most three
// quarters full. A slot has a place in the list, plus one, and above placeBits eight bits
// of the hash, so that hardly any other peer is looked at. The index also counts peers by
// host, as sketch does, in a counter for each slot.
type index struct {
	seed  uint64
	slots []uint32
	hosts []uint16 // that of a host with more than fits stays at its largest
}

const (
	placeBits = 24
	placeMask = 1<<placeBits - 1
	placeMost = placeMask - 1 // peers in a list
)

func newIndex(l *list, k *kind) *index {
	n := l.len(k)
	size := 2 * indexFrom
	for size < 3*n/2 {
		size *= 2
	}
	x := &index{seed: randomSeed(), slots: make([]uint32, size), hosts: make([]uint16, size)}
	for i := range n {
		x.insert(l, k, i)
	}
	return x
}

// full says whether an index has no room for so many peers.
func (x *index) full(n int) bool { return n*4 > len(x.slots)*3 }

// slot returns where the search for an address begins, and what its slot has above
// placeBits.
func (x *index) slot(k *kind, addr []byte) (slot int, tag uint32) {
	h := x.seed
	if k.addrLen == 6 {
		h ^= uint64(binary.LittleEndian.Uint32(addr)) | uint64(binary.LittleEndian.Uint16(addr[4:]))<<32
	} else {
		h = mix(h^binary.LittleEndian.Uint64(addr)) ^ binary.LittleEndian.Uint64(addr[8:])
		h = mix(h) ^ uint64(binary.LittleEndian.Uint16(addr[16:]))
	}
	h = mix(h)
	return int(h & uint64(len(x.slots)-1)), uint32(h>>56) << placeBits
}

func (x *index) hostSlot(host uint64) *uint16 {
	return &x.hosts[mix(host^x.seed)&uint64(len(x.hosts)-1)]
}

func (x *index) sameHost(host uint64) int { return int(*x.hostSlot(host)) }

func (x *index) find(l *list, k *kind, addr []byte) int {
	i, tag := x.slot(k, addr)
	for ; x.slots[i] != 0; i = (i + 1) & (len(x.slots) - 1) {
		if x.slots[i]&^placeMask != tag {
			continue
		}
		place := int(x.slots[i]&placeMask) - 1
		if string(l.at(k, place)[:k.addrLen]) == string(addr) {
			return place
		}
	}
	return -1
}

func (x *index) insert(l *list, k *kind, place int) {
	addr := l.at(k, place)[:k.addrLen]
	if h := x.hostSlot(k.host(addr)); *h < math.MaxUint16 {
		*h++
	}
	i, tag := x.slot(k, addr)
	for x.slots[i] != 0 {
		i = (i + 1) & (len(x.slots) - 1)
	}
	x.slots[i] = tag | uint32(place+1)
}

// slotOf returns the slot that holds a place of the list, and its tag.
func (x *index) slotOf(l *list, k *kind, place int) (slot int, tag uint32) {
	i, tag := x.slot(k, l.at(k, place)[:k.addrLen])
	for x.slots[i] != tag|uint32(place+1) {
		i = (i + 1) & (len(x.slots) - 1)
	}
	return i, tag
}

// moved notes that a peer has a new place; its record is still at the old one.
func (x *index) moved(l *list, k *kind, from, to int) {
	slot, tag := x.slotOf(l, k, from)
	x.slots[slot] = tag | uint32(to+1)
}

// remove forgets a peer, whose record is still there. Peers further on in its
// chain move up, so that no chain has a hole.
func (x *index) remove(l *list, k *kind, place int) {
	if h := x.hostSlot(k.host(l.at(k, place))); *h < math.MaxUint16 {
		*h--
	}
	mask := len(x.slots) - 1
	hole, _ := x.slotOf(l, k, place)
	for i := (hole + 1) & mask; x.slots[i] != 0; i = (i + 1) & mask {
		home, _ := x.slot(k, l.at(k, int(x.slots[i]&placeMask)-1)[:k.addrLen])
		if (i-home)&mask >= (i-hole)&mask {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = 0
}
