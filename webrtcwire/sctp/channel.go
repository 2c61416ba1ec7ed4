package sctp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Payload protocol identifiers (RFC 8831 section 8).
const (
	ppidDCEP        = 50
	ppidBinary      = 53
	ppidStringEmpty = 56
	ppidBinaryEmpty = 57
)

// Messages of DCEP (RFC 8832 section 8.2).
const (
	dcepAck    = 2
	dcepOpen   = 3
	dcepHeader = 12

	reliableOrdered = 0

	// maxDCEP bounds an OPEN: its label and protocol. webtorrent.js's label has 40 bytes.
	maxDCEP = 4 << 10

	// maxOpened bounds the channels that a peer opens in the life of an association.
	maxOpened = 16
)

// Channel is a data channel as a stream of bytes: the borders of messages carry no meaning. Its
// methods do not block; Readable and Writable tell when to call them again.
type Channel struct {
	a        *Association
	id       uint16
	reliable bool // and ordered
	closed   bool // the peer has reset its side
	queue    queue
	ssn      uint16

	readable, writable chan struct{}
}

func (a *Association) channel(id uint16) *Channel {
	c := &Channel{a: a, id: id, reliable: true, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
	a.channels[id] = c
	return c
}

// Open opens a reliable, ordered channel. It can be written to at once.
func (a *Association) Open(label string) (*Channel, error) {
	a.mu.Lock()
	defer a.unlock()
	if a.state == ended {
		return nil, a.err
	}
	if len(label) > maxDCEP-dcepHeader {
		return nil, fmt.Errorf("sctp: a label of %d bytes", len(label))
	}
	for a.channels[a.nextID] != nil {
		a.nextID += 2
	}
	c := a.channel(a.nextID)
	b := make([]byte, dcepHeader, dcepHeader+len(label))
	b[0], b[1] = dcepOpen, reliableOrdered
	binary.BigEndian.PutUint16(b[8:], uint16(len(label)))
	open := append(b, label...)
	a.out.push(c, ppidDCEP, [][]byte{open}, len(open))
	a.flush()
	return c, nil
}

// Reliable reports whether the channel is reliable and ordered.
func (c *Channel) Reliable() bool { return c.reliable }

// Readable gets a value when Read may have something to say.
func (c *Channel) Readable() <-chan struct{} { return c.readable }

// Writable gets a value when Write may have room.
func (c *Channel) Writable() <-chan struct{} { return c.writable }

func (c *Channel) wake() {
	hint(c.readable)
	hint(c.writable)
}

func hint(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// Read reads what is there. 0 and no error: nothing yet. At the end, after all that had arrived:
// io.EOF if the peer has closed, else the association's error.
func (c *Channel) Read(p []byte) (n int, err error) {
	c.a.mu.Lock()
	defer c.a.unlock()
	if n = c.queue.read(p); n > 0 {
		c.a.in.read(c.a, n)
		return n, nil
	}
	switch {
	case c.closed, errors.Is(c.a.err, ErrPeer):
		return 0, io.EOF
	default:
		return 0, c.a.err
	}
}

// Write sends p as one message, if there is room; false: not yet.
func (c *Channel) Write(p []byte) (bool, error) { return c.WriteParts([][]byte{p}, len(p)) }

// WriteParts sends the first n bytes of parts as one message, if there is room; false: not yet.
func (c *Channel) WriteParts(parts [][]byte, n int) (bool, error) {
	c.a.mu.Lock()
	defer c.a.unlock()
	switch {
	case c.a.state == ended:
		return false, c.a.err
	case c.closed:
		return false, io.ErrClosedPipe
	case !c.a.out.room(n, &c.a.model):
		return false, nil
	case n == 0:
		c.a.out.push(c, ppidBinaryEmpty, [][]byte{{0}}, 1)
	default:
		c.a.out.push(c, ppidBinary, parts, n)
	}
	c.a.flush()
	return true, nil
}

// deliver takes a piece of a message, in order.
func (a *Association) deliver(id uint16, ppid uint32, flags byte, b []byte) {
	c := a.channels[id]
	switch ppid {
	case ppidDCEP:
		a.deliverDCEP(c, id, flags, b)
	case ppidStringEmpty, ppidBinaryEmpty:
	default:
		if c == nil || c.closed {
			return // of no channel
		}
		c.queue.write(b)
		if c.queue.size > 0 {
			hint(c.readable)
		}
	}
}

func (a *Association) deliverDCEP(c *Channel, id uint16, flags byte, b []byte) {
	if flags&(flagBegin|flagEnd) != flagBegin|flagEnd {
		b = a.gather(id, flags, b)
	}
	if len(b) == 0 || b[0] != dcepOpen {
		return // an ACK says nothing that matters, or more is to come
	}
	if len(b) < dcepHeader || c != nil {
		a.debug("ignored", errors.New("a bad OPEN"))
		return
	}
	if a.opened++; a.opened > maxOpened {
		a.violated("too many channels")
		return
	}
	c = a.channel(id)
	c.reliable = b[1] == reliableOrdered
	a.out.push(c, ppidDCEP, [][]byte{{dcepAck}}, 1)
	if a.config.Opened != nil {
		a.tell(func() { a.config.Opened(c) })
	}
}

// gather puts an OPEN together that comes in several chunks: of one stream at a time.
func (a *Association) gather(id uint16, flags byte, b []byte) []byte {
	if flags&flagBegin != 0 {
		a.in.opening, a.in.openingID = nil, id
	}
	if a.in.openingID != id || len(a.in.opening)+len(b) > maxDCEP {
		a.in.opening = nil
		return nil
	}
	a.in.opening = append(a.in.opening, b...)
	if flags&flagEnd == 0 {
		return nil
	}
	whole := a.in.opening
	a.in.opening = nil
	return whole
}
