package cluster

import (
	"cmp"
	"slices"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// slots is how many parts infohashes are sorted into; each has one owner. With 1000
// members one has 4 of them, and the most that one has is about three times that.
const slots = 4096

func slotOf(h *table.Hash) int { return int(h[0])<<4 | int(h[1])>>4 }

// view is who owns what, as far as a node knows. It is never changed, only replaced.
type view struct {
	owner   [slots]*node
	score   [slots]uint64 // of the owner
	members []*node       // by name; this node among them
}

// newView sorts slots by rendezvous hashing: a slot's owner is the member with the
// highest score, which nobody else's coming or going changes. What a view of other members
// has already is taken from there; nil: there is none.
func newView(before *view, members []*node) *view {
	v := &view{members: slices.Clone(members)}
	slices.SortFunc(v.members, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	stays, fresh := make(map[*node]bool, len(members)), v.members
	for _, n := range v.members {
		stays[n] = true
	}
	if before != nil {
		v.owner, v.score = before.owner, before.score
		old := make(map[*node]bool, len(before.members))
		for _, n := range before.members {
			old[n] = true
		}
		fresh = slices.DeleteFunc(slices.Clone(v.members), func(n *node) bool { return old[n] })
	}
	for slot, owner := range v.owner {
		if stays[owner] {
			v.compare(slot, fresh)
		} else {
			v.owner[slot], v.score[slot] = nil, 0
			v.compare(slot, v.members)
		}
	}
	return v
}

// compare looks for a member that a slot prefers to its owner.
func (v *view) compare(slot int, members []*node) {
	for _, n := range members {
		if s := score(slot, n.nameHash); v.owner[slot] == nil || s > v.score[slot] {
			v.owner[slot], v.score[slot] = n, s
		}
	}
}

// score says how much a member is to be the owner of a slot. All nodes must agree.
func score(slot int, nameHash uint64) uint64 {
	return mix(nameHash ^ mix(uint64(slot)+1))
}

// hashName spreads a name over 64 bits (FNV-1a, and then MurmurHash3's finalizer).
func hashName(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return mix(h)
}

// mix is MurmurHash3's finalizer.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
