package utp

import (
	"errors"
	"syscall"
	"time"
)

const (
	// maxFlight bounds the packets that are not acknowledged: less than half of all numbers.
	maxFlight = 16 << 10
	// leastSend and mostSend bound the bytes that Write takes ahead of the peer.
	// A lost packet holds up the acknowledgement of all after it for two to three round trips:
	// that many windows, and what is to follow.
	leastSend   = 128 << 10
	mostSend    = maxRing
	sendWindows = 4
	// paceBurst is the time whose packets are sent at once: timers are not more exact than that.
	paceBurst = time.Millisecond
	// paceCredit is how much of the time in which a busy machine did not come to send is made up for.
	paceCredit = 15 * time.Millisecond
	// unpaced is the round trip below which the window alone holds data back: pauses would be shorter than
	// timers can make them.
	unpaced = 2 * time.Millisecond
)

// sent is a packet that waits for its acknowledgement.
type sent struct {
	off         uint64 // of its first byte in the stream
	at          moment // when it was sent last
	delivered   int64  // bytes delivered until then,
	deliveredAt moment // and when the last of them were
	firstAt     moment // and sent
	size        int32  // payload, bytes
	probe       int32  // size of the packet that tries the path, 0: none
	tries       uint8
	done        bool // the peer has it
	lost        bool // to be sent again
	whole       bool // nobody could cut it on its way, when it was sent last
	fin         bool
}

// wire returns what a packet counts in the window.
func (p *sent) wire() int { return int(p.size) + headerSize }

// sender is the sending half of a connection.
type sender struct {
	buf      ring // from the first byte that is not acknowledged
	unaOff   uint64
	nxtOff   uint64
	una, nxt uint16 // the oldest packet that is not acknowledged, and the next one
	pkts     []sent
	inflight int // bytes sent, of which neither arrival nor loss is known
	arrived  int // bytes of packets that arrived before an older one
	lost     int // packets to be sent again
	lostFrom uint16
	window   int // the peer's
	fin      bool
	finSent  bool

	delivered   int64 // bytes
	deliveredAt moment
	firstAt     moment
	limited     bool // the window of congestion holds data back
	tellLarge   bool // the next packet of data tells our largest size

	nextSend moment // by pacing
	srtt     time.Duration
	rttvar   time.Duration
	recovery recovery

	rtoAt, tailAt, reorderAt, paceAt, windowAt moment
}

func (t *sender) init() {
	t.rtoAt, t.tailAt, t.reorderAt, t.paceAt, t.windowAt = never, never, never, never, never
}

func (t *sender) release() {
	t.buf.release()
	t.pkts = nil
	t.init()
}

func (t *sender) at(seq uint16) *sent { return &t.pkts[seq&uint16(len(t.pkts)-1)] }

// unsent returns how many bytes have never been sent.
func (t *sender) unsent() int { return t.buf.len() - int(t.nxtOff-t.unaOff) }

// full reports whether the peer has no room for the packet that it is to acknowledge next.
func (t *sender) full() bool { return t.una != t.nxt && t.window < max(int(t.at(t.una).size), 1) }

func (c *Conn) sendRoom() int {
	return min(max(sendWindows*int(c.cc.cwnd), leastSend), mostSend) - c.tx.buf.len()
}

// batch gathers packets of one size.
type batch struct {
	buf   []byte
	size  int
	n     int
	first uint16 // its number
	ended bool   // the last one is shorter
}

// transmit sends all that may be sent now.
func (c *Conn) transmit(now moment) {
	b := c.s.batches.Get().(*batch)
	c.tx.paceAt = never
	for c.sendNext(b, now) {
	}
	c.sendBatch(b)
	c.s.batches.Put(b)
}

