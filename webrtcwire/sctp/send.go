package sctp

import (
	"encoding/binary"
	"sync"
)

const (
	// sendAhead is how much may wait to be sent, at the least: a message of 32 KiB, once little is
	// left of the one before; and at the most, in half of a window.
	sendAhead    = 40 << 10
	maxSendAhead = 256 << 10

	// maxUnacked bounds the chunks that wait for cumulative acknowledgement, so that what is kept of
	// them does not exceed 6 MB: four times what a path of 12.5 MB/s and 100 ms holds.
	maxUnacked = maxAhead - 1

	// maxMessage is the largest message that a writer is woken for.
	maxMessage = 32 << 10

	// leastFragment is the least of a message that is worth beginning in what is left of a packet.
	leastFragment = 200

	// maxSegments and maxBatch bound what goes to an Outlet at once: what Linux takes in one call.
	maxSegments = 64
	maxBatch    = 64000
)

// message is one that has not been acknowledged in full.
type message struct {
	data   []byte
	pool   *sync.Pool // of data; nil: none
	stream uint16
	ssn    uint16
	ppid   uint32
	sent   int // of data
	acked  int
}

// classes are buffers for messages of up to so many bytes.
var classes = [...]struct {
	size int
	pool sync.Pool
}{{size: 512}, {size: 4 << 10}, {size: 18 << 10}, {size: 32 << 10}}

// newMessage makes a message of the first n bytes of parts.
func newMessage(parts [][]byte, n int) *message {
	m := emptyMessage(n)
	copied := 0
	for _, part := range parts {
		copied += copy(m.data[copied:], part)
	}
	return m
}

func emptyMessage(n int) *message {
	for i := range classes {
		class := &classes[i]
		if n > class.size {
			continue
		}
		m, ok := class.pool.Get().(*message)
		if !ok {
			m = &message{data: make([]byte, class.size), pool: &class.pool}
		}
		m.data = m.data[:n]
		return m
	}
	return &message{data: make([]byte, n)}
}

func (m *message) recycle() {
	if m.pool != nil {
		pool := m.pool
		*m = message{data: m.data[:0], pool: pool}
		pool.Put(m)
	}
}

// sent is a chunk that has been sent, and not been acknowledged cumulatively.
type sent struct {
	snapshot
	data       []byte
	message    *message
	flags      byte
	gone       bool // acknowledged by a gap block
	lost       bool // waits to be repeated
	large      bool // in a packet of more than packetSize
	repeated   uint8
	size       int    // with its header
	runEnd     uint32 // of the run of gone chunks that begins here
	prev, next uint32 // in the order of sending, or of repeating
}

// list is a list of chunks by TSN.
type list struct {
	head, tail uint32
	n          int
}

// sender is the sending side.
type sender struct {
	first    uint32 // our first TSN
	una      uint32 // first that is not acknowledged
	next     uint32 // next to be sent
	ring     []sent // by TSN, from una to next
	pending  list   // sent and not acknowledged, by time
	lost     list   // to be repeated
	inflight int    // bytes of pending
	rwnd     int    // the peer's window, less what is under way
	heard    int64  // when anything came last, or the wait for an answer began

	queue  []*message
	unsent int

	rack    rack
	backoff uint // timeouts in a row
	probed  bool // by a tail loss probe, since the last acknowledgement
}

func (s *sender) begin(tsn uint32) { *s = sender{first: tsn, una: tsn, next: tsn, rwnd: receiveWindow} }

func (s *sender) at(tsn uint32) *sent { return &s.ring[int(tsn)&(len(s.ring)-1)] }

func (s *sender) drop() {
	s.queue, s.ring, s.pending, s.lost, s.inflight, s.unsent, s.una = nil, nil, list{}, list{}, 0, 0, s.next
}

func (s *sender) pushBack(l *list, tsn uint32) {
	c := s.at(tsn)
	if l.n == 0 {
		l.head = tsn
	} else {
		s.at(l.tail).next = tsn
		c.prev = l.tail
	}
	l.tail = tsn
	l.n++
}

func (s *sender) remove(l *list, tsn uint32) {
	c := s.at(tsn)
	if l.head == tsn {
		l.head = c.next
	} else {
		s.at(c.prev).next = c.next
	}
	if l.tail == tsn {
		l.tail = c.prev
	} else {
		s.at(c.next).prev = c.prev
	}
	l.n--
}

// room reports whether a message of n bytes may be queued.
func (s *sender) room(n int, m *model) bool {
	return s.unsent == 0 || s.unsent+n <= max(sendAhead, min(m.window()/2, maxSendAhead))
}

