package utp

import "encoding/binary"

// Packet types of BEP 29.
const (
	typeData  = 0
	typeFin   = 1
	typeState = 2
	typeReset = 3
	typeSyn   = 4
)

const (
	version    = 1
	headerSize = 20
	// extEnd ends the list of extensions, extSack is selective acknowledgement (BEP 29).
	extEnd  = 0
	extSack = 1
	// extLarge is our own: the largest UDP payload, in bytes (2), that the sender of this packet
	// can take. It is sent only within a machine or a local network, see mtu.go; all
	// implementations pass over extensions that they do not know.
	extLarge = 0x6c
	// extPad has no meaning: it makes a packet longer, to try a path with.
	extPad = 0x70
	// extBits is libutp's: eight bytes of what the sender is able to do. libutp takes a packet whose
	// first extension is above it for one of another version of uTP, so that it comes before those
	// of ours, empty, in all that is sent to implementations that may not be ours.
	extBits  = 2
	bitsSize = 8
	// maxSack bounds the bitmap: the length is one byte, and a multiple of 4.
	maxSack = 252
	// maxExtension is the longest content of one extension.
	maxExtension = 255
)

// header is the fixed part of a packet.
type header struct {
	typ       uint8
	id        uint16
	timestamp uint32 // µs
	diff      uint32 // µs: how long the last packet took, by the clocks of its sender and of its receiver
	window    uint32 // bytes that the sender of this packet can take
	seq, ack  uint16
}

// put writes the header to b; ext is the type of the first extension.
func (h *header) put(b []byte, ext uint8) {
	_ = b[headerSize-1]
	b[0], b[1] = h.typ<<4|version, ext
	be := binary.BigEndian
	be.PutUint16(b[2:], h.id)
	be.PutUint32(b[4:], h.timestamp)
	be.PutUint32(b[8:], h.diff)
	be.PutUint32(b[12:], h.window)
	be.PutUint16(b[16:], h.seq)
	be.PutUint16(b[18:], h.ack)
}

// packet is a packet as received; its slices are parts of it.
type packet struct {
	header
	sack    []byte // nil: none
	large   int    // bytes, of extLarge; 0: none
	payload []byte
}

// parse reports whether b is a packet that makes sense by itself.
func (p *packet) parse(b []byte) bool {
	if len(b) < headerSize || b[0]&0xf != version || b[0]>>4 > typeSyn {
		return false
	}
	be := binary.BigEndian
	p.header = header{
		typ: b[0] >> 4, id: be.Uint16(b[2:]),
		timestamp: be.Uint32(b[4:]), diff: be.Uint32(b[8:]), window: be.Uint32(b[12:]),
		seq: be.Uint16(b[16:]), ack: be.Uint16(b[18:]),
	}
	p.sack, p.large = nil, 0
	ext, rest := b[1], b[headerSize:]
	for ext != extEnd {
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			return false
		}
		content := rest[2 : 2+int(rest[1])]
		switch ext {
		case extSack:
			// Lengths that are no multiple of 4 break BEP 29, and are harmless.
			p.sack = content
		case extLarge:
			if len(content) == 2 {
				p.large = int(be.Uint16(content))
			}
		}
		ext, rest = rest[0], rest[2+len(content):]
	}
	p.payload = rest
	return true
}

// appendLarge appends an extLarge that is followed by an extension of type next.
func appendLarge(b []byte, next uint8, size int) []byte {
	return append(b, next, 2, byte(size>>8), byte(size))
}

// appendBits appends an extBits that is followed by an extension of type next.
func appendBits(b []byte, next uint8) []byte {
	return append(append(b, next, bitsSize), zeros[:bitsSize]...)
}

// appendPad appends extensions of n bytes in all, at least leastPad, which come last. The first of
// them is an extBits.
func appendPad(b []byte, n int) []byte {
	b = appendBits(b, extPad)
	n -= 2 + bitsSize
	for n > 0 {
		size := min(n, 2+maxExtension)
		if rest := n - size; rest > 0 && rest < minPad {
			size -= minPad
		}
		n -= size
		next := uint8(extPad)
		if n == 0 {
			next = extEnd
		}
		b = append(b, next, byte(size-2))
		b = append(b, zeros[:size-2]...)
	}
	return b
}

// minPad is the size of an extension without content, leastPad the least that appendPad appends.
const (
	minPad   = 2
	leastPad = 2 + bitsSize + minPad
)

var zeros [maxExtension]byte

// before reports whether a comes before b, of numbers less than 1<<15 apart.
func before(a, b uint16) bool { return int16(a-b) < 0 }
