package client

import (
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/wire"
)

const (
	// startWindow is how many blocks are asked of a peer of which nothing is known:
	// 512 KiB, which 100 ms at 5 MB/s take.
	startWindow = 32
	// minWindow is how many are asked of the slowest.
	minWindow = 3
	// snubbedWindow is how many are asked of a peer that has stopped sending.
	snubbedWindow = 1
	// defaultReqq is how many requests a peer queues that does not say (BEP 10
	// leaves it open; libtorrent takes 250).
	defaultReqq = 250
	// maxWindow bounds the requests to one peer: 16 MiB.
	maxWindow = 1024
	// slackTime is for how long, at the measured rate, a peer has requests beyond
	// those that its round trip needs: what our own delays must not exceed.
	slackTime = 250 * time.Millisecond
	// sampleTime is over how long a rate is measured to follow a peer that is
	// still getting faster.
	sampleTime = 50 * time.Millisecond
)

// window decides how many blocks a peer may owe us: its rate times its round trip,
// twice over so that the rate can double with each, plus slack. It is nobody's
// fixed number: a fast distant peer has hundreds, a slow one three.
type window struct {
	roundTrip time.Duration // the shortest seen from a request to its block
	rate      float64       // bytes per second, of the last samples
	average   float64       // the same, smoothed
	since     time.Time     // start of the sample
	bytes     int64         // in the sample
}

func newWindow() window { return window{} }

// received notes a block.
func (w *window) received(askedAt, at time.Time, n int) {
	if d := at.Sub(askedAt); w.roundTrip == 0 || d < w.roundTrip {
		w.roundTrip = max(d, time.Microsecond)
	}
	if w.since.IsZero() {
		w.since = at
		return
	}
	w.bytes += int64(n)
	elapsed := at.Sub(w.since)
	if elapsed < sampleTime {
		return
	}
	rate := float64(w.bytes) / elapsed.Seconds()
	// It follows a rise at once, and a fall slowly: a lull says little.
	w.rate = max(rate, w.rate+0.1*(rate-w.rate))
	if w.average == 0 {
		w.average = rate
	}
	w.average += 0.25 * (rate - w.average)
	w.since, w.bytes = at, 0
}

// blocks returns how many blocks the peer may owe.
func (w *window) blocks() int {
	if w.rate == 0 {
		return startWindow
	}
	need := w.rate * (2*w.roundTrip + slackTime).Seconds()
	return max(int(need/wire.BlockSize)+1, minWindow)
}

const (
	// hurriedStart is how many blocks are asked of an unknown peer while a player
	// waits, so that several peers share a piece.
	hurriedStart = 8
	// hurriedSlack replaces slackTime while a player waits: what is queued at a peer
	// comes before what a seek asks for.
	hurriedSlack = 40 * time.Millisecond
)

// hurriedBlocks is blocks while a player waits.
func (w *window) hurriedBlocks() int {
	if w.rate == 0 {
		return hurriedStart
	}
	need := w.average * (w.roundTrip + hurriedSlack).Seconds()
	return max(int(need/wire.BlockSize)+1, minWindow)
}

// hurry returns how long a request of what a player waits for may take before
// another peer is asked too.
func (p *peer) hurry() time.Duration {
	if p.window.rate < 1 {
		return 2 * minHurry
	}
	queue := float64(p.pick.InFlight()+1) * wire.BlockSize / p.window.rate
	return min(2*time.Duration(queue*float64(time.Second))+2*p.window.roundTrip+minHurry, maxHurry)
}

// minHurry and maxHurry bound it.
const (
	minHurry = 150 * time.Millisecond
	maxHurry = time.Second
)

// room returns how many more blocks may be asked of a peer.
func (p *peer) room() int {
	n := p.window.blocks()
	switch {
	case p.pick.Snubbing:
		n = snubbedWindow
	case p.t.loop.streaming:
		n = p.window.hurriedBlocks()
	}
	reqq := p.ext.Reqq
	if reqq == 0 {
		reqq = defaultReqq
	}
	return min(n, reqq, maxWindow) - p.pick.InFlight()
}

const (
	// snubAfter is how long a peer that owes blocks may send none before others
	// are asked too.
	snubAfter = 4 * time.Second
	// minPatience and maxPatience bound how long one request may take.
	minPatience = 3 * time.Second
	maxPatience = time.Minute
)

// snubbing reports whether a peer that owes blocks has stopped sending.
func (p *peer) snubbing(now time.Time) bool {
	if p.pick.InFlight() == 0 {
		return false
	}
	last := p.lastBlock
	if p.firstAsked.After(last) {
		last = p.firstAsked
	}
	return now.Sub(last) > snubAfter
}

// patience returns how long a request to the peer may take: twice what its queue
// needs at its rate.
func (p *peer) patience() time.Duration {
	if p.window.rate < 1 {
		return 2 * minPatience
	}
	queue := float64(p.pick.InFlight()+1) * wire.BlockSize / p.window.rate
	d := 2*time.Duration(queue*float64(time.Second)) + 2*p.window.roundTrip + minPatience
	return min(d, maxPatience)
}

