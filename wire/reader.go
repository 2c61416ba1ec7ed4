package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Bounds on what a peer may send in one message, in bytes.
const (
	// MaxBlock is the longest block accepted. We ask for BlockSize; the rest is
	// room for peers that were asked by somebody else's rules.
	MaxBlock = 128 << 10
	// MaxBitfield allows 8 million pieces.
	MaxBitfield = 1 << 20
	// MaxExtended holds a ut_metadata piece with its header, and any extension
	// handshake or peer exchange that is not abuse.
	MaxExtended = 128 << 10
)

// readBuffer is the size of a Reader's buffer in bytes. It takes in runs of small
// messages with one read; the longer part of a block never passes through it.
const readBuffer = 4 << 10

// keptPayload is how large a payload, in bytes, a Reader keeps the memory of for the
// next one: a ut_metadata piece with its header. What is longer takes from the Budget
// for as long as it is in use.
const keptPayload = 17 << 10

// Budget bounds the memory of long messages that are being read. Its methods may be
// called from any goroutine.
type Budget interface {
	Take(bytes int64) bool
	Release(bytes int64)
}

// A ProtocolError is a message that breaks the protocol; the connection that it
// came over is of no more use.
type ProtocolError struct {
	ID     ID
	Length uint32 // of the whole message, bytes
	Reason string
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("protocol error: %v of %d bytes: %s", e.ID, e.Length, e.Reason)
}

// Reader reads messages. It is used by one goroutine.
type Reader struct {
	src        io.Reader
	buf        []byte // unread bytes are buf[start:end]
	start, end int
	block      int // bytes of the current Piece message not yet read
	payload    []byte
	budget     Budget // nil: no bound
	taken      int64  // bytes of it
	free       bool   // the message being read takes nothing
	bitfield   func() int
}

// NewReader returns a Reader of src.
func NewReader(src io.Reader) *Reader {
	return &Reader{src: src, buf: make([]byte, readBuffer)}
}

// Bound has all payloads of more than keptPayload bytes take from a budget, which others
// may share. When that is used up, an extension message is passed over, and a Bitfield
// comes without its payload. Close gives back what is taken. bitfield returns how many
// bytes a Bitfield has, 0 as long as that is not known (nil: never): one of that length
// takes nothing, another ends the connection before it is read.
func (r *Reader) Bound(b Budget, bitfield func() int) { r.budget, r.bitfield = b, bitfield }

// Close gives back what the last message took from the budget.
func (r *Reader) Close() {
	if r.taken > 0 {
		r.budget.Release(r.taken)
		r.taken = 0
	}
}

