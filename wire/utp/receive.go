package utp

import (
	"net"
	"syscall"
	"time"
)

const (
	// firstReceive is the first window that a peer gets, and maxReceive the largest one, in bytes: 12.5 MB/s
	// at a round trip of 330 ms.
	firstReceive = 256 << 10
	maxReceive   = 4 << 20
	// growWithin is how fast half of a window must be read for it to grow: in the longest round trip for
	// which it is to be filled.
	growWithin = 500 * time.Millisecond
	// maxReorder is how many packets after a missing one are kept; with a small window fewer, one for
	// each leastEarly bytes of it.
	maxReorder = 4096
	// ackPast is how old an acknowledgement may be, in packets: packets overtake each other.
	ackPast = 4096
	// leastEarly is the size of the smallest buffer for a packet that came too early, in bytes; all are
	// powers of two.
	leastEarly = 256
)

// receiver is the receiving half of a connection.
type receiver struct {
	ack   uint16 // the last packet that came in order
	buf   ring   // in order, and not yet read
	early []early
	// highest is the latest early packet; count, bytes, and held, which is the memory that the bytes
	// take, are of all of them.
	highest uint16
	count   int
	bytes   int
	held    int

	limit int  // of bytes in buf and, again, of those in early: together they may come to twice that
	eof   bool // all has come
	owed  bool // an acknowledgement
	told  int  // the window that the peer was told last

	read  int // bytes since readAt
	since moment
}

// early is a packet that came before one in front of it.
type early struct {
	buf *[]byte // nil: none
	n   int
	fin bool
}

// holds returns how much memory n bytes take that came early.
func holds(n int) int {
	size := leastEarly
	for size < n {
		size *= 2
	}
	return size
}

func (e *early) set(p *packet) {
	e.buf = take(holds(len(p.payload)))
	e.n = copy(*e.buf, p.payload)
	e.fin = p.typ == typeFin
}

func (e *early) free() {
	give(e.buf)
	*e = early{}
}

func (r *receiver) release() {
	for i := range r.early {
		if r.early[i].buf != nil {
			r.early[i].free()
		}
	}
	r.early, r.count, r.bytes, r.held = nil, 0, 0, 0
}

func (r *receiver) window() int { return max(r.limit-r.buf.len()-r.bytes, 0) }

// space returns how many bytes may come in order. What came early does not count: a peer that sent more than it
// was allowed, going by an old window, would wait for ever for the packet in front of that.
func (r *receiver) space() int { return max(r.limit-r.buf.len(), 0) }

// deliver handles a packet, which came in at the moment at.
func (c *Conn) deliver(p *packet, now, at moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == over:
		return
	case p.typ == typeReset:
		c.onReset(p)
		return
	case c.state == opening:
		if p.typ == typeState && p.ack == c.synSeq {
			c.opened(p, now, at)
		}
		return
	case before(c.tx.nxt-1, p.ack) || before(p.ack, c.tx.una-1-ackPast):
		return // of what was never sent, or too old to be true
	}
	c.heard = now
	c.diff = stamp(at) - p.timestamp
	if p.large > 0 && c.s.near(c.addr.Addr()) {
		c.mtu.allow(c.addr.Addr(), p.large)
	}
	c.onAck(p, now, at)
	if p.typ != typeState && c.state != over {
		c.onData(p)
	}
}

// onReset ends the connection, if the reset names a packet that may be on its way: others can guess
// neither that nor the connection's number.
func (c *Conn) onReset(p *packet) {
	if c.state == opening {
		if p.ack == c.synSeq {
			c.die(syscall.ECONNREFUSED)
		}
		return
	}
	if before(p.ack, c.tx.una-1) || before(c.tx.nxt, p.ack) {
		return
	}
	if c.state == closing {
		c.die(net.ErrClosed)
		return
	}
	c.die(syscall.ECONNRESET)
}

