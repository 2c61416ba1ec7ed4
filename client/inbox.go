package client

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/client/content"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
)

// Bounds on what a peer may tell us.
const (
	maxFastPieces = 64
	maxSuggested  = 16
	// allowedFastPieces is how many pieces a newcomer may have while choked, so
	// that it has something to trade (BEP 6 suggests 10).
	allowedFastPieces = 10
)

// greet sends what a new peer is to know of us. It comes before anything else.
func (t *Torrent) greet(p *peer) {
	if p.reserved.Extended() {
		p.w.Send(t.extHandshake(p))
	}
	t.sendHave(p)
	if p.reserved.DHT() && t.client.shared.DHT != nil && t.mayDiscover() {
		p.w.Send(wire.Message{ID: wire.Port, Port: t.client.portFor(p.addr.Addr())})
	}
}

// sendHave sends the pieces we have. Before the files were checked there are none;
// what turns up later is announced piece by piece.
func (t *Torrent) sendHave(p *peer) {
	n, all := 0, false
	var have *content.Set
	if t.loop.phase == phaseLive {
		have = t.loop.content.Verified()
		n = have.Count()
		all = n > 0 && n == have.Len()
	}
	switch {
	case all && p.reserved.Fast() && t.opts.Cache == 0:
		p.w.Send(wire.Message{ID: wire.HaveAll})
	case n > 0:
		p.w.Send(wire.Message{ID: wire.BitfieldID, Payload: have.Bitfield()})
	case p.reserved.Fast():
		p.w.Send(wire.Message{ID: wire.HaveNone})
	}
	if p.reserved.Fast() && all {
		t.sendAllowedFast(p, have.Len())
	}
}

func (t *Torrent) sendAllowedFast(p *peer, pieces int) {
	allowed := make(map[uint32]struct{})
	for _, piece := range wire.AllowedFastSet(p.addr.Addr(), p.swarm.InfoHash(), pieces, allowedFastPieces) {
		allowed[piece] = struct{}{}
		p.w.Send(wire.Message{ID: wire.AllowedFast, Index: piece})
	}
	p.mu.Lock()
	p.allowedFast = allowed
	p.mu.Unlock()
}

// ourReqq is what we tell peers that we queue of theirs.
const ourReqq = wire.MaxServeQueue

func (t *Torrent) extHandshake(p *peer) wire.Message {
	h := wire.ExtHandshake{
		M:       map[string]byte{wire.ExtMetadata: wire.OurMetadata, wire.ExtDontHave: wire.OurDontHave},
		Version: "Causeway " + Version,
		Reqq:    ourReqq,
		YourIP:  p.addr.Addr(),
	}
	if t.client.listener != nil || t.client.utp != nil {
		p.toldPort = t.client.portFor(p.addr.Addr())
		h.Port = int(p.toldPort)
	}
	h.M[wire.ExtPEX] = 0 // switched off
	if t.mayExchangePeers() {
		h.M[wire.ExtPEX] = wire.OurPEX
	}
	h.M[wire.ExtHolepunch] = 0
	if t.mayPunch(p.kind) {
		h.M[wire.ExtHolepunch] = wire.OurHolepunch
	}
	if info := t.Info(); info != nil {
		h.MetadataSize = int64(len(info.Raw))
	}
	h.UploadOnly = t.isSeed()
	return wire.Message{ID: wire.Extended, Payload: h.Encode()}
}

const (
	// inboxTurn is how long the messages of one peer are read before others have their
	// turn: a hundred that flood us delay nobody for long.
	inboxTurn = time.Millisecond
	// inboxStride is after how many messages the clock is looked at.
	inboxStride = 16
)

// readInbox handles what a peer has sent, or a part of it: the rest comes back into the
// mailbox.
func (t *Torrent) readInbox(p *peer, now time.Time) {
	events, old := p.takeInbox(t.loop.spareInbox)
	t.loop.spareInbox = nil
	began := time.Now()
	done := 0
	for i := range events {
		if _, here := t.loop.peers[p]; !here {
			return
		}
		if i > 0 && (i%inboxStride == 0 || len(events[i-1].message.Payload) > 0) && time.Since(began) > inboxTurn {
			break
		}
		e := &events[i]
		done++
		if e.piece != nil {
			t.blockReceived(p, e)
			continue
		}
		if err := t.handle(p, e, now); err != nil {
			t.drop(p, err)
			return
		}
	}
	clear(events[:done])
	if p.putBack(events[done:], old) {
		t.mail.fromPeer(p)
	}
	if done == len(events) {
		t.loop.spareInbox = events
	}
	if done > 0 {
		t.request(p, now)
	}
}

