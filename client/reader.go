package client

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/wire"
)

func stack() string { return string(debug.Stack()) }

// runReader reads messages until the connection ends.
func (p *peer) runReader() {
	defer p.recoverPanic()
	p.end(p.read())
}

func (p *peer) read() error {
	r := wire.NewReader(p.conn)
	var m wire.Message
	for {
		if err := r.Next(&m); err != nil {
			return err
		}
		now := time.Now()
		p.lastRead.Store(int64(now.Sub(p.joined)))
		var err error
		switch m.ID {
		case wire.KeepAlive:
		case wire.Piece:
			err = p.readBlock(r, &m, now)
		case wire.Request:
			p.serve(&m)
		case wire.Cancel:
			p.cancelServe(&m)
		default:
			m.Payload = append([]byte(nil), m.Payload...)
			err = p.post(event{message: m, at: now}, true)
		}
		if err != nil {
			return err
		}
	}
}

// maxUnrequested is by how many the blocks that we did not ask for, or no longer
// want, may exceed those that we did.
const maxUnrequested = 4096

// readBlock takes in the block of a Piece message.
func (p *peer) readBlock(r *wire.Reader, m *wire.Message, now time.Time) error {
	p.mu.Lock()
	req, ok := p.requests.take(m.Index, m.Begin, m.Length)
	left := p.requests.len()
	p.mu.Unlock()
	length := int(m.Length)
	if limiter := p.t.client.down; limiter != nil {
		for n := length; n > 0; n -= limiter.Burst() {
			if err := limiter.WaitN(p.t.ctx, min(n, limiter.Burst())); err != nil {
				return err
			}
		}
	}
	if !ok {
		// Cancelled too late, mostly.
		if p.unrequested++; p.unrequested > maxUnrequested {
			return fmt.Errorf("it sent more than %d blocks that it was not asked for", maxUnrequested)
		}
		p.count(length, length)
		return r.SkipBlock()
	}
	p.unrequested = max(p.unrequested-1, 0)
	memory := p.t.client.memory
	b := memory.Get()
	if err := r.ReadBlock(b[:length]); err != nil {
		memory.Put(b)
		return err
	}
	wasted := 0
	if !req.piece.Put(req.block, b, p.who) {
		memory.Put(b)
		wasted = length
	}
	p.count(length, wasted)
	p.lastPayload.Store(int64(time.Since(p.joined)))
	// The loop need not hear of every block at once, as long as it is in time to
	// ask for more: an eighth of the queue is.
	return p.post(event{
		message: wire.Message{ID: wire.Piece, Index: m.Index, Length: m.Length},
		piece:   req.piece, block: req.block, askedAt: req.at, at: now,
	}, left < 8 || left%8 == 0)
}

func (p *peer) count(n, wasted int) {
	p.received.Add(int64(n))
	p.t.downloaded.Add(int64(n))
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

// takeInbox returns what has come since the last call.
func (p *peer) takeInbox(spare []event) []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posted = false
	if len(p.inbox) == 0 {
		return nil
	}
	events := p.inbox
	p.inbox, p.inboxBytes = spare[:0], 0
	p.drained.Signal()
	return events
}

// serve queues a block that the peer asked for, or rejects it.
func (p *peer) serve(m *wire.Message) {
	b := wire.Block{Piece: m.Index, Begin: m.Begin, Length: m.Length}
	if p.mayServe(b) && p.w.Serve(b) {
		return
	}
	if p.reserved.Fast() {
		p.w.Send(wire.Message{ID: wire.Reject, Index: m.Index, Begin: m.Begin, Length: m.Length})
	}
}

func (p *peer) mayServe(b wire.Block) bool {
	info := p.t.Info()
	if info == nil || b.Length == 0 || b.Length > wire.MaxBlock || !p.t.verified.Load().has(int(b.Piece)) ||
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

// request is a block that the peer was asked for.
type request struct {
	piece *disk.Piece
	block int
	begin uint32
	at    time.Time
	// cancelled: it was taken back, but may still be answered.
	cancelled bool
}

// requestQueue holds requests in the order they were sent, which is mostly the
// order in which blocks come.
type requestQueue struct {
	items []request
	head  int
}

func (q *requestQueue) len() int { return len(q.items) - q.head }

func (q *requestQueue) push(r request) {
	if q.head > 64 && q.head*2 > len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, r)
}

func (q *requestQueue) take(piece, begin, length uint32) (request, bool) {
	for i := q.head; i < len(q.items); i++ {
		r := q.items[i]
		if uint32(r.piece.Index) != piece || r.begin != begin || uint32(r.piece.BlockLen(r.block)) != length {
			continue
		}
		copy(q.items[q.head+1:i+1], q.items[q.head:i])
		q.items[q.head] = request{}
		q.head++
		return r, true
	}
	return request{}, false
}

// takeIf takes out the requests for which match is true.
func (q *requestQueue) takeIf(match func(request) bool) (taken []request) {
	rest := q.items[:q.head]
	for _, r := range q.items[q.head:] {
		if match(r) {
			taken = append(taken, r)
		} else {
			rest = append(rest, r)
		}
	}
	clear(q.items[len(rest):])
	q.items = rest
	return taken
}

// cancelIf marks the requests for which match is true as cancelled, and returns those
// that were not before.
func (q *requestQueue) cancelIf(match func(request) bool) (cancelled []request) {
	for i := q.head; i < len(q.items); i++ {
		if r := &q.items[i]; !r.cancelled && match(*r) {
			cancelled = append(cancelled, *r)
			r.cancelled = true
		}
	}
	return cancelled
}

func (q *requestQueue) clear() { q.items, q.head = nil, 0 }