func (s *sender) push(c *Channel, ppid uint32, parts [][]byte, n int) {
	m := newMessage(parts, n)
	m.stream, m.ssn, m.ppid = c.id, c.ssn, ppid
	c.ssn++
	s.queue = append(s.queue, m)
	s.unsent += len(m.data)
}

// grow makes room for one more chunk.
func (s *sender) grow() {
	used := int(s.next - s.una)
	if used < len(s.ring) {
		return
	}
	size := max(32, 2*len(s.ring))
	ring := make([]sent, size)
	for tsn := s.una; tsn != s.next; tsn++ {
		ring[int(tsn)&(size-1)] = *s.at(tsn)
	}
	s.ring = ring
}

// mayBegin reports whether one more packet may go.
func (a *Association) mayBegin(now int64) bool {
	s := &a.out
	switch {
	case a.state != established, s.lost.n == 0 && len(s.queue) == 0:
		return false
	case s.inflight > 0 && s.inflight+a.path.size > a.model.window():
		return false
	case s.lost.n == 0 && s.inflight > 0 && s.rwnd < packetSize, s.lost.n == 0 && int(s.next-s.una) >= maxUnacked:
		return false
	}
	return a.model.nextSend <= now
}

// packetLimit is how large the next packet of DATA may be. What was lost again and again in larger ones goes in one
// that passes everywhere, whatever becomes of others.
func (a *Association) packetLimit() int {
	if s := &a.out; s.lost.n > 0 && s.at(s.lost.head).repeated >= holeTries {
		return packetSize
	}
	return a.path.size
}

// fill adds DATA chunks to a packet, up to limit bytes. A chunk that is too large for that, since packets could be
// larger when it was made, has one to itself.
func (a *Association) fill(now int64, p []byte, limit int) []byte {
	s := &a.out
	for {
		room := limit - len(p)
		switch {
		case s.lost.n > 0:
			c := s.at(s.lost.head)
			if pad(c.size) > room && len(p) > headerSize {
				return p
			}
			tsn := s.lost.head
			s.remove(&s.lost, tsn)
			c.lost = false
			if c.repeated < 255 {
				c.repeated++
			}
			p = a.transmit(now, p, tsn)
		case len(s.queue) > 0 && int(s.next-s.una) < maxUnacked:
			m := s.queue[0]
			left := len(m.data) - m.sent
			n := min(left, room-dataHeader)
			if n < left && n < leastFragment || n <= 0 || s.rwnd < n && s.inflight > 0 {
				return p
			}
			if s.next == s.una {
				s.heard = now
			}
			s.grow()
			tsn := s.next
			s.next++
			c := s.at(tsn)
			*c = sent{data: m.data[m.sent : m.sent+n], message: m, size: dataHeader + n}
			if m.sent == 0 {
				c.flags |= flagBegin
			}
			if m.sent += n; m.sent == len(m.data) {
				c.flags |= flagEnd
				s.queue[0] = nil
				if s.queue = s.queue[1:]; len(s.queue) == 0 {
					s.queue = nil
				}
			}
			s.unsent -= n
			p = a.transmit(now, p, tsn)
		default:
			return p
		}
	}
}

// transmit appends a chunk that is in the ring.
func (a *Association) transmit(now int64, p []byte, tsn uint32) []byte {
	s := &a.out
	c := s.at(tsn)
	c.snapshot = a.model.send(now, c.size, s.inflight)
	s.pushBack(&s.pending, tsn)
	s.inflight += c.size
	s.rwnd = max(0, s.rwnd-len(c.data))
	flags := c.flags
	if len(s.queue) == 0 && s.lost.n == 0 {
		flags |= flagImmediate // RFC 7053: nothing follows that its SACK could wait for
	}
	p = append(p, chunkData, flags)
	p = binary.BigEndian.AppendUint16(p, uint16(c.size))
	p = binary.BigEndian.AppendUint32(p, tsn)
	p = binary.BigEndian.AppendUint16(p, c.message.stream)
	p = binary.BigEndian.AppendUint16(p, c.message.ssn)
	p = binary.BigEndian.AppendUint32(p, c.message.ppid)
	p = appendPadding(append(p, c.data...), len(c.data))
	c.large = len(p) > packetSize
	return p
}