// fill makes at least n bytes (n <= readBuffer) available in the buffer.
func (r *Reader) fill(n int) error {
	if r.end-r.start >= n {
		return nil
	}
	copy(r.buf, r.buf[r.start:r.end])
	r.end -= r.start
	r.start = 0
	for r.end < n {
		m, err := r.src.Read(r.buf[r.end:])
		r.end += m
		if err != nil && r.end < n {
			if err == io.EOF && r.end > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// Next reads the next message into m. After a Piece message the caller reads the
// block with ReadBlock, or SkipBlock; what it leaves is skipped by the following
// Next. m.Payload is valid until the following call. Unknown message types are
// passed over, as BEP 10 peers expect.
func (r *Reader) Next(m *Message) error {
	for {
		if err := r.SkipBlock(); err != nil {
			return err
		}
		r.Close()
		if err := r.fill(4); err != nil {
			return err
		}
		length := binary.BigEndian.Uint32(r.buf[r.start:])
		r.start += 4
		if length == 0 {
			*m = Message{ID: KeepAlive}
			return nil
		}
		if err := r.fill(1); err != nil {
			return noEOF(err)
		}
		*m = Message{ID: ID(r.buf[r.start])}
		r.start++
		known, err := r.body(m, length)
		if err != nil || known {
			return noEOF(err)
		}
	}
}

// body reads the rest of a message of the given length, whose type byte was read.
func (r *Reader) body(m *Message, length uint32) (known bool, err error) {
	bad := func(reason string) error { return &ProtocolError{m.ID, length, reason} }
	want := uint32(0)
	switch m.ID {
	case Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone:
		want = 1
	case Have, Suggest, AllowedFast:
		want = 5
	case Request, Cancel, Reject:
		want = 13
	case Port:
		want = 3
	case Piece:
		if length < 9 || length-9 > MaxBlock {
			return true, bad("a block of such a size is never asked for")
		}
		return true, r.pieceHeader(m, length)
	case BitfieldID:
		if length-1 > MaxBitfield {
			return true, bad("too long")
		}
		if r.bitfield != nil {
			n := r.bitfield()
			if r.free = n > 0; r.free && int(length-1) != n {
				return true, bad("the torrent has another number of pieces")
			}
		}
		m.Payload, err = r.take(int(length - 1))
		r.free = false
		return true, err
	case Extended:
		if length < 2 || length-2 > MaxExtended {
			return true, bad("too short or too long")
		}
		p, err := r.take(int(length - 1))
		if err != nil || p == nil {
			return false, err
		}
		m.Ext, m.Payload = p[0], p[1:]
		return true, nil
	default:
		if length-1 > MaxExtended {
			return false, bad("unknown and too long to pass over")
		}
		r.block = int(length - 1)
		return false, nil
	}
	if length != want {
		return true, bad("wrong length")
	}
	if err := r.fill(int(want - 1)); err != nil {
		return true, err
	}
	b := r.buf[r.start : r.start+int(want-1)]
	r.start += len(b)
	be := binary.BigEndian
	switch len(b) {
	case 2:
		m.Port = be.Uint16(b)
	case 4:
		m.Index = be.Uint32(b)
	case 12:
		m.Index, m.Begin, m.Length = be.Uint32(b), be.Uint32(b[4:]), be.Uint32(b[8:])
	}
	return true, nil
}

func (r *Reader) pieceHeader(m *Message, length uint32) error {
	if err := r.fill(8); err != nil {
		return err
	}
	m.Index = binary.BigEndian.Uint32(r.buf[r.start:])
	m.Begin = binary.BigEndian.Uint32(r.buf[r.start+4:])
	m.Length = length - 9
	r.start += 8
	r.block = int(m.Length)
	return nil
}

// take returns the next n bytes in memory that is valid until the following Next, or
// nil, having left them to be skipped, if the budget has no room for them.
func (r *Reader) take(n int) ([]byte, error) {
	p := r.payload[:0]
	for len(p) < n {
		if len(p) == cap(p) {
			var ok bool
			if p, ok = r.grow(p, n); !ok {
				r.block = n - len(p)
				r.Close()
				return nil, nil
			}
		}
		chunk := p[len(p):min(n, cap(p))]
		m, err := r.read(chunk)
		p = p[:len(p)+m]
		if err != nil && len(p) < n {
			return nil, err
		}
	}
	if cap(p) <= keptPayload {
		r.payload = p
	}
	return p, nil
}

// grow makes room in p, which is to have n bytes: as bytes come in, not by the length
// that the peer claims.
func (r *Reader) grow(p []byte, n int) ([]byte, bool) {
	size := min(max(2*cap(p), readBuffer), n)
	if n <= keptPayload && cap(p) >= readBuffer {
		size = n
	}
	if size > keptPayload && r.budget != nil && !r.free {
		more := int64(size) - r.taken
		if !r.budget.Take(more) {
			return p, false
		}
		r.taken += more
	}
	return append(make([]byte, 0, size), p...), true
}

// read reads some bytes, from the buffer first.
func (r *Reader) read(p []byte) (int, error) {
	if r.start < r.end {
		n := copy(p, r.buf[r.start:r.end])
		r.start += n
		return n, nil
	}
	return r.src.Read(p)
}

// ReadBlock reads the block of the Piece message just returned by Next into dst,
// whose length must be the message's Length.
func (r *Reader) ReadBlock(dst []byte) error {
	if len(dst) != r.block {
		return fmt.Errorf("reading a block: memory of %d bytes for a block of %d", len(dst), r.block)
	}
	for len(dst) > 0 {
		n, err := r.read(dst)
		dst = dst[n:]
		r.block -= n
		if err != nil && len(dst) > 0 {
			return noEOF(err)
		}
	}
	return nil
}

// SkipBlock reads and drops what is left of the current Piece message.
func (r *Reader) SkipBlock() error {
	for r.block > 0 {
		if r.start == r.end {
			if err := r.fill(1); err != nil {
				return noEOF(err)
			}
		}
		n := min(r.block, r.end-r.start)
		r.start += n
		r.block -= n
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // a wrapped one says more
		return io.ErrUnexpectedEOF
	}
	return err
}
