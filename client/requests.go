package client

import (
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/source"
	"github.com/causeway-bt/causeway/wire"
)

// requestAll asks every peer for more.
func (t *Torrent) requestAll(now time.Time) {
	l := &t.loop
	if l.phase != phaseLive {
		return
	}
	l.throttled = false
	l.content.GiveBack()
	for p := range l.peers {
		t.request(p, now)
	}
}

// throttledFor is how long a torrent that got less than it wanted counts as held back by
// its limits. At the end of a download it gets all that it wants; what is late then is
// asked of others, too.
const throttledFor = 2 * time.Second

// downLimits returns all that bound what is asked of a peer.
func (t *Torrent) downLimits(p *peer) [3]*allot.Rate {
	own, _ := p.swarm.Limits()
	return [3]*allot.Rate{own, t.down, t.client.down}
}

// allowed returns how many of n blocks the limits let us ask for now, and takes these
// from them. What does not come of them is given back with refund.
func (t *Torrent) allowed(p *peer, n int, now time.Time) int {
	limits := t.downLimits(p)
	granted := n
	for i, limit := range limits {
		got := limit.Take(t, granted, wire.BlockSize, now)
		for _, before := range limits[:i] {
			before.Give(t, int64(granted-got)*wire.BlockSize)
		}
		granted = got
	}
	if granted < n {
		t.loop.throttled, t.loop.throttledAt = true, now
	}
	return granted
}

// refund gives back to the limits what was asked for and will not come; less than 0
// for what comes without having been asked for. It may be called from any goroutine.
func (t *Torrent) refund(p *peer, bytes int64) {
	for _, limit := range t.downLimits(p) {
		limit.Give(t, bytes)
	}
}

// limited reports whether there is a limit on what a peer may send.
func (t *Torrent) limited(p *peer) bool {
	for _, limit := range t.downLimits(p) {
		if limit.Limited() {
			return true
		}
	}
	return false
}

// request asks a peer for as many blocks as its window has room for.
func (t *Torrent) request(p *peer, now time.Time) {
	l := &t.loop
	if l.phase != phaseLive {
		return
	}
	t.showInterest(p)
	c, s := l.content, p.Source
	room := s.Room(c.Streaming())
	if room <= 0 || s.Pick.Wanted() == 0 || s.Pick.Choking && len(s.Allowed) == 0 {
		return
	}
	limited := t.limited(p)
	if limited {
		if room = t.allowed(p, room, now); room == 0 {
			return
		}
	}
	// While we are the ones who wait, nobody is late, and nothing is asked for twice.
	c.Picker.SetThrottled(limited && now.Sub(l.throttledAt) < throttledFor)
	l.picks = l.picks[:0]
	if !s.Pick.Choking {
		if !c.Streaming() {
			l.picks = c.Picker.PickFrom(l.picks, &s.Pick, room, s.Suggested)
		}
		l.picks = c.Picker.Pick(l.picks, &s.Pick, room-len(l.picks))
	} else {
		l.picks = c.Picker.PickFrom(l.picks, &s.Pick, room, s.Allowed)
	}
	l.asks = c.Asked(l.asks[:0], l.picks, now)
	if limited { // of what was granted, what is not asked for; the last block is shorter
		rest := int64(room) * wire.BlockSize
		for _, r := range l.asks {
			rest -= int64(r.Length())
		}
		t.refund(p, rest)
	}
	s.Ask(l.asks, now)
	clear(l.asks)
}

// interestLasts is for how long a peer hears that we want something after we had all that
// readers want: who reads on would wait for the peer to unchoke us each time.
const interestLasts = 10 * time.Second

// showInterest tells the peer whether it has anything that we want.
func (t *Torrent) showInterest(p *peer) {
	want := p.Pick.Wanted() > 0
	switch c := t.loop.content; {
	case want:
		p.lastWanted = time.Now()
	case p.weInterested && c != nil && c.OnDemand() && !c.Cached():
		want = time.Since(p.lastWanted) < interestLasts
	}
	if want == p.weInterested {
		return
	}
	p.weInterested = want
	id := wire.NotInterested
	if want {
		id = wire.Interested
	}
	p.w.Send(wire.Message{ID: id})
}

// blockReceived notes that a block has come.
func (t *Torrent) blockReceived(p *peer, e *event) {
	p.Received(e.askedAt, e.at, int(e.message.Length))
	c := t.loop.content
	if t.loop.phase != phaseLive {
		return
	}
	for _, other := range c.Received(p.Source, e.piece, e.block) {
		late := other.Tag.(*source.Source)
		if c.Streaming() && late.LastBlock.Before(late.FirstAsked) {
			late.Tardy, other.Snubbing = true, true
		}
		if r, ok := late.Cancel(e.piece, e.block); ok {
			t.refund(late.Link.(*peer), int64(r.Length()))
		}
	}
}

// expireRequests takes back what a peer will not answer any more.
func (t *Torrent) expireRequests(p *peer, now time.Time) {
	for _, r := range p.Expired(now) {
		if !r.Cancelled {
			p.Cancel(r)
			t.takeBack(p.Source, r)
		}
	}
}

// takeBack makes a block that a source was asked for free to be asked anew.
func (t *Torrent) takeBack(s *source.Source, r source.Request) {
	t.refund(s.Link.(*peer), int64(r.Length()))
	if c := t.loop.content; c != nil {
		c.Unask(s, r)
	}
}

// Request implements source.Link.
func (p *peer) Request(rs []source.Request) { p.sendRequests(wire.Request, rs) }

// Cancel implements source.Link.
func (p *peer) Cancel(rs ...source.Request) { p.sendRequests(wire.Cancel, rs) }

func (p *peer) sendRequests(id wire.ID, rs []source.Request) {
	messages := make([]wire.Message, len(rs))
	for i, r := range rs {
		messages[i] = wire.Message{ID: id, Index: uint32(r.Piece.Index), Begin: r.Begin(), Length: r.Length()}
	}
	p.w.Send(messages...)
}

// MaxRequests implements source.Link.
func (p *peer) MaxRequests() int { return p.ext.Reqq }

// Close implements source.Link. It is for the event loop.
func (p *peer) Close(why error) { p.t.drop(p, why) }