// onData handles a packet that carries data, or a FIN.
func (c *Conn) onData(p *packet) {
	r := &c.rx
	r.owed = true
	nth := int16(p.seq - r.ack)
	switch {
	case nth <= 0 || nth > maxReorder || r.eof:
		return // once more, or out of all bounds
	case nth == 1 && len(p.payload) > r.space(), nth > 1 && len(p.payload) > r.window():
		return // more than was allowed, or a probe of the window
	case nth == 1:
		c.accept(p.payload, p.typ == typeFin)
		for r.count > 0 && !r.eof {
			e := &r.early[(r.ack+1)&uint16(len(r.early)-1)]
			if e.buf == nil {
				break
			}
			taken := *e // a FIN frees all that is kept
			*e = early{}
			r.count--
			r.bytes -= taken.n
			r.held -= len(*taken.buf)
			c.accept((*taken.buf)[:taken.n], taken.fin)
			taken.free()
		}
		return
	}
	if c.state == open { // else nobody reads it
		r.keep(p, int(nth))
	}
}

// accept takes what comes next.
func (c *Conn) accept(b []byte, fin bool) {
	c.rx.ack++
	if c.state == open {
		c.rx.buf.write(b)
	}
	if fin {
		c.rx.eof = true
		c.rx.release()
	}
}

// keep puts aside a packet that is the nth after the last one in order. Small packets take more memory than
// they count in the window, and those without data would take it though that is closed: both bounds
// are of what a peer can make us hold.
func (r *receiver) keep(p *packet, nth int) {
	if nth > r.limit/leastEarly || r.held+holds(len(p.payload)) > 2*r.limit {
		return
	}
	if nth >= len(r.early) {
		size := max(len(r.early), 64)
		for size <= nth {
			size *= 2
		}
		grown := make([]early, size)
		for i := range len(r.early) {
			seq := r.ack + 1 + uint16(i)
			grown[seq&uint16(size-1)] = r.early[seq&uint16(len(r.early)-1)]
		}
		r.early = grown
	}
	e := &r.early[p.seq&uint16(len(r.early)-1)]
	if e.buf != nil {
		return
	}
	e.set(p)
	if r.count == 0 || before(r.highest, p.seq) {
		r.highest = p.seq
	}
	r.count++
	r.bytes += e.n
	r.held += len(*e.buf)
}

// sack appends the bitmap of what came early: its first bit is for the second packet after
// the last one in order.
func (r *receiver) sack(b []byte) []byte {
	last := int(r.highest - r.ack - 2)
	n := min((last/8+4)&^3, maxSack)
	at := len(b) + 2
	b = append(b, extEnd, byte(n))
	b = append(b, zeros[:n]...)
	for i := 0; i <= last && i < 8*n; i++ {
		if r.early[(r.ack+2+uint16(i))&uint16(len(r.early)-1)].buf != nil {
			b[at+i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// sendState sends an acknowledgement.
func (c *Conn) sendState(now moment) {
	h := header{
		typ: typeState, id: c.sendID, timestamp: stamp(now), diff: c.diff,
		window: uint32(c.rx.window()), seq: c.tx.nxt, ack: c.rx.ack,
	}
	b := c.scratch[:headerSize]
	if c.rx.count > 0 {
		h.put(b, extSack)
		b = c.rx.sack(b)
	} else {
		h.put(b, extEnd)
	}
	c.write1(b)
	c.acked(now)
}

// acked notes that a packet with an acknowledgement went out.
func (c *Conn) acked(now moment) {
	c.rx.owed = false
	c.rx.told = c.rx.window()
	c.lastSent = now
}

// wasRead makes the window larger if n bytes were read so soon that it may be what holds the peer back, and
// tells the peer when a window opens that was nearly closed.
func (c *Conn) wasRead(n int) {
	r := &c.rx
	if c.state != open {
		return
	}
	if c.heard-r.since > growWithin {
		r.read, r.since = 0, c.heard
	}
	if r.read += n; r.read > r.limit/2 && r.limit < maxReceive {
		r.read, r.since = 0, c.heard
		if more := int64(r.limit); c.s.reserved.Add(more) <= receiveBudget {
			r.limit *= 2
		} else {
			c.s.reserved.Add(-more)
		}
	}
	if r.told < r.limit/4 && r.window() >= r.told+r.limit/4 {
		now := c.s.now()
		c.sendState(now)
		c.arm(now)
	}
}

// dropUnread frees what nobody will read any more.
func (c *Conn) dropUnread() {
	c.rx.buf.release()
	c.rx.release()
}
