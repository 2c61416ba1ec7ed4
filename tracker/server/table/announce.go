package table

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// Announce takes a classic peer's announce and appends peers for it to the reply.
// The peer itself is never among them, nor are seeds if it is one. Its errors are
// Refusals; a reply then has nothing new.
func (t *Table) Announce(a *Announce, r *Reply) error {
	if !a.Addr.IsValid() || a.Addr.Port() == 0 || a.Addr.Addr().IsUnspecified() {
		return ErrAddress
	}
	var buf [18]byte
	addr := putAddr(&buf, a.Addr)
	k := kind4
	if len(addr) == 18 {
		k = kind6
	}
	s, hash := t.hash(&a.Hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Event == Stopped {
		t.stop(s, a, hash, k, addr, r)
		return nil
	}
	w, err := t.swarmFor(s, &a.Hash, hash)
	if err != nil {
		return err
	}
	var room [smallBytes]byte
	f := w.family(k)
	recs := s.records(f, k, &room)
	place, sameHost := s.find(f, k, recs, addr)
	if place < 0 {
		if err := t.join(s, w, a, k, addr, sameHost); err != nil {
			t.dropIfEmpty(s, w, hash)
			return err
		}
		recs = s.records(f, k, &room)
		place = int(f.n) - 1
	} else {
		t.again(s, w, a, k, place)
	}
	r.Counts = s.counts(w)
	s.name(w, a, k, recs, place, r)
	return nil
}

// join adds a peer to a swarm.
func (t *Table) join(s *shard, w *swarm, a *Announce, k *kind, addr []byte, sameHost int) error {
	host := k.host(addr)
	if err := t.room(s, w, host, sameHost); err != nil {
		return err
	}
	t.hosts.add(host, 1)
	t.classic[k.family].Add(1)
	tag := t.tag(&a.ID)
	var rec [stride6]byte
	copy(rec[:], addr)
	k.setMeta(rec[:], t.seenNow(), w.enter(a.State, s.hasTag(w, tag, k)))
	k.setTag(rec[:], tag)
	s.add(w.family(k), k, rec[:])
	return nil
}

// again brings a peer up to date.
func (t *Table) again(s *shard, w *swarm, a *Announce, k *kind, place int) {
	rec := s.record(w.family(k), k, place)
	flags := k.flags(rec)
	if a.Event == Completed && flags&flagSeed == 0 && a.State == Seed {
		w.downloaded++
	}
	k.setMeta(rec, t.seenNow(), w.change(flags, a.State))
	if tag := t.tag(&a.ID); k.tag(rec) != tag {
		s.renamed(w, k, rec, tag)
	}
}

// stop takes a peer out of a swarm.
func (t *Table) stop(s *shard, a *Announce, hash uint32, k *kind, addr []byte, r *Reply) {
	w := s.lookup(&a.Hash, hash)
	if w == nil {
		return
	}
	var room [smallBytes]byte
	f := w.family(k)
	if place, _ := s.find(f, k, s.records(f, k, &room), addr); place >= 0 {
		t.remove(s, w, k, place)
	}
	r.Counts = s.counts(w)
	t.dropIfEmpty(s, w, hash)
}

// remove takes a classic peer out of a swarm's records and counts.
func (t *Table) remove(s *shard, w *swarm, k *kind, place int) {
	rec := s.record(w.family(k), k, place)
	tag, flags := k.tag(rec), k.flags(rec)
	t.hosts.add(k.host(rec), -1)
	t.classic[k.family].Add(-1)
	s.remove(w.family(k), k, place)
	s.left(w, tag, flags)
}

// seenNow is the present as records have it.
func (t *Table) seenNow() uint16 { return uint16(t.now.Load() / seenUnit) }

// tag stands for a peer id in 32 bits.
func (t *Table) tag(id *ID) uint32 {
	h := mix(t.seed ^ binary.LittleEndian.Uint64(id[:]) ^ uint64(binary.LittleEndian.Uint32(id[16:]))<<32)
	return uint32(mix(h ^ binary.LittleEndian.Uint64(id[8:])))
}

// name appends peers for one who asks and is at a place of its family's records: of
// that family, and of the other if wanted.
func (s *shard) name(w *swarm, a *Announce, k *kind, recs []byte, self int, r *Reply) {
	seeds := a.State == Leech
	var room [smallBytes]byte
	if k == kind4 {
		r.Peers4 = sample(recs, kind4, a.NumWant, self, seeds, r.Peers4)
		if a.Both && w.v6.n > 0 {
			r.Peers6 = sample(s.records(&w.v6, kind6, &room), kind6, a.NumWant, -1, seeds, r.Peers6)
		}
		return
	}
	r.Peers6 = sample(recs, kind6, a.NumWant, self, seeds, r.Peers6)
	if a.Both && w.v4.n > 0 {
		r.Peers4 = sample(s.records(&w.v4, kind4, &room), kind4, a.NumWant, -1, seeds, r.Peers4)
	}
}

// sampleLook bounds how many peers are looked at for one who wants no seeds.
const sampleLook = 2048

// sample appends up to want peers of the records: every so-and-so-manieth from a random
// place on, around the end, without the one at self.
func sample(recs []byte, k *kind, want, self int, seeds bool, peers []byte) []byte {
	n := len(recs) / k.stride
	if n == 0 || want <= 0 {
		return peers
	}
	// One more than wanted, as self may be among them. Those who want no seeds see
	// neighbours, of whom enough may be none.
	look, step := n, 1
	if n > want+1 {
		if seeds {
			look = want + 1
			step = 1 + rand.IntN(n/look)
		} else {
			look = min(n, sampleLook)
		}
	}
	i := 0
	if n > want {
		i = rand.IntN(n)
	}
	var unwanted byte
	if !seeds {
		unwanted = flagSeed | flagPartial
	}
	if k == kind4 {
		return sample4(recs, peers, i, step, look, want, self, unwanted)
	}
	for ; look > 0 && want > 0; look-- {
		rec := recs[i*k.stride:][:k.stride]
		if i != self && k.flags(rec)&unwanted == 0 {
			peers = append(peers, rec[:k.addrLen]...)
			want--
		}
		if i += step; i >= n {
			i -= n
		}
	}
	return peers
}

// sample4 is the loop of sample for IPv4, which is most of what a tracker does. It
// writes each address and port as eight bytes, the last two of which are overwritten by
// the next.
func sample4(recs, peers []byte, i, step, look, want, self int, unwanted byte) []byte {
	n := len(peers)
	peers = slices.Grow(peers, 6*min(want, look)+2)
	to := peers[:cap(peers)]
	at := i * stride4
	step, self = step*stride4, self*stride4
	for ; look > 0 && want > 0 && n+8 <= len(to); look-- {
		rec := recs[at : at+stride4]
		if at != self && rec[6]&unwanted == 0 {
			binary.LittleEndian.PutUint64(to[n:n+8], binary.LittleEndian.Uint64(rec))
			n += 6
			want--
		}
		if at += step; at >= len(recs) {
			at -= len(recs)
		}
	}
	return to[:n]
}
