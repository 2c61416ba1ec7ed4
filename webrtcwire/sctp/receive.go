package sctp

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

const (
	// ackDelay is how long a single packet waits for a second, or for data to go with the SACK
	// (RFC 9260 section 6.2 allows 200 ms).
	ackDelay = 20 * time.Millisecond

	// ackEvery is how many packets are acknowledged together at the most where packets come one by one.
	ackEvery = 2

	// maxAhead bounds how far a chunk may be ahead of the first that is missing: that many wait, a
	// window of chunks such as browsers and we send.
	maxAhead = 4096

	// maxBlocks bounds the gaps that are remembered and told, maxDuplicates the duplicates.
	maxBlocks     = 240
	maxDuplicates = 16

	// bufferSize is that of the pooled buffers for chunks that wait: what one of ours carries at most.
	bufferSize = 1408
)

// buffers are for the data of one chunk that waits for earlier ones.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// span is a run of TSNs.
type span struct{ first, last uint32 }

// early is a chunk that waits for an earlier one.
type early struct {
	here   bool
	flags  byte
	stream uint16
	ppid   uint32
	size   int
	buffer *[bufferSize]byte // nil: the data are in other
	other  []byte
}

func (e *early) data() []byte {
	if e.buffer != nil {
		return e.buffer[:e.size]
	}
	return e.other
}

// receiver is the receiving side.
type receiver struct {
	next       uint32 // first TSN that is missing
	spans      []span // what is there beyond, in order
	ring       []early
	waiting    int // bytes in ring
	duplicates []uint32

	packets   int // with data, since the last SACK
	immediate bool
	ackAt     int64
	told      int // the window of the last SACK

	opening   []byte
	openingID uint16
}

func (r *receiver) begin(tsn uint32) {
	*r = receiver{next: tsn, ackAt: never, told: receiveWindow}
}

func (r *receiver) drop() {
	for i := range r.ring {
		r.release(&r.ring[i])
	}
	r.ring, r.spans, r.duplicates, r.opening, r.ackAt = nil, nil, nil, nil, never
}

func (r *receiver) release(e *early) {
	if !e.here {
		return
	}
	r.waiting -= e.size
	held.Add(-int64(e.size))
	if e.buffer != nil {
		buffers.Put(e.buffer)
	}
	*e = early{}
}

// room is how much more may wait for a reader. What waits for an earlier chunk does not count: it
// would keep that chunk out.
func (a *Association) room() int {
	room := min(receiveWindow, max(leastWindow, (heldByAll-int(held.Load()))/2))
	for _, c := range a.channels {
		room -= c.queue.size
	}
	return room
}

// window is what the peer may send beyond what it has sent.
func (a *Association) window() int { return max(0, a.room()-a.in.waiting) }

// read notes that n bytes were read. The peer is told when it was held up.
func (r *receiver) read(a *Association, n int) {
	if r.told < leastWindow/2 && a.state == established && a.window() >= leastWindow {
		r.immediate = true
		a.flush()
	}
}

// handleData takes a DATA chunk (RFC 9260 section 3.3.1).
func (a *Association) handleData(c chunk) {
	const fixed = dataHeader - chunkHeader
	if len(c.value) <= fixed {
		a.violated("a DATA chunk without data")
		return
	}
	tsn := binary.BigEndian.Uint32(c.value)
	stream := binary.BigEndian.Uint16(c.value[4:])
	ppid := binary.BigEndian.Uint32(c.value[8:])
	data := c.value[fixed:]
	r := &a.in
	r.immediate = r.immediate || c.flags&flagImmediate != 0
	switch {
	case before(tsn, r.next):
		r.duplicate(tsn)
	case tsn == r.next:
		if len(data) > a.room() {
			return // it was told that there is no room
		}
		r.next++
		a.deliver(stream, ppid, c.flags, data)
		a.catchUp()
		r.immediate = r.immediate || len(r.spans) > 0
	case tsn-r.next >= maxAhead || len(data) > a.window():
		r.immediate = true
	default:
		r.keep(tsn, early{here: true, flags: c.flags, stream: stream, ppid: ppid, size: len(data)}, data)
	}
}

func (r *receiver) duplicate(tsn uint32) {
	r.immediate = true
	if len(r.duplicates) < maxDuplicates {
		r.duplicates = append(r.duplicates, tsn)
	}
}

