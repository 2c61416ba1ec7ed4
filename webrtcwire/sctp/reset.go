package sctp

import "encoding/binary"

// resets answers requests to reset streams (RFC 6525), which is how a data channel is closed
// (RFC 8831 section 6.7). We make none: a connection has one channel, and ends with it.
type resets struct {
	next   uint32 // sequence number of the peer's next request
	answer []byte // to the last one, repeated when it is
}

func (r *resets) begin(tsn uint32) { *r = resets{next: tsn} }

// maxSkipped is how far a request's number may be ahead: dcsctp takes a new one each time that it
// asks again after resetInProgress.
const maxSkipped = 1 << 16

// handleReconfig answers the requests of a RE-CONFIG chunk.
func (a *Association) handleReconfig(b []byte) {
	for len(b) > 0 {
		kind, value, rest, err := nextParam(b)
		if err != nil {
			a.debug("bad RE-CONFIG", err)
			return
		}
		b = rest
		switch kind {
		case paramOutgoingReset:
			a.handleReset(kind, value, 12)
		case paramIncomingReset:
			a.handleReset(kind, value, 4)
		}
	}
}

// handleReset answers one request, whose streams begin at offset.
func (a *Association) handleReset(kind uint16, b []byte, offset int) {
	if len(b) < offset {
		return
	}
	r, sequence := &a.resets, binary.BigEndian.Uint32(b)
	if sequence == r.next-1 && r.answer != nil {
		a.control(a.peerTag, r.answer)
		return
	}
	if sequence-r.next >= maxSkipped {
		return
	}
	result := uint32(resetPerformed)
	switch {
	case kind == paramIncomingReset: // to close what we send on: RFC 8831 has no use for it
		result = resetNothingToDo
	case before(a.in.next-1, binary.BigEndian.Uint32(b[8:])):
		result = resetInProgress // data of these streams are under way: the peer asks again
	}
	answer := binary.BigEndian.AppendUint32(nil, sequence)
	answer = binary.BigEndian.AppendUint32(answer, result)
	answer = appendChunk(nil, chunkReconfig, 0, appendParam(nil, paramResponse, answer))
	a.control(a.peerTag, answer)
	if result == resetInProgress {
		return
	}
	r.next, r.answer = sequence+1, answer
	if result == resetPerformed {
		a.reset(b[offset:])
	}
}

// reset closes the channels that a request lists, or all.
func (a *Association) reset(ids []byte) {
	if len(ids) < 2 {
		for _, c := range a.channels {
			c.shut()
		}
	}
	for ; len(ids) >= 2; ids = ids[2:] {
		if c := a.channels[binary.BigEndian.Uint16(ids)]; c != nil {
			c.shut()
		}
	}
}

// shut marks a channel that the peer has closed.
func (c *Channel) shut() {
	c.closed = true
	c.wake()
}