// sendNext sends the next packet, if one may be sent.
func (c *Conn) sendNext(b *batch, now moment) bool {
	t := &c.tx
	if t.lost > 0 {
		seq := t.firstLost()
		p := t.at(seq)
		if !c.allowed(p.wire(), now) {
			return false
		}
		t.unlose(p)
		c.emit(b, seq, p, now)
		return true
	}
	size := min(t.unsent(), c.mtu.size-headerSize)
	if c.tx.tellLarge {
		size = min(size, c.mtu.size-headerSize-4)
	}
	fin := t.fin && !t.finSent && size == 0
	if size == 0 && !fin || t.finSent {
		t.limited = false
		return false
	}
	if room := t.window - (int(t.nxtOff-t.unaOff) - t.arrived); size > room {
		if t.una != t.nxt || room <= 0 {
			t.limited = false
			if t.una == t.nxt && t.windowAt == never {
				t.windowAt = now + t.rto()
			}
			return false
		}
		size = room
	}
	if int(t.nxt-t.una) >= maxFlight || !c.allowed(size+headerSize, now) {
		return false
	}
	c.emitNew(b, size, fin, now)
	return true
}

// emitNew sends size bytes, or the FIN, for the first time.
func (c *Conn) emitNew(b *batch, size int, fin bool, now moment) {
	t := &c.tx
	t.windowAt = never
	seq := t.nxt
	t.grow()
	p := t.at(seq)
	*p = sent{off: t.nxtOff, size: int32(size), fin: fin}
	if !fin && size+headerSize == c.mtu.size && !t.tellLarge {
		p.probe = int32(c.mtu.probe(now))
	}
	t.nxt++
	t.nxtOff += uint64(size)
	t.finSent = t.finSent || fin
	c.emit(b, seq, p, now)
}

// allowed reports whether the window of congestion and the pacing let n bytes go now.
func (c *Conn) allowed(n int, now moment) bool {
	t := &c.tx
	if t.inflight > 0 && t.inflight+n > int(c.cc.cwnd) {
		t.limited = true
		return false
	}
	if t.srtt < unpaced {
		return true
	}
	if now < t.nextSend {
		t.limited = true
		t.paceAt = t.nextSend + paceBurst
		return false
	}
	pause := time.Duration(float64(n) / c.cc.pace(t.srtt) * float64(time.Second))
	t.nextSend = max(t.nextSend, now-paceCredit) + pause
	return true
}

// grow makes room for one more packet.
func (t *sender) grow() {
	n := int(t.nxt - t.una)
	if n < len(t.pkts) {
		return
	}
	grown := make([]sent, max(16, 2*len(t.pkts)))
	for i := range n {
		seq := t.una + uint16(i)
		grown[seq&uint16(len(grown)-1)] = *t.at(seq)
	}
	t.pkts = grown
}

// emit puts a packet into the batch, and into the books.
func (c *Conn) emit(b *batch, seq uint16, p *sent, now moment) {
	t := &c.tx
	if t.inflight == 0 {
		t.firstAt, t.deliveredAt = now, now
	}
	p.at = now
	p.delivered, p.deliveredAt, p.firstAt = t.delivered, t.deliveredAt, t.firstAt
	p.tries = min(p.tries+1, 255-1)
	t.inflight += p.wire()
	if t.rtoAt == never {
		t.rtoAt = now + t.rto()
	}
	if t.tailAt == never && !t.recovery.probed {
		t.tailAt = now + t.tail()
	}
	if c.asked == never {
		c.asked = now
	}
	c.fill(b, seq, p, now)
}