// keep keeps a chunk that came before an earlier one.
func (r *receiver) keep(tsn uint32, e early, data []byte) {
	r.immediate = true
	size := max(64, len(r.ring))
	for uint32(size) <= tsn-r.next {
		size *= 2
	}
	if size != len(r.ring) {
		ring := make([]early, size)
		for _, s := range r.spans {
			for t := s.first; !before(s.last, t); t++ {
				ring[int(t)&(size-1)] = r.ring[int(t)&(len(r.ring)-1)]
			}
		}
		r.ring = ring
	}
	at := &r.ring[int(tsn)&(len(r.ring)-1)]
	if at.here {
		r.duplicate(tsn)
		return
	}
	if !r.note(tsn) {
		return
	}
	if len(data) > bufferSize/4 && len(data) <= bufferSize {
		e.buffer = buffers.Get().(*[bufferSize]byte)
		copy(e.buffer[:], data)
	} else {
		e.other = slices.Clone(data)
	}
	*at = e
	r.waiting += len(data)
	held.Add(int64(len(data)))
}

// note adds a TSN to spans, unless there are too many.
func (r *receiver) note(tsn uint32) bool {
	i := len(r.spans)
	for i > 0 && before(tsn, r.spans[i-1].first) {
		i--
	}
	touchesLast := i > 0 && r.spans[i-1].last+1 == tsn
	touchesNext := i < len(r.spans) && r.spans[i].first == tsn+1
	switch {
	case touchesLast && touchesNext:
		r.spans[i-1].last = r.spans[i].last
		r.spans = slices.Delete(r.spans, i, i+1)
	case touchesLast:
		r.spans[i-1].last = tsn
	case touchesNext:
		r.spans[i].first = tsn
	case len(r.spans) >= maxBlocks:
		return false
	default:
		r.spans = slices.Insert(r.spans, i, span{tsn, tsn})
	}
	return true
}

// catchUp delivers what follows without a gap.
func (a *Association) catchUp() {
	r := &a.in
	for len(r.spans) > 0 && r.spans[0].first == r.next && a.state != ended {
		s := r.spans[0]
		for ; !before(s.last, r.next) && a.state != ended; r.next++ {
			e := &r.ring[int(r.next)&(len(r.ring)-1)]
			kept := *e
			held.Add(-int64(kept.size))
			r.waiting -= kept.size
			*e = early{}
			a.deliver(kept.stream, kept.ppid, kept.flags, kept.data())
			if kept.buffer != nil {
				buffers.Put(kept.buffer)
			}
		}
		if len(r.spans) > 0 {
			r.spans = slices.Delete(r.spans, 0, 1)
		}
	}
	if len(r.spans) == 0 {
		r.ring = nil
	}
}

// handleForwardTSN skips what the peer will not repeat (RFC 3758 section 3.6). Of a reliable
// channel there is nothing to skip.
func (a *Association) handleForwardTSN(b []byte) {
	if len(b) < 4 {
		return
	}
	r, to := &a.in, binary.BigEndian.Uint32(b)+1
	r.immediate = true
	if to-r.next > maxAhead || !before(r.next, to) {
		return
	}
	for len(r.spans) > 0 && before(r.spans[0].first, to) {
		s := &r.spans[0]
		for ; before(s.first, to) && !before(s.last, s.first); s.first++ {
			r.release(&r.ring[int(s.first)&(len(r.ring)-1)])
		}
		if !before(s.last, s.first) {
			break
		}
		r.spans = slices.Delete(r.spans, 0, 1)
	}
	r.next = to
	a.catchUp()
}

// ackDue reports whether a SACK is to be sent now; if one is to be sent later, ackAt says when.
func (r *receiver) ackDue(now int64) bool {
	switch {
	case r.immediate || r.packets >= ackEvery || now >= r.ackAt:
		return true
	case r.packets > 0 && r.ackAt == never:
		r.ackAt = now + int64(ackDelay)
	}
	return false
}

// appendSack appends a SACK (RFC 9260 section 3.3.4) of at most room bytes.
func (a *Association) appendSack(b []byte, room int) []byte {
	r := &a.in
	const fixed = 16
	spans := r.spans[:max(0, min(len(r.spans), (room-fixed)/4))]
	duplicates := r.duplicates[:max(0, min(len(r.duplicates), (room-fixed)/4-len(spans)))]
	r.told = a.window()
	b = append(b, chunkSack, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(fixed+4*len(spans)+4*len(duplicates)))
	b = binary.BigEndian.AppendUint32(b, r.next-1)
	b = binary.BigEndian.AppendUint32(b, uint32(r.told))
	b = binary.BigEndian.AppendUint16(b, uint16(len(spans)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(duplicates)))
	for _, s := range spans {
		b = binary.BigEndian.AppendUint16(b, uint16(s.first-(r.next-1)))
		b = binary.BigEndian.AppendUint16(b, uint16(s.last-(r.next-1)))
	}
	for _, tsn := range duplicates {
		b = binary.BigEndian.AppendUint32(b, tsn)
	}
	r.duplicates, r.packets, r.immediate, r.ackAt = r.duplicates[:0], 0, false, never
	return b
}
