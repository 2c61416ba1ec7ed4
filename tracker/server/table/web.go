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

func (s *webSwarm) hasID(id *ID, wantFlags byte) bool {
	i := s.find(id)
	return i >= 0 && s.peers[i].flags&flagShadow == wantFlags
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
	s := t.shard(&a.Hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Event == Stopped {
		if w := s.swarms[a.Hash]; w != nil {
			t.leaveWeb(w, &a.ID, a.Socket)
			r.Counts = w.counts()
			t.dropIfEmpty(s, w)
		}
		return nil
	}
	w, err := t.swarmFor(s, &a.Hash)
	if err != nil {
		return err
	}
	place, err := t.enterWeb(w, a, r)
	if err != nil {
		t.dropIfEmpty(s, w)
		return err
	}
	r.Counts = w.counts()
	if len(a.Offers) > 0 {
		t.give(w.web, a, place, r)
	}
	return nil
}

// enterWeb adds a web peer or brings it up to date, and returns its place.
func (t *Table) enterWeb(w *swarm, a *WebAnnounce, r *WebReply) (int, error) {
	now, host := uint16(t.now.Load()), hostKey(a.Host)
	place := -1
	if w.web != nil {
		place = w.web.find(&a.ID)
	}
	if place >= 0 {
		p := &w.web.peers[place]
		if p.socket != a.Socket {
			r.Holder = p.socket
			if !a.Owner {
				return 0, ErrIDTaken
			}
			t.hosts.add(p.host, -1)
			t.hosts.add(host, 1)
			w.web.moved(place, host)
			p.socket, p.given = a.Socket, nil
		}
		p.seen = now
		if a.Event == Completed && p.flags&flagSeed == 0 && a.State == Seed {
			w.downloaded++
		}
		w.setState(&p.flags, a.State)
		return place, nil
	}
	sameHost := 0
	if w.web != nil {
		sameHost = w.web.sameHost(host)
	}
	if err := t.room(w, host, sameHost); err != nil {
		return 0, err
	}
	t.hosts.add(host, 1)
	t.web.Add(1)
	shadow := w.hasID(&a.ID, nil, 0)
	if w.web == nil {
		w.web = new(webSwarm)
	}
	place = w.web.add(webPeer{id: a.ID, seen: now, socket: a.Socket, host: host})
	w.enter(&w.web.peers[place].flags, a.State, shadow)
	return place, nil
}

// LeaveWeb takes a web peer out of a swarm, if it is still there by this socket.
func (t *Table) LeaveWeb(h Hash, id ID, socket Handle) {
	s := t.shard(&h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.swarms[h]; w != nil {
		t.leaveWeb(w, &id, socket)
		t.dropIfEmpty(s, w)
	}
}

func (t *Table) leaveWeb(w *swarm, id *ID, socket Handle) {
	if w.web == nil {
		return
	}
	if i := w.web.find(id); i >= 0 && w.web.peers[i].socket == socket {
		t.removeWeb(w, i)
	}
}

func (t *Table) removeWeb(w *swarm, i int) {
	p := w.web.peers[i]
	t.hosts.add(p.host, -1)
	t.web.Add(-1)
	w.web.remove(i)
	if len(w.web.peers) == 0 {
		w.web = nil
	}
	w.left(&p.id, p.flags)
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
