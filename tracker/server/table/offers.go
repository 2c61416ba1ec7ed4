package table

import "encoding/binary"

// How much a peer was given of late is a number that halves every servedHalf
// seconds, so that those who lost their connections are thought of again.
const (
	servedHalf   = 120
	servedOffer  = 1 // for each offer that it was given
	servedAnswer = 2 // for each connection that began
	servedMax    = 1 << 14
)

// servedBy returns what a peer was given of late, as of now (seconds).
func (p *webPeer) servedBy(now uint32) uint16 {
	return p.served >> min(15, uint16(now/servedHalf)-p.servedAt)
}

// serve notes that a peer was given something.
func (p *webPeer) serve(now uint32, what uint16) {
	p.served = min(p.servedBy(now)+what, servedMax)
	p.servedAt = uint16(now / servedHalf)
}

// given is an offer that a peer was given and has not answered.
type given struct {
	key uint64 // of whose it was and which; see offerKey
	at  uint32 // seconds
}

const (
	// answerWithin is how long an offer can be answered, in seconds; the offers of
	// clients live for 50 (webtorrent.js) to 120 (libtorrent).
	answerWithin = 120
	// maxGiven bounds the unanswered offers that are remembered of one peer; beyond, the
	// oldest is forgotten.
	maxGiven = 64
)

// give remembers an offer.
func (p *webPeer) give(g given) {
	old := 0
	for old < len(p.given) && (g.at-p.given[old].at > answerWithin || len(p.given)-old >= maxGiven) {
		old++
	}
	if old > 0 {
		p.given = p.given[:copy(p.given, p.given[old:])]
	}
	p.given = append(p.given, g)
}

// take forgets an offer and says whether it was there and could still be answered.
func (p *webPeer) take(key uint64, now uint32) bool {
	for i, g := range p.given {
		if g.key == key {
			p.given = append(p.given[:i], p.given[i+1:]...)
			return now-g.at <= answerWithin
		}
	}
	return false
}

// offerKey stands for an offer of a peer in 64 bits. Its seed is unknown to peers, so
// that they cannot make two that are the same.
func (t *Table) offerKey(from *ID, offer *OfferID) uint64 {
	h := t.seed
	for _, b := range [2]*[20]byte{from, offer} {
		h = mix(h ^ binary.LittleEndian.Uint64(b[:]))
		h = mix(h ^ binary.LittleEndian.Uint64(b[8:]))
		h = mix(h ^ uint64(binary.LittleEndian.Uint32(b[16:])))
	}
	return h
}

// Answer returns the socket that an answer is to be passed on to. It refuses
// answers to offers that were not given to the peer that answers, that it has answered
// already, or that are older than 120 s.
func (t *Table) Answer(a *Answer) (Handle, error) {
	s, hash := t.hash(&a.Hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.lookup(&a.Hash, hash)
	if w == nil || w.web == 0 {
		return 0, ErrNotInSwarm
	}
	web := s.webOf(w)
	from := web.find(&a.From)
	if from < 0 || web.peers[from].socket != a.Socket {
		return 0, ErrNotInSwarm
	}
	now := t.now.Load()
	p := &web.peers[from]
	if !p.take(t.offerKey(&a.To, &a.Offer), now) {
		return 0, ErrNoOffer
	}
	to := web.find(&a.To)
	if to < 0 {
		return 0, ErrNoOffer // its peer has left
	}
	p.serve(now, servedAnswer)
	web.peers[to].serve(now, servedAnswer)
	return web.peers[to].socket, nil
}