// fill writes the packet.
func (c *Conn) fill(b *batch, seq uint16, p *sent, now moment) {
	t := &c.tx
	total := p.wire()
	tooLarge := p.probe == 0 && c.mtu.tooLarge(total, int(p.tries), c.addr.Addr())
	switch {
	case p.probe > 0:
		total = int(p.probe)
	case tooLarge:
		total += c.mtu.fragmentPad(total, c.addr.Addr())
	case t.tellLarge:
		total += 4
	}
	alone := p.probe > 0 || tooLarge
	if b.n > 0 && (total > b.size || b.ended || b.n == MaxSegments || len(b.buf)+total > MaxBatch || c.s.batch == nil || alone) {
		c.sendBatch(b)
	}
	if b.n == 0 {
		b.size, b.first = total, seq
	}
	b.ended = total < b.size || alone
	b.n++
	p.whole = !alone && !c.addr.Addr().Is4()

	h := header{
		typ: typeData, id: c.sendID, timestamp: stamp(now), diff: c.diff,
		window: uint32(c.rx.window()), seq: seq, ack: c.rx.ack,
	}
	if p.fin {
		h.typ = typeFin
	}
	at := len(b.buf)
	b.buf = b.buf[:at+headerSize]
	switch {
	case alone && total > p.wire():
		h.put(b.buf[at:], extBits)
		b.buf = appendPad(b.buf, total-p.wire())
	case t.tellLarge && !alone:
		t.tellLarge = false
		h.put(b.buf[at:], extLarge)
		b.buf = appendLarge(b.buf, extEnd, largestPacket(c.addr.Addr()))
	default:
		h.put(b.buf[at:], extEnd)
	}
	at = len(b.buf)
	b.buf = b.buf[:at+int(p.size)]
	t.buf.copyAt(b.buf[at:], int(p.off-t.unaOff))
	// Early packets need an acknowledgement of their own, with a bitmap.
	if c.rx.count == 0 {
		c.acked(now)
	}
	c.lastSent = now
	switch {
	case p.probe > 0:
		c.sendProbe(b, seq, p)
	case tooLarge:
		c.sendFragmentable(b)
	}
}

// sendBatch sends what was gathered.
func (c *Conn) sendBatch(b *batch) {
	if b.n == 0 {
		return
	}
	// What the system would not send is lost like a packet on its way.
	if b.n == 1 {
		// Those that go together are cut by IPv4 routers where they must be: Linux forbids that only to what is
		// no longer than the interface takes.
		c.tx.at(b.first).whole = true
		c.write1(b.buf)
	} else if n, err := c.s.batch.WriteSegments(b.buf, b.size, c.addr); tooLarge(err) {
		// The path takes less than it did. By themselves the system cuts packets to its measure.
		c.mtu.shrink(c.s.now())
		for rest := b.buf[n:]; len(rest) > 0; rest = rest[min(b.size, len(rest)):] {
			c.write1(rest[:min(b.size, len(rest))])
		}
	}
	*b = batch{buf: b.buf[:0]}
}

// wsaemsgsize is what Windows reports for EMSGSIZE.
const wsaemsgsize = syscall.Errno(10040)

// tooLarge reports whether err means that packets are larger than the system lets through.
func tooLarge(err error) bool {
	return errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, wsaemsgsize)
}

// sendProbe sends a batch of one packet, which may be larger than what the system lets through.
func (c *Conn) sendProbe(b *batch, seq uint16, p *sent) {
	write := c.s.pc.WriteToUDPAddrPort
	if c.s.whole != nil {
		write = c.s.whole.WriteWhole
	}
	_, err := write(b.buf, c.addr)
	*b = batch{buf: b.buf[:0]}
	if tooLarge(err) {
		c.mtu.failed(int(p.probe), true)
		p.probe = 0
		c.tx.lose(seq, p)
	}
}

// sendFragmentable sends a batch of one packet that does not come through whole: its number stands for all of it,
// so that it cannot go in two packets. It costs two system calls more than others do. A peer can bring that about by
// acknowledging no large packets, but only for those that it has been sent, which are maxFlight at most, and each time
// in the window and at the pace of all; nothing more is kept for them.
func (c *Conn) sendFragmentable(b *batch) {
	if c.s.fragmenter != nil {
		_, _ = c.s.fragmenter.WriteFragmentable(b.buf, c.addr) // what was not sent is lost like a packet on its way
	} else {
		c.write1(b.buf)
	}
	*b = batch{buf: b.buf[:0]}
}

// arm has the connection woken when there is something to do next.
func (c *Conn) arm(now moment) {
	if c.state == over {
		return
	}
	t := &c.tx
	at := min(t.rtoAt, t.tailAt, t.reorderAt, t.paceAt, t.windowAt, c.lingerAt)
	if c.state != opening {
		at = min(at, c.lastSent+keepAlive, c.heard+silent, c.deadAt())
	}
	c.s.timers.set(c, max(at, now))
}
