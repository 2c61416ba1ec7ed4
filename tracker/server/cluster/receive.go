package cluster

import (
	"errors"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// Bounds of what others send. What comes beyond is dropped, by NATS's client.
const (
	inboxMessages = 4096
	inboxBytes    = 64 << 20
	// laneCount is how many batches are worked on at once; those of one node always in the
	// order that they were sent in, so that one who joins and leaves has left in the end.
	laneCount   = 8
	laneBatches = 16
)

// receive takes a batch. It waits while too many are being worked on.
func (c *Cluster) receive(b []byte) {
	c.counters.batchesIn.Add(1)
	c.counters.bytesIn.Add(int64(len(b)))
	cur := cursor{b: b}
	id, err := cur.header()
	if err != nil {
		c.unreadable(err)
		return
	}
	select {
	case c.lanes[id.key()%laneCount] <- b:
	case <-c.done:
	}
}

// lane works on the batches of some nodes, until Close.
func (c *Cluster) lane(batches <-chan []byte) {
	defer c.wg.Done()
	in := inbound{c: c}
	for {
		select {
		case b := <-batches:
			in.batch(b)
		case <-c.done:
			return
		}
	}
}

// inbound is the sink of one lane.
type inbound struct {
	c      *Cluster
	parser parser
	from   *node

	reply    table.Reply // and the following: memory that is used again
	webReply table.WebReply
	gave     []given
}

func (in *inbound) batch(b []byte) {
	cur := cursor{b: b}
	id, err := cur.header()
	if err != nil || id == in.c.self.identity {
		return
	}
	in.c.mu.Lock()
	in.from = in.c.known(id, time.Now())
	in.c.mu.Unlock()
	if in.from == nil {
		return
	}
	if err := in.parser.entries(cur.b, in); err != nil {
		in.c.unreadable(err)
	}
}

// respond sends a reply back.
func (in *inbound) respond(encode func([]byte) []byte) {
	in.c.counters.served.Add(1)
	in.c.post(in.from, encode)
}

func (in *inbound) refuse(id uint32, err error) {
	in.respond(func(b []byte) []byte { return appendRefused(b, id, err) })
}

func (in *inbound) announce(id uint32, a *table.Announce) {
	r := &in.reply
	r.Peers4, r.Peers6 = r.Peers4[:0], r.Peers6[:0]
	r.Counts = table.Counts{}
	if err := in.c.table.Announce(a, r); err != nil {
		in.refuse(id, err)
		return
	}
	in.respond(func(b []byte) []byte { return appendAnnounced(b, id, r) })
}

// handle makes the handle that a socket of the sender has here.
func (in *inbound) handle(socket table.Handle) table.Handle {
	return table.Handle(in.from.index)<<socketBits | socket
}

func (in *inbound) web(id uint32, a *table.WebAnnounce) {
	a.Socket = in.handle(a.Socket)
	r := &in.webReply
	r.Counts, r.Holder, r.Given = table.Counts{}, 0, r.Given[:0]
	if err := in.c.table.AnnounceWeb(a, r); err != nil {
		if errors.Is(err, table.ErrIDTaken) {
			in.c.Probe(r.Holder)
		}
		in.refuse(id, err)
		return
	}
	in.gave = in.gave[:0]
	for _, g := range r.Given {
		if at, ok := in.c.placeOf(g.To); ok {
			in.gave = append(in.gave, given{offer: g.Offer, to: at, id: g.ID})
		}
	}
	in.respond(func(b []byte) []byte { return appendWebDone(b, id, r.Counts, in.gave) })
}

func (in *inbound) answer(id uint32, a *table.Answer) {
	a.Socket = in.handle(a.Socket)
	to, err := in.c.table.Answer(a)
	at, known := in.c.placeOf(to)
	if err == nil && !known {
		err = table.ErrNoOffer // its node is gone
	}
	if err != nil {
		in.refuse(id, err)
		return
	}
	in.respond(func(b []byte) []byte { return appendAnswered(b, id, at) })
}

func (in *inbound) scrape(id uint32, h table.Hash) {
	counts, err := in.c.table.Scrape(h)
	if err != nil {
		in.refuse(id, err)
		return
	}
	in.respond(func(b []byte) []byte { return appendScraped(b, id, counts) })
}

func (in *inbound) leave(h table.Hash, id table.ID, socket uint64) {
	in.c.table.LeaveWeb(h, id, in.handle(table.Handle(socket)))
}

func (in *inbound) send(socket uint64, message []byte) {
	if deliver := in.c.deliver.Load(); deliver != nil {
		(*deliver)(table.Handle(socket), message)
	}
}

func (in *inbound) probe(socket uint64) { in.c.Probe(table.Handle(socket)) }

// take returns the call that a reply is for; nil if there is none, or no more.
func (in *inbound) take(id uint32) call {
	in.from.mu.Lock()
	call := in.from.calls.take(id)
	in.from.mu.Unlock()
	if call != nil {
		in.c.waiting.Add(-1)
	}
	return call
}

func (in *inbound) announced(id uint32, r *table.Reply) {
	switch call := in.take(id).(type) {
	case nil:
	case *announceCall:
		call.done(r, nil)
	default:
		in.mistaken(call)
	}
}

func (in *inbound) webDone(id uint32, counts table.Counts, gave []given) {
	switch call := in.take(id).(type) {
	case nil:
	case *webCall:
		r := table.WebReply{Counts: counts}
		for _, g := range gave {
			if to, ok := in.c.handleOf(g.to); ok && g.offer < len(call.a.Offers) {
				r.Given = append(r.Given, table.Given{Offer: g.offer, To: to, ID: g.id})
			}
		}
		call.done(&r, nil)
	default:
		in.mistaken(call)
	}
}

func (in *inbound) answered(id uint32, at place) {
	switch call := in.take(id).(type) {
	case nil:
	case *answerCall:
		if to, ok := in.c.handleOf(at); ok {
			call.done(to, nil)
		} else {
			call.done(0, table.ErrNoOffer)
		}
	default:
		in.mistaken(call)
	}
}

func (in *inbound) scraped(id uint32, counts table.Counts) {
	switch call := in.take(id).(type) {
	case nil:
	case *scrapeCall:
		call.done(counts, nil)
	default:
		in.mistaken(call)
	}
}

func (in *inbound) refused(id uint32, err error) {
	if call := in.take(id); call != nil {
		call.fail(err)
	}
}

// mistaken ends a call that got the reply to another kind of request.
func (in *inbound) mistaken(call call) {
	in.c.unreadable(errMalformed)
	call.fail(errNoAnswer)
}

// placeOf says where a socket is that a handle names.
func (c *Cluster) placeOf(h table.Handle) (place, bool) {
	index := h >> socketBits
	if index > maxNodes {
		return place{}, false
	}
	n := c.byIndex[index].Load()
	if n == nil {
		return place{}, false
	}
	return place{key: n.key, socket: uint64(h) & maxSocketNum}, true
}

// handleOf is the reverse of placeOf; false if the node is not known.
func (c *Cluster) handleOf(p place) (table.Handle, bool) {
	if p.key == c.self.key {
		return table.Handle(p.socket), true
	}
	c.mu.Lock()
	n := c.nodes[p.key]
	c.mu.Unlock()
	if n == nil {
		return 0, false
	}
	return table.Handle(n.index)<<socketBits | table.Handle(p.socket), true
}
