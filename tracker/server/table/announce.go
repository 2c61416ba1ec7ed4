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
	s := t.shard(&a.Hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Event == Stopped {
		t.stop(s, a, k, addr, r)
		return nil
	}
	w, err := t.swarmFor(s, &a.Hash)
	if err != nil {
		return err
	}
	l := w.list(k)
	place, sameHost := -1, 0
	if l != nil {
		place, sameHost = l.find(k, addr)
	}
	now := uint16(t.now.Load())
	if place < 0 {
		host := k.host(addr)
		if err := t.room(w, host, sameHost); err != nil {
			t.dropIfEmpty(s, w)
			return err
		}
		t.hosts.add(host, 1)
		t.classic[k.family].Add(1)
		shadow := w.hasID(&a.ID, k, 0)
		l = w.makeList(k)
		rec := l.add(k, addr, &a.ID, now)
		w.enter(k.flags(rec), a.State, shadow)
		place = l.len(k) - 1
	} else {
		rec := l.at(k, place)
		k.setSeen(rec, now)
		if a.Event == Completed && *k.flags(rec)&flagSeed == 0 && a.State == Seed {
			w.downloaded++
		}
		w.setState(k.flags(rec), a.State)
		if string(k.id(rec)) != string(a.ID[:]) {
			w.renamed(k, rec, &a.ID)
		}
	}
	r.Counts = w.counts()
	w.name(a, k, place, r)
	return nil
}

// stop takes a peer out of a swarm.
func (t *Table) stop(s *shard, a *Announce, k *kind, addr []byte, r *Reply) {
	w := s.swarms[a.Hash]
	if w == nil {
		return
	}
	if l := w.list(k); l != nil {
		if place, _ := l.find(k, addr); place >= 0 {
			t.remove(w, k, place)
		}
	}
	r.Counts = w.counts()
	t.dropIfEmpty(s, w)
}

// remove takes a classic peer out of a swarm's list and counts.
func (t *Table) remove(w *swarm, k *kind, place int) {
	l := w.list(k)
	rec := l.at(k, place)
	id, flags := ID(k.id(rec)), *k.flags(rec)
	t.hosts.add(k.host(rec), -1)
	t.classic[k.family].Add(-1)
	l.remove(k, place)
	if k == kind6 && l.recs == nil {
		w.v6 = nil
	}
	w.left(&id, flags)
}

// list returns a family's peers; nil if there never were any.
func (w *swarm) list(k *kind) *list {
	if k == kind4 {
		return &w.v4
	}
	return w.v6
}

func (w *swarm) makeList(k *kind) *list {
	if k == kind6 && w.v6 == nil {
		w.v6 = new(list)
	}
	return w.list(k)
}

// name appends peers for one who asks: of its own address family, and of the other
// if wanted.
func (w *swarm) name(a *Announce, k *kind, self int, r *Reply) {
	asksSeeds := a.State == Leech
	if k == kind4 || a.Both {
		if k != kind4 {
			r.Peers4, r.IDs4 = w.v4.sample(kind4, a.NumWant, -1, asksSeeds, r.Peers4, r.IDs4, a.WithIDs)
		} else {
			r.Peers4, r.IDs4 = w.v4.sample(kind4, a.NumWant, self, asksSeeds, r.Peers4, r.IDs4, a.WithIDs)
		}
	}
	if w.v6 != nil && (k == kind6 || a.Both) {
		if k != kind6 {
			self = -1
		}
		r.Peers6, r.IDs6 = w.v6.sample(kind6, a.NumWant, self, asksSeeds, r.Peers6, r.IDs6, a.WithIDs)
	}
}

// sampleLook bounds how many peers are looked at for one who wants no seeds.
const sampleLook = 2048

// sample appends up to want peers: every so-and-so-manieth from a random place on,
// around the end, without the one at self.
func (l *list) sample(k *kind, want, self int, seeds bool, peers, ids []byte, withIDs bool) (_, _ []byte) {
	n := l.len(k)
	if n == 0 || want <= 0 {
		return peers, ids
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
	if n > look || n > want {
		i = rand.IntN(n)
	}
	var unwanted byte
	if !seeds {
		unwanted = flagSeed | flagPartial
	}
	if k == kind4 && !withIDs {
		return l.sample4(peers, i, step, look, want, self, unwanted), ids
	}
	for ; look > 0 && want > 0; look-- {
		rec := l.at(k, i)
		if i != self && *k.flags(rec)&unwanted == 0 {
			peers = append(peers, rec[:k.addrLen]...)
			if withIDs {
				ids = append(ids, k.id(rec)...)
			}
			want--
		}
		if i += step; i >= n {
			i -= n
		}
	}
	return peers, ids
}

// sample4 is the loop of sample for IPv4 without ids, which is most of what a tracker
// does. It writes each address and port as eight bytes, the last two of which
// are overwritten by the next.
func (l *list) sample4(peers []byte, i, step, look, want, self int, unwanted byte) []byte {
	const stride = 6 + recordTail
	n := len(peers)
	peers = slices.Grow(peers, 6*min(want, look)+2)
	to, recs := peers[:cap(peers)], l.recs
	at := i * stride
	step, self = step*stride, self*stride
	for ; look > 0 && want > 0 && n+8 <= len(to); look-- {
		rec := recs[at : at+stride]
		if at != self && rec[stride-1]&unwanted == 0 {
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
