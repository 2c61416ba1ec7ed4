package socket

import (
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// Bits of a frame's first two bytes.
const (
	bitFin     = 0x80
	bitsRsv    = 0x70
	bitsOpcode = 0x0F
	bitControl = 0x08
	bitMask    = 0x80
	bitsLength = 0x7F
)

// maxControl is the longest payload of a control frame (RFC 6455, section 5.5).
const maxControl = 125

// maxHeader is the longest header that a client's frame has.
const maxHeader = 14

var (
	errProtocol = errors.New("a frame breaks RFC 6455")
	errTooBig   = errors.New("the message is too large")
	errNotUTF8  = errors.New("the message is not UTF-8")
)

// header is that of a frame from a client.
type header struct {
	fin    bool
	opcode byte
	mask   [4]byte
	length int // of the payload, in bytes
}

// parseHeader reads the header at the start of b and returns its length, which is 0 where
// b has only a part of it. It fails for what a client may not send, as soon as the
// bytes that say so are there.
func parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.fin = b[0]&bitFin != 0
	h.opcode = b[0] & bitsOpcode
	short := int(b[1] & bitsLength)
	if b[0]&bitsRsv != 0 || b[1]&bitMask == 0 {
		return h, 0, errProtocol
	}
	switch h.opcode {
	case opContinuation, opText, opBinary:
	case opClose, opPing, opPong:
		if !h.fin || short > maxControl {
			return h, 0, errProtocol
		}
	default:
		return h, 0, errProtocol
	}
	n = 2
	switch short {
	case 126:
		if len(b) < 4 {
			return h, 0, nil
		}
		h.length = int(binary.BigEndian.Uint16(b[2:]))
		if h.length < 126 {
			return h, 0, errProtocol
		}
		n = 4
	case 127:
		if len(b) < 10 {
			return h, 0, nil
		}
		long := binary.BigEndian.Uint64(b[2:])
		if long < 1<<16 || long >= 1<<63 {
			return h, 0, errProtocol
		}
		if long > 1<<30 { // more than any bound, and an int everywhere
			return h, 0, errTooBig
		}
		h.length = int(long)
		n = 10
	default:
		h.length = short
	}
	if len(b) < n+4 {
		// Enough to refuse it by its length, which does not need the mask.
		return h, 0, nil
	}
	copy(h.mask[:], b[n:])
	return h, n + 4, nil
}

// unmask undoes the masking of a payload in place (RFC 6455, section 5.3).
func unmask(payload []byte, mask [4]byte) {
	word := uint64(binary.LittleEndian.Uint32(mask[:]))
	word |= word << 32
	for len(payload) >= 32 {
		p := payload[:32]
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^word)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^word)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^word)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^word)
		payload = payload[32:]
	}
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
}

// appendHeader appends the header of a whole, unmasked frame.
func appendHeader(b []byte, opcode byte, length int) []byte {
	b = append(b, bitFin|opcode)
	switch {
	case length < 126:
		return append(b, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(length))
}

// Codes with which a connection is closed (RFC 6455, section 7.4.1).
const (
	CloseNormal    = 1000
	CloseGoingAway = 1001
	closeProtocol  = 1002
	closeNotUTF8   = 1007
	ClosePolicy    = 1008
	closeTooBig    = 1009
	CloseTryLater  = 1013
)

// appendClose appends a close frame. A reason of more than 123 bytes is cut.
func appendClose(b []byte, code uint16, reason string) []byte {
	reason = reason[:min(len(reason), maxControl-2)]
	b = appendHeader(b, opClose, 2+len(reason))
	b = binary.BigEndian.AppendUint16(b, code)
	return append(b, reason...)
}
