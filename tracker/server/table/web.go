package table

import (
	"math/rand/v2"
	"slices"
)

// webPeer is a peer that is known by its socket.
type webPeer struct {
	id       ID
	flags    byte
	seen     uint16 // as in a classic record
	servedAt uint16 // in units of servedHalf: when served was last brought up to date
	served   uint16 // what it was given, of late; see serve
	tag      uint32 // of id
	socket   Handle
	host     uint64
	given    []given // offers that it may answer, oldest first
}

// webSwarm is the web peers of a swarm.
type webSwarm struct {
	peers []webPeer
	index map[ID]uint32     // places; nil while there are few
	hosts map[uint64]uint32 // how many are of a host, likewise
}

// webIndexFrom is how many web peers a swarm has without an index.
const webIndexFrom = 32

func (s *webSwarm) find(id *ID) int {
	if s.index != nil {
		if i, ok := s.index[*id]; ok {
			return int(i)
		}
		return -1
	}
	for i := range s.peers {
		if s.peers[i].id == *id {
			return i
		}
	}
	return -1
}

func (s *webSwarm) add(p webPeer) int {
	s.peers = append(s.peers, p)
	place := len(s.peers) - 1
	switch {
	case s.index != nil:
		s.index[p.id] = uint32(place)
		s.hosts[p.host]++
	case place >= webIndexFrom:
		s.index, s.hosts = make(map[ID]uint32, 2*place), make(map[uint64]uint32)
		for i := range s.peers {
			s.index[s.peers[i].id] = uint32(i)
			s.hosts[s.peers[i].host]++
		}
	}
	return place
}

// moved notes that a peer is of another host now.
func (s *webSwarm) moved(i int, host uint64) {
	if p := &s.peers[i]; p.host != host {
		if s.hosts != nil {
			s.forgetHost(p.host)
			s.hosts[host]++
		}
		p.host = host
	}
}

func (s *webSwarm) forgetHost(host uint64) {
	if s.hosts[host] == 1 {
		delete(s.hosts, host)
	} else {
		s.hosts[host]--
	}
}

// sameHost is how many peers are of a host.
func (s *webSwarm) sameHost(host uint64) (n int) {
	if s.hosts != nil {
		return int(s.hosts[host])
	}
	for i := range s.peers {
		if s.peers[i].host == host {
			n++
		}
	}
	return n
}

func (s *webSwarm) remove(i int) {
	last := len(s.peers) - 1
	if s.index != nil {
		s.forgetHost(s.peers[i].host)
		delete(s.index, s.peers[i].id)
		if i != last {
			s.index[s.peers[last].id] = uint32(i)
		}
	}
	s.peers[i] = s.peers[last]
	s.peers[last] = webPeer{}
	s.peers = s.peers[:last]
	if last < webIndexFrom/2 {
		s.index, s.hosts = nil, nil
	}
	if last > 4 && last <= cap(s.peers)/4 {
		s.peers = slices.Clip(slices.Clone(s.peers))
	}
}

