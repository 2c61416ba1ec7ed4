package table

import (
	"encoding/binary"
)

// indexFrom is how many peers a list has without an index: so few are looked
// through as fast as an index is.
const indexFrom = 64

// index finds peers of a large list: a hash table with linear probing of places in
// the list, plus one, at most half full. It also counts peers by host, as sketch
// does, in a counter for each slot.
type index struct {
	seed  uint64
	slots []uint32
	hosts []uint32
}

func newIndex(l *list, k *kind) *index {
	n := l.len(k)
	size := 4 * indexFrom
	for size < 3*n {
		size *= 2
	}
	x := &index{seed: randomSeed(), slots: make([]uint32, size), hosts: make([]uint32, size)}
	for i := range n {
		x.insert(l, k, i)
	}
	return x
}

// slot returns where the search for an address begins.
func (x *index) slot(k *kind, addr []byte) int {
	h := x.seed
	if k.addrLen == 6 {
		h ^= uint64(binary.LittleEndian.Uint32(addr)) | uint64(binary.LittleEndian.Uint16(addr[4:]))<<32
	} else {
		h = mix(h^binary.LittleEndian.Uint64(addr)) ^ binary.LittleEndian.Uint64(addr[8:])
		h = mix(h) ^ uint64(binary.LittleEndian.Uint16(addr[16:]))
	}
	return int(mix(h)) & (len(x.slots) - 1)
}

func (x *index) hostSlot(host uint64) *uint32 {
	return &x.hosts[int(mix(host^x.seed))&(len(x.hosts)-1)]
}

func (x *index) sameHost(host uint64) int { return int(*x.hostSlot(host)) }

func (x *index) find(l *list, k *kind, addr []byte) int {
	for i := x.slot(k, addr); x.slots[i] != 0; i = (i + 1) & (len(x.slots) - 1) {
		place := int(x.slots[i]) - 1
		if string(l.at(k, place)[:k.addrLen]) == string(addr) {
			return place
		}
	}
	return -1
}

func (x *index) insert(l *list, k *kind, place int) {
	addr := l.at(k, place)[:k.addrLen]
	*x.hostSlot(k.host(addr))++
	i := x.slot(k, addr)
	for x.slots[i] != 0 {
		i = (i + 1) & (len(x.slots) - 1)
	}
	x.slots[i] = uint32(place) + 1
}

// slotOf returns the slot that holds a place of the list.
func (x *index) slotOf(l *list, k *kind, place int) int {
	i := x.slot(k, l.at(k, place)[:k.addrLen])
	for x.slots[i] != uint32(place)+1 {
		i = (i + 1) & (len(x.slots) - 1)
	}
	return i
}

// moved notes that a peer has a new place; its record is still at the old one.
func (x *index) moved(l *list, k *kind, from, to int) {
	x.slots[x.slotOf(l, k, from)] = uint32(to) + 1
}

// remove forgets a peer, whose record is still there. Peers further on in its
// chain move up, so that no chain has a hole.
func (x *index) remove(l *list, k *kind, place int) {
	*x.hostSlot(k.host(l.at(k, place)))--
	mask := len(x.slots) - 1
	hole := x.slotOf(l, k, place)
	for i := (hole + 1) & mask; x.slots[i] != 0; i = (i + 1) & mask {
		home := x.slot(k, l.at(k, int(x.slots[i])-1)[:k.addrLen])
		if (i-home)&mask >= (i-hole)&mask {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = 0
}
