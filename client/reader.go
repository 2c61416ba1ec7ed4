package client

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
)

func stack() string { return string(debug.Stack()) }

const (
	// maxInbox and maxInboxBytes bound what waits for the loop; the reader then waits
	// too.
	maxInbox      = 4096
	maxInboxBytes = 256 << 10
	// maxUnrequested is by how many the blocks that we did not ask for, or no longer
	// want, may exceed those that we did.
	maxUnrequested = 4096
	// freeMessages is how many messages other than blocks, and requests that are served,
	// a peer may send at once, messagesPerSecond how many more as time goes by. Each block
	// allows another.
	freeMessages      = 4 << 10
	messagesPerSecond = 1000
	// bytesPerMessage is how many bytes of an extension message cost as much as a message
	// more.
	bytesPerMessage = 256
	// blockCost is what a block costs that was not asked for, or no longer.
	blockCost = 2
	// maxExtHandshakes bounds how often a peer may tell its extensions at once; each
	// extHandshakeInterval allows another.
	maxExtHandshakes     = 8
	extHandshakeInterval = time.Minute
	// maxExtHandshake is how long one may be, in bytes. Longer ones are passed over.
	maxExtHandshake = 16 << 10
	// readingTurn is how long a reader goes on before others run: a hundred that are
	// flooded must not keep the loop waiting for a hundred of the scheduler's turns.
	readingTurn = 200 * time.Microsecond
)

// readState is what the reader of a connection remembers.
type readState struct {
	unrequested   int       // blocks
	extHandshakes int       // that it sent
	lastPEX       time.Time // received
	messages      float64   // that it may still send
	counted       time.Time
	began         time.Time // when the reader last let others run
}

// runReader reads messages until the connection ends.
func (p *peer) runReader() {
	defer p.recoverPanic()
	p.end(p.read())
}

func (p *peer) read() error {
	r := wire.NewReader(p.conn)
	r.Bound(p.t.client.incoming, p.t.bitfieldLength)
	defer r.Close()
	p.reading = readState{messages: freeMessages, counted: p.joined}
	var m wire.Message
	for {
		if err := r.Next(&m); err != nil {
			return err
		}
		now := time.Now()
		p.lastRead.Store(int64(now.Sub(p.joined)))
		if now.Sub(p.reading.began) > readingTurn {
			runtime.Gosched()
			p.reading.began = time.Now()
		}
		var err error
		switch m.ID {
		case wire.KeepAlive:
			p.throttle(now, 1)
		case wire.Piece:
			err = p.readBlock(r, &m, now)
		case wire.Request:
			if !p.serve(&m) {
				p.throttle(now, 1)
			}
		case wire.Cancel:
			p.throttle(now, 1)
			p.cancelServe(&m)
		case wire.Extended:
			p.throttle(now, 1+len(m.Payload)/bytesPerMessage)
			err = p.readExtended(&m, now)
		default:
			p.throttle(now, 1)
			m.Payload = append([]byte(nil), m.Payload...)
			err = p.post(event{message: m, at: now}, true)
			m.Payload = nil // the loop has it
		}
		if err != nil {
			return err
		}
	}
}

// bitfieldLength returns how many bytes the bitfield of a peer has, 0 if that is not
// known yet.
func (t *Torrent) bitfieldLength() int {
	if info := t.Info(); info != nil {
		return (info.NumPieces() + 7) / 8
	}
	return 0
}

// throttle lets a peer that floods us wait: its messages take the loop's time, which
// others need too.
func (p *peer) throttle(now time.Time, cost int) {
	s := &p.reading
	s.messages = min(s.messages+now.Sub(s.counted).Seconds()*messagesPerSecond, freeMessages) - float64(cost)
	s.counted = now
	if s.messages < 0 {
		time.Sleep(time.Second / 10)
	}
}

// readExtended decodes a message of the extension protocol (BEP 10), which may be slow
// work and is not the loop's. What cannot be understood is passed over: peers say
// things that we do not know yet.
func (p *peer) readExtended(m *wire.Message, now time.Time) error {
	s := &p.reading
	e := event{message: wire.Message{ID: wire.Extended, Ext: m.Ext}, at: now}
	known := true
	switch m.Ext {
	case 0:
		if s.extHandshakes++; s.extHandshakes > maxExtHandshakes+int(now.Sub(p.joined)/extHandshakeInterval) {
			return fmt.Errorf("it told its extensions %d times", s.extHandshakes)
		}
		if len(m.Payload) > maxExtHandshake {
			return nil
		}
		e.decoded = wire.DecodeExtHandshake(m.Payload)
	case wire.OurMetadata:
		payload := append([]byte(nil), m.Payload...)
		e.decoded, known = wire.DecodeMetadataMessage(payload)
		e.message.Payload = payload // it counts as what waits
	case wire.OurPEX:
		if now.Sub(s.lastPEX) < minPEXInterval {
			return nil
		}
		s.lastPEX = now
		e.decoded = wire.DecodePEX(m.Payload)
	case wire.OurHolepunch:
		e.decoded, known = wire.DecodeHolepunch(m.Payload)
	case wire.OurDontHave:
		e.decoded, known = wire.DecodeDontHave(m.Payload)
	default:
		known = false
	}
	if !known {
		return nil
	}
	return p.post(e, true)
}

