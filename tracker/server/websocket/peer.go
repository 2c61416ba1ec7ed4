package websocket

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

// peer is a socket, and what it has announced.
type peer struct {
	server *Server
	conn   *socket.Conn
	handle table.Handle

	mu       sync.Mutex
	closed   bool
	torrents []membership
	index    map[table.Hash]int // of torrents, where there are many
}

// membership is a torrent that a socket is in.
type membership struct {
	hash table.Hash
	id   table.ID
	ice  uint32 // seconds from Server.start until it is told the ICE servers again
}

// indexFrom is how many torrents a socket has before they are worth an index.
const indexFrom = 16

// find returns the place of a torrent, or -1. p.mu is held.
func (p *peer) find(hash *table.Hash) int {
	if p.index != nil {
		if i, ok := p.index[*hash]; ok {
			return i
		}
		return -1
	}
	for i := range p.torrents {
		if p.torrents[i].hash == *hash {
			return i
		}
	}
	return -1
}

// join notes that the socket is in a torrent. p.mu is held.
func (p *peer) join(hash *table.Hash, id *table.ID) int {
	p.torrents = append(p.torrents, membership{hash: *hash, id: *id})
	place := len(p.torrents) - 1
	switch {
	case p.index != nil:
		p.index[*hash] = place
	case place >= indexFrom:
		p.index = make(map[table.Hash]int, 2*indexFrom)
		for i := range p.torrents {
			p.index[p.torrents[i].hash] = i
		}
	}
	return place
}

// leave forgets a torrent. p.mu is held.
func (p *peer) leave(place int) {
	last := len(p.torrents) - 1
	if p.index != nil {
		delete(p.index, p.torrents[place].hash)
		if place != last {
			p.index[p.torrents[last].hash] = place
		}
	}
	p.torrents[place] = p.torrents[last]
	p.torrents = p.torrents[:last]
	if last == 0 {
		p.torrents, p.index = nil, nil
	}
}

// messages are parsed into these. They are large, and few are in use at a time.
var messages = sync.Pool{New: func() any { return new(message) }}

// Message handles a message of the client.
func (p *peer) Message(b *socket.Batch, text []byte) {
	m := messages.Get().(*message)
	config := &p.server.config
	err := m.parse(text, config.MaxOffers, config.MaxScrape)
	switch {
	case err != nil:
		p.fail(b, m, err)
	case m.problem != "":
		p.fail(b, m, errors.New(m.problem))
	case m.action == scrapeAction:
		p.scrape(b, m)
	default:
		p.announce(b, m)
	}
	m.reset()
	messages.Put(m)
}

// Closed takes the socket's peers out of their swarms.
func (p *peer) Closed(*socket.Batch) {
	p.server.peers.remove(p.handle)
	p.mu.Lock()
	torrents := p.torrents
	p.closed, p.torrents, p.index = true, nil, nil
	p.mu.Unlock()
	for i := range torrents {
		p.server.config.Swarms.LeaveWeb(torrents[i].hash, torrents[i].id, p.handle)
	}
}

// fail tells the client why its message was refused.
func (p *peer) fail(b *socket.Batch, m *message, err error) {
	p.server.failures.Add(1)
	p.say(b, func(to []byte) []byte {
		return appendFailure(to, m.action, m.rawHash, err.Error(), retryIn(err))
	})
}

// say sends what write appends. b may be nil, for what is said outside of a round.
func (p *peer) say(b *socket.Batch, write func([]byte) []byte) {
	if b == nil {
		p.conn.Send(nil, write(nil))
		return
	}
	b.Scratch = write(b.Scratch[:0])
	p.conn.Send(b, b.Scratch)
}

var (
	errOtherID  = errors.New("this connection has announced the torrent by another peer id")
	errTorrents = errors.New("too many torrents on one connection")
)

// announce takes an announce, or an answer, which is one too by its action.
func (p *peer) announce(b *socket.Batch, m *message) {
	if m.answer != nil {
		p.answer(b, m)
		return
	}
	p.server.announces.Add(1)
	p.mu.Lock()
	place := p.find(&m.hash)
	err := error(nil)
	switch {
	case place >= 0 && p.torrents[place].id != m.peer:
		err = errOtherID
	case place < 0 && m.event != table.Stopped && len(p.torrents) >= p.server.config.MaxTorrents:
		err = errTorrents
	}
	p.mu.Unlock()
	if err != nil {
		p.fail(b, m, err)
		return
	}
	a := &m.web
	*a = table.WebAnnounce{
		Hash: m.hash, ID: m.peer, Socket: p.handle, Host: p.conn.Remote(), Event: m.event,
	}
	switch {
	case m.seed:
		a.State = table.Seed
	case m.paused:
		a.State = table.Partial
	}
	if m.event == table.Started || m.event == table.Update { // the others have none
		a.Offers = m.offers
	}
	p.enter(b, m)
}