// flush sends what may be sent now.
func (a *Association) flush() {
	now := a.now()
	a.flushControl()
	if a.state != established {
		a.arm(now)
		return
	}
	a.probeSize(now)
	before := a.out.unsent
	w := writer{a: a}
	for a.mayBegin(now) {
		p := w.packet()
		if a.in.packets > 0 || a.in.immediate {
			p = a.appendSack(p, a.path.size-len(p))
		}
		limit := a.packetLimit()
		filled := a.fill(now, p, limit)
		if len(filled) > headerSize {
			w.finish(filled, a.peerTag, limit)
		}
		if len(filled) == headerSize {
			break
		}
	}
	if a.in.ackDue(now) {
		p := w.packet()
		w.finish(a.appendSack(p, a.path.size-len(p)), a.peerTag, a.path.size)
	}
	w.close()
	if len(a.out.queue) == 0 && a.out.lost.n == 0 && a.out.inflight < a.model.window() {
		a.model.limitedTill = a.model.delivered + int64(a.out.inflight) + 1
	}
	if a.out.unsent < before && a.out.room(maxMessage, &a.model) {
		for _, c := range a.channels {
			hint(c.writable)
		}
	}
	a.arm(now)
}

// flushControl sends the control chunks that wait, those with one tag together.
func (a *Association) flushControl() {
	if len(a.waiting) == 0 {
		return
	}
	w := writer{a: a}
	for i := 0; i < len(a.waiting); {
		tag, p := a.waiting[i].tag, w.packet()
		for first := true; i < len(a.waiting) && a.waiting[i].tag == tag; first = false {
			chunk := a.waiting[i].chunk
			if !first && (len(p)+len(chunk) > a.path.size || alone(chunk)) {
				break
			}
			p = append(p, chunk...)
			if i++; alone(chunk) {
				break
			}
		}
		w.finish(p, tag, a.path.size)
	}
	w.close()
	a.waiting = nil
}

// alone reports whether a chunk must not be bundled with others (RFC 9260 section 6.10). COOKIE-ECHO
// need not be alone, but must be first, and have a checksum.
func alone(chunk []byte) bool {
	return chunk[0] == chunkInit || chunk[0] == chunkInitAck || chunk[0] == chunkShutdownComplete || chunk[0] == chunkCookieEcho
}

// arenas are buffers in which packets are put together.
var arenas = sync.Pool{New: func() any { return new([maxBatch]byte) }}

// writer puts packets together and hands them to the outlet in batches.
type writer struct {
	a          *Association
	arena      *[maxBatch]byte
	start, end int // what waits in arena
	size, n    int // of each packet with its room; packets
}

// packet begins a packet.
func (w *writer) packet() []byte {
	if w.arena == nil {
		w.arena = arenas.Get().(*[maxBatch]byte)
	}
	if w.end+w.a.head+largestPacket+w.a.tail > len(w.arena) {
		w.send()
		w.start, w.end = 0, 0
	}
	at := w.end + w.a.head
	return w.arena[at : at+headerSize : at+largestPacket]
}

// finish completes the packet that packet began; one of more than limit bytes goes in fragments.
func (w *writer) finish(p []byte, tag uint32, limit int) {
	if len(p) > limit {
		w.sendOne(appendPad(p, largestPacket), tag, true)
		return
	}
	w.address(p, tag)
	total := w.a.head + len(p) + w.a.tail
	if w.n > 0 && total > w.size {
		w.send()
	}
	if w.n == 0 {
		w.size = total
	}
	w.end += total
	if w.n++; total < w.size || w.n == maxSegments {
		w.send()
		w.start, w.end = 0, 0
	}
}

// sendOne is finish, of a packet that goes by itself.
func (w *writer) sendOne(p []byte, tag uint32, cut bool) bool {
	w.address(p, tag)
	b := w.arena[w.end : w.end+w.a.head+len(p)+w.a.tail]
	w.send()
	w.start, w.end = 0, 0
	return w.a.config.Outlet.SendOne(b, cut)
}

// address writes a packet's header.
func (w *writer) address(p []byte, tag uint32) {
	binary.BigEndian.PutUint16(p, port)
	binary.BigEndian.PutUint16(p[2:], port)
	binary.BigEndian.PutUint32(p[4:], tag)
	if first := p[headerSize]; w.a.zeroChecksum && w.a.state == established && first != chunkInit && first != chunkCookieEcho {
		binary.LittleEndian.PutUint32(p[8:], 0)
	} else {
		putChecksum(p) // RFC 9653 section 5.2
	}
}

func (w *writer) send() {
	if w.n > 0 {
		end := w.end
		if !w.a.config.Outlet.Send(w.arena[w.start:end], w.size) {
			w.a.narrow(w.a.now())
		}
		w.start, w.n, w.size = end, 0, 0
	}
}

func (w *writer) close() {
	w.send()
	if w.arena != nil {
		arenas.Put(w.arena)
	}
}