// readBlock takes in the block of a Piece message.
func (p *peer) readBlock(r *wire.Reader, m *wire.Message, now time.Time) error {
	req, left, ok := p.Arrived(m.Index, m.Begin, m.Length)
	length := int(m.Length)
	if ok {
		p.reading.messages++
	} else {
		p.throttle(now, blockCost)
	}
	if !ok || req.Cancelled {
		p.t.refund(p, -int64(length)) // what was given back has come all the same
	}
	if !ok {
		// Cancelled too late, mostly.
		if p.reading.unrequested++; p.reading.unrequested > maxUnrequested {
			return fmt.Errorf("it sent more than %d blocks that it was not asked for", maxUnrequested)
		}
		p.count(length, length)
		return r.SkipBlock()
	}
	p.reading.unrequested = max(p.reading.unrequested-1, 0)
	memory := p.t.client.memory
	b := memory.Get()
	if err := r.ReadBlock(b[:length]); err != nil {
		memory.Put(b)
		return err
	}
	wasted := 0
	if !req.Piece.Put(req.Block, b, p.Who) {
		memory.Put(b)
		wasted = length
	}
	p.count(length, wasted)
	p.lastPayload.Store(int64(time.Since(p.joined)))
	// The loop need not hear of every block at once, as long as it is in time to
	// ask for more: an eighth of the queue is.
	return p.post(event{
		message: wire.Message{ID: wire.Piece, Index: m.Index, Length: m.Length},
		piece:   req.Piece, block: req.Block, askedAt: req.At, at: now,
	}, left < 8 || left%8 == 0)
}

// count counts what came. What comes after drop, when the totals may have been saved, does
// not count any more.
func (p *peer) count(n, wasted int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	p.useful.Add(int64(n - wasted))
	p.received.Add(int64(n))
	p.t.downloaded.Add(int64(n))
	if p.kind == swarm.WebRTC {
		p.t.downloadedWeb.Add(int64(n))
	}
	if wasted > 0 {
		p.t.wasted.Add(int64(wasted))
	}
}

// post puts an event into the inbox, and with notify wakes the loop.
func (p *peer) post(e event, notify bool) error {
	p.mu.Lock()
	for (len(p.inbox) >= maxInbox || p.inboxBytes >= maxInboxBytes) && !p.gone {
		p.drained.Wait()
	}
	if p.gone {
		p.mu.Unlock()
		return ErrClosed
	}
	p.inbox = append(p.inbox, e)
	p.inboxBytes += len(e.message.Payload)
	tell := notify && !p.posted
	p.posted = p.posted || tell
	p.mu.Unlock()
	if tell {
		p.t.mail.fromPeer(p)
	}
	return nil
}

// takeInbox returns what has come since the last call, or (old) what was put back of
// that.
func (p *peer) takeInbox(spare []event) (events []event, old bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posted = false
	if len(p.unread) > 0 {
		events, p.unread = p.unread, nil
		return events, true
	}
	if len(p.inbox) == 0 {
		return spare[:0], false
	}
	events = p.inbox
	p.inbox, p.inboxBytes = spare[:0], 0
	p.drained.Signal()
	return events, false
}

// putBack keeps events for the next takeInbox. It reports whether the loop is to be told
// that there is something. old is what takeInbox said.
func (p *peer) putBack(events []event, old bool) (tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	if len(events) > 0 {
		p.unread = events
	}
	tell = (len(events) > 0 || old && len(p.inbox) > 0) && !p.posted
	p.posted = p.posted || tell
	return tell
}

// serve queues a block that the peer asked for, or rejects it.
func (p *peer) serve(m *wire.Message) bool {
	b := wire.Block{Piece: m.Index, Begin: m.Begin, Length: m.Length}
	if p.mayServe(b) && p.w.Serve(b) {
		return true
	}
	if p.reserved.Fast() {
		p.w.Send(wire.Message{ID: wire.Reject, Index: m.Index, Begin: m.Begin, Length: m.Length})
	}
	return false
}

func (p *peer) mayServe(b wire.Block) bool {
	c, info := p.t.content.Load(), p.t.Info()
	if c == nil || b.Length == 0 || b.Length > wire.MaxBlock || !c.Verified().Has(int(b.Piece)) ||
		int64(b.Begin)+int64(b.Length) > info.PieceSize(int(b.Piece)) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unchoked {
		return true
	}
	if _, allowed := p.allowedFast[b.Piece]; !allowed {
		return false
	}
	p.fastServed += int64(b.Length)
	return p.fastServed <= maxFastRepeats*allowedFastPieces*info.PieceLength
}

// maxFastRepeats is how often over a choked peer may have its allowed-fast pieces:
// who asks for more wants to go round the choker (BEP 6).
const maxFastRepeats = 2

// cancelServe takes a request back. With the fast extension every request is
// answered, so the peer is told that it was (BEP 6).
func (p *peer) cancelServe(m *wire.Message) {
	b := wire.Block{Piece: m.Index, Begin: m.Begin, Length: m.Length}
	if p.w.CancelServe(b) && p.reserved.Fast() {
		p.w.Send(wire.Message{ID: wire.Reject, Index: m.Index, Begin: m.Begin, Length: m.Length})
	}
}