// enter hands an announce to the swarms.
func (p *peer) enter(b *socket.Batch, m *message) {
	m.reply = table.WebReply{Given: m.reply.Given[:0]}
	err := p.server.config.Swarms.AnnounceWeb(&m.web, &m.reply)
	if !errors.Is(err, table.ErrElsewhere) {
		p.announced(b, m, &m.reply, err)
		return
	}
	if b != nil { // m is used for something else after this
		m = m.clone()
		m.web.Offers = m.offers[:len(m.web.Offers)]
	}
	p.server.config.Swarms.AnnounceWebLater(&m.web, func(r *table.WebReply, err error) {
		p.announced(nil, m, r, err)
	})
}

// announced replies to an announce, and passes its offers on.
func (p *peer) announced(b *socket.Batch, m *message, r *table.WebReply, err error) {
	s, a := p.server, &m.web
	switch {
	case errors.Is(err, table.ErrIDTaken) && !a.Owner && s.keys.proves(m.tracker, &a.Hash, &a.ID):
		a.Owner = true
		s.moved.Add(1)
		p.enter(b, m)
		return
	case errors.Is(err, table.ErrIDTaken):
		s.contest(r.Holder)
		fallthrough
	case err != nil:
		p.fail(b, m, err)
		return
	}
	first, tellICE, gone := p.note(a)
	if gone { // while another node was asked
		s.config.Swarms.LeaveWeb(a.Hash, a.ID, a.Socket)
		return
	}
	token := ""
	if first {
		token = s.keys.token(&a.Hash, &a.ID)
	}
	var ice []byte
	if tellICE {
		ice = iceJSON(s.config.ICEServers(a.ID, p.conn.Remote()))
	}
	p.say(b, func(to []byte) []byte {
		return appendReply(to, &a.Hash, r.Counts, s.config.Interval, token, ice)
	})
	for i := range r.Given {
		g := &r.Given[i]
		p.relay(b, g.To, &s.offers, &a.Hash, &a.ID, &a.Offers[g.Offer], "offer", m.offerings[g.Offer])
	}
}

// note keeps what the socket is in. It reports whether the torrent is new to it, whether it is to be
// told the ICE servers, and whether the socket has closed in the meantime.
func (p *peer) note(a *table.WebAnnounce) (first, tellICE, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	place := p.find(&a.Hash)
	if a.Event == table.Stopped {
		if place >= 0 {
			p.leave(place)
		}
		return false, false, false
	}
	if p.closed {
		return false, false, true
	}
	if first = place < 0; first {
		place = p.join(&a.Hash, &a.ID)
	}
	if p.server.config.ICEServers != nil {
		since := time.Since(p.server.start)
		if in := &p.torrents[place]; first || since >= time.Duration(in.ice)*time.Second {
			in.ice = uint32((since + p.server.config.ICEEvery) / time.Second)
			tellICE = true
		}
	}
	return first, tellICE, false
}

// relay passes an offer or an answer on.
func (p *peer) relay(b *socket.Batch, to table.Handle, count *atomic.Uint64, hash *table.Hash, from *table.ID, offer *table.OfferID, kind string, description []byte) {
	var scratch []byte
	if b != nil {
		scratch = b.Scratch[:0]
	}
	scratch = appendRelayed(scratch, hash, from, offer, kind, description)
	if b != nil {
		b.Scratch = scratch
	}
	if p.server.pass(b, to, scratch) {
		count.Add(1)
	} else {
		p.server.lost.Add(1)
	}
}

// contest has a socket show that it lives, as another one wants its peer id.
func (s *Server) contest(holder table.Handle) {
	s.contested.Add(1)
	if p := s.peers.get(holder); p != nil {
		p.conn.Probe(s.config.ProbeWait)
	}
}

// answer passes an answer on to the peer whose offer it was.
func (p *peer) answer(b *socket.Batch, m *message) {
	a := &m.reaction
	*a = table.Answer{Hash: m.hash, From: m.peer, Socket: p.handle, To: m.to, Offer: m.offer}
	to, err := p.server.config.Swarms.Answer(a)
	if !errors.Is(err, table.ErrElsewhere) {
		p.answered(b, m, a, to, err)
		return
	}
	kept := m.clone()
	p.server.config.Swarms.AnswerLater(&kept.reaction, func(to table.Handle, err error) {
		p.answered(nil, kept, &kept.reaction, to, err)
	})
}

func (p *peer) answered(b *socket.Batch, m *message, a *table.Answer, to table.Handle, err error) {
	if err != nil {
		p.fail(b, m, err)
		return
	}
	p.relay(b, to, &p.server.answers, &a.Hash, &a.From, &a.Offer, "answer", m.answer)
}

// clone copies what outlives the call in which a message came.
func (m *message) clone() *message {
	k := *m
	k.rawHash = slices.Clone(m.rawHash)
	k.tracker = slices.Clone(m.tracker)
	k.reply = table.WebReply{}
	k.answer = slices.Clone(m.answer)
	k.hashes = slices.Clone(m.hashes)
	k.offers = slices.Clone(m.offers)
	k.offerings = make([][]byte, len(m.offerings))
	for i := range m.offerings {
		k.offerings[i] = slices.Clone(m.offerings[i])
	}
	return &k
}