// handle does what one message asks for.
func (t *Torrent) handle(p *peer, e *event, now time.Time) error {
	switch m := &e.message; m.ID {
	case wire.Choke:
		return t.choked(p, now)
	case wire.Unchoke:
		p.Pick.Choking = false
	case wire.Interested:
		p.interested, t.loop.fillSoon = true, true
	case wire.NotInterested:
		p.interested = false
	case wire.Have, wire.BitfieldID, wire.HaveAll, wire.HaveNone:
		return t.peerHas(p, m)
	case wire.Reject:
		t.rejected(p, m)
	case wire.AllowedFast:
		if len(p.Allowed) < maxFastPieces {
			p.Allowed = append(p.Allowed, int(m.Index))
		}
	case wire.Suggest:
		if len(p.Suggested) >= maxSuggested {
			p.Suggested = p.Suggested[1:]
		}
		p.Suggested = append(p.Suggested, int(m.Index))
	case wire.Port:
		if t.client.shared.DHT != nil && t.mayDiscover() {
			t.client.shared.DHT.AddNode(netip.AddrPortFrom(p.addr.Addr(), m.Port))
		}
	case wire.Extended:
		return t.extended(p, e, now)
	}
	return nil
}

// choked: the peer serves us no more. Without the fast extension it has forgotten
// our requests; with it, each is still answered.
func (t *Torrent) choked(p *peer, now time.Time) error {
	if !p.Pick.Choking {
		// Each time takes a look at all that is asked for.
		p.chokes = max(p.chokes-now.Sub(p.lastChoke).Seconds(), 0) + 1
		if p.lastChoke = now; p.chokes > maxChokes {
			return errors.New("it chokes and unchokes us all the time")
		}
	}
	p.Pick.Choking = true
	if p.reserved.Fast() || t.loop.phase != phaseLive {
		return nil
	}
	t.loop.content.Picker.Forget(&p.Pick)
	for _, r := range p.Forget() {
		t.refund(p, int64(r.Length()))
	}
	return nil
}

// maxChokes is how often a peer may choke us at once; a second allows another. Honest
// ones look at it every few seconds (BEP 3: ten).
const maxChokes = 64

// rejected: the peer will not send a block (BEP 6).
func (t *Torrent) rejected(p *peer, m *wire.Message) {
	r, ok := p.Take(m.Index, m.Begin, m.Length)
	if !ok || r.Cancelled {
		return
	}
	t.takeBack(p.Source, r)
	// It is no help to ask for the same again at once.
	isThis := func(i int) bool { return i == r.Piece.Index }
	p.Suggested = slices.DeleteFunc(p.Suggested, isThis)
	if p.Pick.Choking {
		p.Allowed = slices.DeleteFunc(p.Allowed, isThis)
	} else if p.rejects++; p.rejects > maxRejects {
		t.drop(p, fmt.Errorf("it rejected %d requests while it had unchoked us", p.rejects))
	}
}

// maxRejects bounds how often an unchoking peer may refuse, so that the two of us
// do not go on for ever.
const maxRejects = 5000

