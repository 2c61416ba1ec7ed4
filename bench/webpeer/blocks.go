package webpeer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

// blockSize is what is asked for at a time, in bytes.
const blockSize = 16 << 10

// The messages that are used here (BEP 3).
const (
	msgUnchoke    = 1
	msgInterested = 2
	msgRequest    = 6
	msgPiece      = 7
)

func encode(id byte, fields ...uint32) []byte {
	b := append(binary.BigEndian.AppendUint32(nil, uint32(1+4*len(fields))), id)
	for _, f := range fields {
		b = binary.BigEndian.AppendUint32(b, f)
	}
	return b
}

// next reads one message, drops its payload, and returns its id and its length.
func next(r *bufio.Reader) (id byte, length int, err error) {
	for length == 0 { // keep-alives
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return 0, 0, err
		}
		length = int(binary.BigEndian.Uint32(head[:]))
	}
	if id, err = r.ReadByte(); err != nil {
		return 0, 0, err
	}
	_, err = r.Discard(length - 1)
	return id, length, err
}

// Leech asks for blocks of a seed, from the first on and around, and drops them.
type Leech struct {
	conn              net.Conn
	r                 *bufio.Reader
	size, pieceLength int64
	asked             int64 // bytes
	received          atomic.Int64
}

// NewLeech becomes interested and waits to be unchoked. Size and piece length are
// those of the torrent, in bytes.
func NewLeech(conn net.Conn, size, pieceLength int64) (*Leech, error) {
	const buffer = 64 << 10
	l := &Leech{conn: conn, r: bufio.NewReaderSize(conn, buffer), size: size, pieceLength: pieceLength}
	if _, err := conn.Write(encode(msgInterested)); err != nil {
		return nil, err
	}
	for {
		id, _, err := next(l.r)
		if err != nil {
			return nil, fmt.Errorf("wait to be unchoked: %w", err)
		}
		if id == msgUnchoke {
			return l, nil
		}
	}
}

// Ask requests the next n blocks.
func (l *Leech) Ask(n int) error {
	var out []byte
	for range n {
		at := l.asked % (l.size / blockSize * blockSize) // whole blocks only
		out = append(out, encode(msgRequest, uint32(at/l.pieceLength), uint32(at%l.pieceLength), blockSize)...)
		l.asked += blockSize
	}
	_, err := l.conn.Write(out)
	return err
}

// Run keeps n blocks asked for until the connection ends, and returns why it did.
func (l *Leech) Run(n int) error {
	if err := l.Ask(n); err != nil {
		return err
	}
	for due := 0; ; {
		id, length, err := next(l.r)
		if err != nil {
			return err
		}
		if id != msgPiece {
			continue
		}
		const header = 9
		l.received.Add(int64(length - header))
		if due++; due >= n/4 {
			if err := l.Ask(due); err != nil {
				return err
			}
			due = 0
		}
	}
}

// Received returns the bytes of blocks so far.
func (l *Leech) Received() int64 { return l.received.Load() }