// AnnounceWeb takes a web peer's announce and says which of its offers are to be
// passed on to whom. Its errors are Refusals.
//
// A peer id that another socket has announced belongs to that socket until it leaves
// or expires, unless the newer one is its Owner.
func (t *Table) AnnounceWeb(a *WebAnnounce, r *WebReply) error {
	if !a.Host.IsValid() || a.Socket == 0 {
		return ErrAddress
	}
	if len(a.Offers) > t.limits.Offers {
		return ErrTooManyOffers
	}
	s, hash := t.hash(&a.Hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Event == Stopped {
		if w := s.lookup(&a.Hash, hash); w != nil {
			t.leaveWeb(s, w, &a.ID, a.Socket)
			r.Counts = s.counts(w)
			t.dropIfEmpty(s, w, hash)
		}
		return nil
	}
	w, err := t.swarmFor(s, &a.Hash, hash)
	if err != nil {
		return err
	}
	place, err := t.enterWeb(s, w, a, r)
	if err != nil {
		t.dropIfEmpty(s, w, hash)
		return err
	}
	r.Counts = s.counts(w)
	if len(a.Offers) > 0 {
		t.give(s.webOf(w), a, place, r)
	}
	return nil
}

// enterWeb adds a web peer or brings it up to date, and returns its place.
func (t *Table) enterWeb(s *shard, w *swarm, a *WebAnnounce, r *WebReply) (int, error) {
	now, host := uint16(t.now.Load()), hostKey(a.Host)
	web, sameHost := s.webOf(w), 0
	if web != nil {
		if place := web.find(&a.ID); place >= 0 {
			return place, t.againWeb(w, web, place, a, host, r)
		}
		sameHost = web.sameHost(host)
	}
	if err := t.room(s, w, host, sameHost); err != nil {
		return 0, err
	}
	t.hosts.add(host, 1)
	t.web.Add(1)
	tag := t.tag(&a.ID)
	flags := w.enter(a.State, s.hasTag(w, tag, nil))
	if web == nil {
		web = new(webSwarm)
		w.web = s.webs.add(web) + 1
	}
	return web.add(webPeer{id: a.ID, tag: tag, flags: flags, seen: now, socket: a.Socket, host: host}), nil
}

// againWeb brings a web peer up to date.
func (t *Table) againWeb(w *swarm, web *webSwarm, place int, a *WebAnnounce, host uint64, r *WebReply) error {
	p := &web.peers[place]
	if p.socket != a.Socket {
		r.Holder = p.socket
		if !a.Owner {
			return ErrIDTaken
		}
		t.hosts.add(p.host, -1)
		t.hosts.add(host, 1)
		web.moved(place, host)
		p.socket, p.given = a.Socket, nil
	}
	p.seen = uint16(t.now.Load())
	if a.Event == Completed && p.flags&flagSeed == 0 && a.State == Seed {
		w.downloaded++
	}
	p.flags = w.change(p.flags, a.State)
	return nil
}

// LeaveWeb takes a web peer out of a swarm, if it is still there by this socket.
func (t *Table) LeaveWeb(h Hash, id ID, socket Handle) {
	s, hash := t.hash(&h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.lookup(&h, hash); w != nil {
		t.leaveWeb(s, w, &id, socket)
		t.dropIfEmpty(s, w, hash)
	}
}

func (t *Table) leaveWeb(s *shard, w *swarm, id *ID, socket Handle) {
	web := s.webOf(w)
	if web == nil {
		return
	}
	if i := web.find(id); i >= 0 && web.peers[i].socket == socket {
		t.removeWeb(s, w, i)
	}
}

func (t *Table) removeWeb(s *shard, w *swarm, i int) {
	web := s.webOf(w)
	p := web.peers[i]
	t.hosts.add(p.host, -1)
	t.web.Add(-1)
	web.remove(i)
	if len(web.peers) == 0 {
		s.webs.remove(w.web - 1)
		w.web = 0
	}
	s.left(w, p.tag, p.flags)
}

// candidates is how many peers are looked at for n offers, from whom those that
// were given least get them. The more, the evener; four for one are close to even.
func candidates(n int) int { return 4*n + 16 }

// give says who gets an announce's offers, and remembers that they were given.
func (t *Table) give(s *webSwarm, a *WebAnnounce, self int, r *WebReply) {
	n := len(s.peers)
	look, step := min(n, candidates(len(a.Offers))), 1
	if n > look {
		step = 1 + rand.IntN(n/look)
	}
	now := t.now.Load()
	var room [4*32 + 16]uint64
	ranked := room[:0]
	for i := rand.IntN(n); look > 0; look-- {
		p := &s.peers[i]
		if i != self && p.socket != a.Socket && (a.State == Leech || p.flags&(flagSeed|flagPartial) == 0) {
			// Least served first, leeches before seeds, then by chance.
			rank := uint64(p.servedBy(now)) << 49
			if p.flags&(flagSeed|flagPartial) != 0 {
				rank |= 1 << 48
			}
			ranked = append(ranked, rank|uint64(rand.Uint32()&0xffff)<<32|uint64(i))
		}
		if i += step; i >= n {
			i -= n
		}
	}
	slices.Sort(ranked)
	for i := range min(len(ranked), len(a.Offers)) {
		p := &s.peers[uint32(ranked[i])]
		p.serve(now, servedOffer)
		p.give(given{t.offerKey(&a.ID, &a.Offers[i]), now})
		r.Given = append(r.Given, Given{Offer: i, To: p.socket, ID: p.id})
	}
}
