package wire

import (
	"errors"
	"fmt"
	"io"
)

// HandshakeLen is the length of the v1 handshake in bytes (BEP 3).
const HandshakeLen = 68

const protocolName = "\x13BitTorrent protocol"

// Reserved are the eight reserved bytes of the handshake, a set of bits that say
// which extensions a peer speaks.
type Reserved [8]byte

// Extension bits, as (byte, mask) pairs in Reserved.
var (
	extensionProtocolBit = bit{5, 0x10} // BEP 10
	dhtBit               = bit{7, 0x01} // BEP 5
	fastBit              = bit{7, 0x04} // BEP 6
)

type bit struct {
	index int
	mask  byte
}

func (r *Reserved) set(b bit)     { r[b.index] |= b.mask }
func (r Reserved) has(b bit) bool { return r[b.index]&b.mask != 0 }

// Extended reports whether the peer speaks the extension protocol (BEP 10).
func (r Reserved) Extended() bool { return r.has(extensionProtocolBit) }

// Fast reports whether the peer speaks the fast extension (BEP 6).
func (r Reserved) Fast() bool { return r.has(fastBit) }

// DHT reports whether the peer runs a DHT node (BEP 5).
func (r Reserved) DHT() bool { return r.has(dhtBit) }

// OurReserved are the bits that this package can back: the extension protocol and
// the fast extension, and DHT when the caller runs a node.
func OurReserved(dht bool) (r Reserved) {
	r.set(extensionProtocolBit)
	r.set(fastBit)
	if dht {
		r.set(dhtBit)
	}
	return r
}

// Handshake is the first message of each side (BEP 3).
type Handshake struct {
	Reserved Reserved
	InfoHash [20]byte
	PeerID   [20]byte
}

// ErrNotBitTorrent says that the other side's first bytes are no v1 handshake.
var ErrNotBitTorrent = errors.New("not a BitTorrent handshake")

// WriteHandshake sends h in one write.
func WriteHandshake(w io.Writer, h Handshake) error {
	buf := make([]byte, 0, HandshakeLen)
	buf = append(buf, protocolName...)
	buf = append(buf, h.Reserved[:]...)
	buf = append(buf, h.InfoHash[:]...)
	buf = append(buf, h.PeerID[:]...)
	if _, err := w.Write(buf); err != nil {
		return fmt.Errorf("sending the handshake: %w", err)
	}
	return nil
}

// ReadHandshake reads exactly one handshake, and not a byte more.
func ReadHandshake(r io.Reader) (h Handshake, err error) {
	var buf [HandshakeLen]byte
	if _, err := io.ReadFull(r, buf[:]); err != nil {
		return h, fmt.Errorf("reading the handshake: %w", err)
	}
	return parseHandshake(buf)
}

func parseHandshake(buf [HandshakeLen]byte) (h Handshake, err error) {
	n := len(protocolName)
	if string(buf[:n]) != protocolName {
		return h, ErrNotBitTorrent
	}
	n += copy(h.Reserved[:], buf[n:])
	n += copy(h.InfoHash[:], buf[n:])
	copy(h.PeerID[:], buf[n:])
	return h, nil
}
