package client

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/client/picker"
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
	if p.reserved.DHT() && t.client.dht != nil && t.mayDiscover() {
		p.w.Send(wire.Message{ID: wire.Port, Port: uint16(t.client.port())})
	}
}

// sendHave sends the pieces we have. Before the files were checked there are none;
// what turns up later is announced piece by piece.
func (t *Torrent) sendHave(p *peer) {
	have := t.verified.Load()
	n := 0
	if have != nil {
		n = have.count()
	}
	switch {
	case have != nil && n == have.n && p.reserved.Fast() && t.opts.Cache == 0:
		p.w.Send(wire.Message{ID: wire.HaveAll})
	case n > 0:
		p.w.Send(wire.Message{ID: wire.BitfieldID, Payload: have.bitfield()})
	case p.reserved.Fast():
		p.w.Send(wire.Message{ID: wire.HaveNone})
	}
	if p.reserved.Fast() && n > 0 && n == have.n {
		t.sendAllowedFast(p, have)
	}
}

func (t *Torrent) sendAllowedFast(p *peer, have *pieceSet) {
	allowed := make(map[uint32]struct{})
	for _, piece := range wire.AllowedFastSet(p.addr.Addr(), t.infoHash, have.n, allowedFastPieces) {
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
	if t.client.listener != nil {
		h.Port = t.client.port()
	}
	h.M[wire.ExtPEX] = 0 // switched off
	if t.mayExchangePeers() {
		h.M[wire.ExtPEX] = wire.OurPEX
	}
	if info := t.Info(); info != nil {
		h.MetadataSize = int64(len(info.Raw))
	}
	h.UploadOnly = t.isSeed()
	return wire.Message{ID: wire.Extended, Payload: h.Encode()}
}

// readInbox handles what a peer has sent.
func (t *Torrent) readInbox(p *peer, now time.Time) {
	events := p.takeInbox(t.loop.spareInbox)
	t.loop.spareInbox = nil
	for i := range events {
		if _, here := t.loop.peers[p]; !here {
			return
		}
		e := &events[i]
		if e.piece != nil {
			t.blockReceived(p, e)
			continue
		}
		if err := t.handle(p, &e.message, now); err != nil {
			t.drop(p, err)
			return
		}
	}
	clear(events)
	t.loop.spareInbox = events
	if len(events) > 0 {
		t.request(p, now)
	}
}

// handle does what one message asks for.
func (t *Torrent) handle(p *peer, m *wire.Message, now time.Time) error {
	switch m.ID {
	case wire.Choke:
		t.choked(p)
	case wire.Unchoke:
		p.choking, p.pick.Choking = false, false
	case wire.Interested:
		p.interested, t.loop.fillSoon = true, true
	case wire.NotInterested:
		p.interested = false
	case wire.Have, wire.BitfieldID, wire.HaveAll, wire.HaveNone:
		return t.peerHas(p, m)
	case wire.Reject:
		t.rejected(p, m)
	case wire.AllowedFast:
		if len(p.fastPieces) < maxFastPieces {
			p.fastPieces = append(p.fastPieces, int(m.Index))
		}
	case wire.Suggest:
		if len(p.suggested) >= maxSuggested {
			p.suggested = p.suggested[1:]
		}
		p.suggested = append(p.suggested, int(m.Index))
	case wire.Port:
		if t.client.dht != nil && t.mayDiscover() {
			t.client.dht.AddNode(netip.AddrPortFrom(p.addr.Addr(), m.Port))
		}
	case wire.Extended:
		return t.extended(p, m, now)
	}
	return nil
}

// choked: the peer serves us no more. Without the fast extension it has forgotten
// our requests; with it, each is still answered.
func (t *Torrent) choked(p *peer) {
	p.choking, p.pick.Choking = true, true
	if p.reserved.Fast() || t.loop.picker == nil {
		return
	}
	t.loop.picker.Forget(&p.pick)
	p.mu.Lock()
	p.requests.clear()
	p.mu.Unlock()
}

// rejected: the peer will not send a block (BEP 6).
func (t *Torrent) rejected(p *peer, m *wire.Message) {
	p.mu.Lock()
	r, ok := p.requests.take(m.Index, m.Begin, m.Length)
	p.mu.Unlock()
	if !ok || r.cancelled || t.loop.pieces[r.piece.Index] != r.piece {
		return
	}
	t.loop.picker.Unask(&p.pick, pickerRequest(r.piece.Index, r.block))
	// It is no help to ask for the same again at once.
	p.suggested = slices.DeleteFunc(p.suggested, func(i int) bool { return i == r.piece.Index })
	if p.choking {
		p.fastPieces = slices.DeleteFunc(p.fastPieces, func(i int) bool { return i == r.piece.Index })
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
	info := t.Info()
	if info == nil || t.loop.picker == nil {
		return p.early.add(m)
	}
	n, pk := info.NumPieces(), t.loop.picker
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
		pk.PeerHas(&p.pick, int(m.Index))
	case wire.BitfieldID:
		have, err := wire.ParseBitfield(m.Payload, n)
		if err != nil {
			return err
		}
		pk.PeerHasNone(&p.pick)
		if have.Count() == n {
			pk.PeerHasAll(&p.pick)
			break
		}
		for i := range n {
			if have.Has(i) {
				pk.PeerHas(&p.pick, i)
			}
		}
	case wire.HaveAll:
		pk.PeerHasAll(&p.pick)
	case wire.HaveNone:
		pk.PeerHasNone(&p.pick)
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
	if look || p.havePieces%seedCheckEvery == 0 || p.pick.Wanted() == 0 {
		p.isSeed = t.loop.picker.PeerIsSeed(&p.pick)
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
			p.candidate.seed = true
		}
		t.drop(p, errUseless)
	}
}

func (e *early) add(m *wire.Message) error {
	switch m.ID {
	case wire.Have:
		if len(e.haves) >= maxEarlyHaves {
			return fmt.Errorf("it sent more than %d pieces before the metadata was there", maxEarlyHaves)
		}
		e.haves = append(e.haves, m.Index)
	case wire.BitfieldID:
		*e = early{bitfield: m.Payload}
	case wire.HaveAll:
		*e = early{all: true}
	case wire.HaveNone:
		*e = early{}
	}
	return nil
}

// replay hands what a peer said early to the picker.
func (t *Torrent) replay(p *peer) error {
	e := p.early
	p.early = early{}
	var ms []wire.Message
	if e.all {
		ms = append(ms, wire.Message{ID: wire.HaveAll})
	}
	if e.bitfield != nil {
		ms = append(ms, wire.Message{ID: wire.BitfieldID, Payload: e.bitfield})
	}
	for _, i := range e.haves {
		ms = append(ms, wire.Message{ID: wire.Have, Index: i})
	}
	for i := range ms {
		if err := t.peerHas(p, &ms[i]); err != nil {
			return err
		}
	}
	return nil
}

// extended handles a message of the extension protocol (BEP 10).
func (t *Torrent) extended(p *peer, m *wire.Message, now time.Time) error {
	switch m.Ext {
	case 0:
		t.extHandshaken(p, wire.DecodeExtHandshake(m.Payload))
	case wire.OurMetadata:
		return t.metadataMessage(p, m.Payload, now)
	case wire.OurPEX:
		return t.peersExchanged(p, m.Payload, now)
	case wire.OurDontHave:
		piece, ok := wire.DecodeDontHave(m.Payload)
		if info := t.Info(); ok && info != nil && t.loop.picker != nil && int(piece) < info.NumPieces() {
			if p.isSeed {
				if p.havesAnew++; p.havesAnew > maxHavesAnew {
					return fmt.Errorf("it lost a piece of all %d times", p.havesAnew)
				}
			}
			t.loop.picker.PeerLost(&p.pick, int(piece))
			p.isSeed = false
		}
	}
	return nil
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
	if h.Port != 0 && p.addr.IsValid() {
		p.listen = netip.AddrPortFrom(p.addr.Addr(), uint16(h.Port))
		if c := t.loop.candidates.byAddr[p.listen]; c != nil && p.candidate == nil && !c.connected {
			c.connected, p.candidate = true, c // it is not dialled too
		}
	}
	if t.loop.phase == phaseMetadata {
		t.fetchMetadata(time.Now())
	}
}

func pickerRequest(piece, block int) picker.Request {
	return picker.Request{Piece: piece, Block: block}
}
