package turnclient

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Reader cuts what comes from a server by TCP into packets (RFC 8489 section 6.2.2, RFC 8656 section 12.5).
type Reader struct {
	r *bufio.Reader
	b []byte
}

// NewReader returns a Reader of what r reads.
func NewReader(r io.Reader) *Reader {
	return &Reader{bufio.NewReaderSize(r, maxTrain), make([]byte, stunHeader+1<<16)}
}

// Next returns the next packet, until the one after it is asked for. After an error there are no more.
func (r *Reader) Next() ([]byte, error) {
	head, err := r.r.Peek(channelHeader)
	if err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	switch {
	case isChannelData(head):
		size = channelHeader + (size+3)&^3
	case head[0] < 4:
		size += stunHeader
	default:
		return nil, errors.New("turn: neither STUN nor of a channel")
	}
	_, err = io.ReadFull(r.r, r.b[:size])
	return r.b[:size], err
}

// Buffered reports whether more has come already.
func (r *Reader) Buffered() bool { return r.r.Buffered() > 0 }