const (
	// giveUpAfter is how long a peer that owes blocks may send none before they are
	// asked anew, of it too: it has forgotten them, most likely. It must be long
	// enough for one block of the slowest.
	giveUpAfter = 20 * time.Second
	// requestLife is after what time a request that later ones have overtaken is
	// taken back.
	requestLife = 2 * maxPatience
)

// expireRequests takes back what a peer will not answer any more.
func (t *Torrent) expireRequests(p *peer, now time.Time) {
	last := p.lastBlock
	if p.firstAsked.After(last) {
		last = p.firstAsked
	}
	dead := now.Sub(last) > giveUpAfter
	p.mu.Lock()
	expired := p.requests.takeIf(func(r request) bool {
		age := now.Sub(r.at)
		return age > requestLife || dead && age > giveUpAfter
	})
	p.mu.Unlock()
	for _, r := range expired {
		t.takeBack(p, r)
	}
}

// takeBack makes a block that a peer was asked for free to be asked anew.
func (t *Torrent) takeBack(p *peer, r request) {
	if r.cancelled {
		return
	}
	if t.loop.pieces[r.piece.Index] == r.piece {
		t.loop.picker.Unask(&p.pick, pickerRequest(r.piece.Index, r.block))
	}
	p.w.Send(cancelMessage(r))
}

// requestAll asks every peer for more.
func (t *Torrent) requestAll(now time.Time) {
	t.giveBack()
	for p := range t.loop.peers {
		t.request(p, now)
	}
}

// request asks a peer for as many blocks as its window has room for.
func (t *Torrent) request(p *peer, now time.Time) {
	l := &t.loop
	if l.phase != phaseLive {
		return
	}
	t.showInterest(p)
	room := p.room()
	if room <= 0 || p.pick.Wanted() == 0 {
		return
	}
	l.picks = l.picks[:0]
	if !p.choking {
		if !l.streaming {
			l.picks = l.picker.PickFrom(l.picks, &p.pick, room, p.suggested)
		}
		l.picks = l.picker.Pick(l.picks, &p.pick, room-len(l.picks))
	} else {
		l.picks = l.picker.PickFrom(l.picks, &p.pick, room, p.fastPieces)
	}
	if len(l.picks) == 0 {
		return
	}
	if p.pick.InFlight() == len(l.picks) {
		p.firstAsked = now
	}
	messages := make([]wire.Message, len(l.picks))
	p.mu.Lock()
	for i, r := range l.picks {
		piece := l.pieces[r.Piece]
		begin := uint32(r.Block) * wire.BlockSize
		p.requests.push(request{piece: piece, block: r.Block, begin: begin, at: now})
		messages[i] = wire.Message{
			ID: wire.Request, Index: uint32(r.Piece), Begin: begin, Length: uint32(piece.BlockLen(r.Block)),
		}
	}
	p.mu.Unlock()
	p.w.Send(messages...)
}

// showInterest tells the peer whether it has anything that we want.
func (t *Torrent) showInterest(p *peer) {
	want := p.pick.Wanted() > 0
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
	p.lastBlock = e.at
	p.pick.Snubbing, p.tardy = false, false
	p.window.received(e.askedAt, e.at, int(e.message.Length))
	if t.loop.pieces[e.piece.Index] != e.piece {
		return // the piece has ended since
	}
	r := pickerRequest(e.piece.Index, e.block)
	for _, other := range t.loop.picker.Received(&p.pick, r) {
		late := other.Tag.(*peer)
		if t.loop.streaming && late.lastBlock.Before(late.firstAsked) {
			late.tardy, other.Snubbing = true, true
		}
		t.cancelRequest(late, e.piece, e.block)
	}
}

// beginPiece opens a piece for the picker, if there is memory for it.
func (t *Torrent) beginPiece(index int, stretch bool) bool {
	begin := func() *disk.Piece { return t.storage.Load().Begin(index, stretch, t.loop.suspects[index] != nil) }
	piece := begin()
	if piece == nil {
		if stranded := t.loop.picker.Stranded(); stranded >= 0 && t.abandon(stranded) {
			piece = begin()
		}
	}
	if piece == nil {
		return false
	}
	t.loop.pieces[index] = piece
	return true
}

// abandon gives up an open piece and its memory. It reports false if the piece is
// about to end by itself.
func (t *Torrent) abandon(index int) bool {
	piece := t.loop.pieces[index]
	if piece == nil || !piece.Drop() {
		return false
	}
	delete(t.loop.pieces, index)
	t.loop.picker.Abandon(index)
	return true
}

// cancelRequest tells a peer that a block is no longer needed.
func (t *Torrent) cancelRequest(p *peer, piece *disk.Piece, block int) {
	p.mu.Lock()
	r, ok := p.requests.take(uint32(piece.Index), uint32(block)*wire.BlockSize, uint32(piece.BlockLen(block)))
	p.mu.Unlock()
	if ok {
		p.w.Send(cancelMessage(r))
	}
}

func cancelMessage(r request) wire.Message {
	return wire.Message{
		ID: wire.Cancel, Index: uint32(r.piece.Index), Begin: r.begin, Length: uint32(r.piece.BlockLen(r.block)),
	}
}