// peerHas takes in which pieces a peer has. Bitfields are accepted late and more
// than once: webtorrent.js sends its own when it gets to it.
func (t *Torrent) peerHas(p *peer, m *wire.Message) error {
	if t.loop.phase != phaseLive {
		return p.early.add(m, t.client.early)
	}
	n, pk := t.Info().NumPieces(), t.loop.content.Picker
	if m.ID != wire.Have {
		if p.havesAnew++; p.havesAnew > maxHavesAnew {
			return fmt.Errorf("it told all its pieces anew %d times", p.havesAnew)
		}
	}
	switch m.ID {
	case wire.Have:
		if m.Index >= uint32(n) {
			return fmt.Errorf("it has piece %d of %d", m.Index, n)
		}
		pk.PeerHas(&p.Pick, int(m.Index))
	case wire.BitfieldID:
		have, err := wire.ParseBitfield(m.Payload, n)
		if err != nil {
			return err
		}
		pk.PeerHasNone(&p.Pick)
		if have.Count() == n {
			pk.PeerHasAll(&p.Pick)
			break
		}
		for i := range n {
			if have.Has(i) {
				pk.PeerHas(&p.Pick, i)
			}
		}
	case wire.HaveAll:
		pk.PeerHasAll(&p.Pick)
	case wire.HaveNone:
		pk.PeerHasNone(&p.Pick)
	}
	p.havePieces++
	t.peerChanged(p, m.ID != wire.Have)
	return nil
}

// maxHavesAnew bounds how often a peer may replace all it has told of its pieces, and
// how often it may lose one after having had all: each takes time for every piece.
const maxHavesAnew = 64

// seedCheckEvery is after how many Have messages a peer is looked at for being a
// seed now: to count its pieces takes a while.
const seedCheckEvery = 16

// peerChanged follows a change in what a peer has.
func (t *Torrent) peerChanged(p *peer, look bool) {
	if look || p.havePieces%seedCheckEvery == 0 || p.Pick.Wanted() == 0 {
		p.isSeed = t.loop.content.Picker.PeerIsSeed(&p.Pick)
	}
	if t.loop.phase != phaseLive {
		return
	}
	t.showInterest(p)
	t.dropIfBothSeeds(p)
}

// dropIfBothSeeds ends connections between seeds, which have nothing to say.
func (t *Torrent) dropIfBothSeeds(p *peer) {
	if p.isSeed && t.isSeed() {
		if p.candidate != nil {
			p.candidate.Seed = true
		}
		t.drop(p, errUseless)
	}
}

// extended handles a message of the extension protocol (BEP 10).
func (t *Torrent) extended(p *peer, e *event, now time.Time) error {
	switch d := e.decoded.(type) {
	case wire.ExtHandshake:
		t.extHandshaken(p, d)
	case wire.MetadataMessage:
		return t.metadataMessage(p, d, now)
	case wire.PEXMessage:
		t.peersExchanged(p, d)
	case wire.HolepunchMessage:
		t.holepunched(p, d, now)
	case uint32:
		return t.peerLost(p, int(d))
	}
	return nil
}

// peerLost: the peer no longer has a piece (BEP 54).
func (t *Torrent) peerLost(p *peer, piece int) error {
	if t.loop.phase != phaseLive || piece >= t.Info().NumPieces() {
		return nil
	}
	if p.isSeed {
		if p.havesAnew++; p.havesAnew > maxHavesAnew {
			return fmt.Errorf("it lost a piece of all %d times", p.havesAnew)
		}
	}
	t.loop.content.Picker.PeerLost(&p.Pick, piece)
	p.isSeed = false
	return nil
}

// listensAt notes where a peer that dialled us accepts connections, so that it is not dialled too.
func (p *peer) listensAt(addr netip.AddrPort) {
	p.listen = addr
	if c := p.swarm.Candidate(addr); c != nil && p.candidate == nil && !c.InUse() {
		c.Connected()
		p.candidate = c
	}
}

// extHandshaken adds what a peer says in an extension handshake, perhaps not its
// first, to what we know.
func (t *Torrent) extHandshaken(p *peer, h wire.ExtHandshake) {
	if p.ext.M == nil {
		p.ext = h
	} else {
		for name, n := range h.M {
			p.ext.M[name] = n
		}
		p.ext.UploadOnly = h.UploadOnly
		if h.MetadataSize != 0 {
			p.ext.MetadataSize = h.MetadataSize
		}
		if h.Reqq != 0 {
			p.ext.Reqq = h.Reqq
		}
	}
	if h.Port != 0 && p.addr.IsValid() && p.kind != swarm.UTP {
		p.listensAt(netip.AddrPortFrom(p.addr.Addr(), uint16(h.Port)))
	}
	t.client.heardOfUs(p, h)
	if t.loop.phase == phaseMetadata {
		t.fetchMetadata(time.Now())
	}
}
