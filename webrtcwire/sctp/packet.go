package sctp

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

const (
	// packetSize is the largest packet that we send without having tried that it arrives, see pathMTU. With DTLS (37 bytes), a channel of TURN (4),
	// UDP and IPv6 (48) it is 1,277 bytes: every link carries 1,280 (RFC 8200 section 5).
	packetSize = 1188

	headerSize  = 12 // source port, destination port, verification tag, checksum
	chunkHeader = 4  // type, flags, length
	paramHeader = 4  // type, length
	dataHeader  = 16 // of a DATA chunk, its chunk header within

	// port is both ends' port: what a=sctp-port says, and everybody says 5000.
	port = 5000
)

// Chunk types (RFC 9260 section 3.2, RFC 3758, RFC 6525, RFC 4820).
const (
	chunkData             = 0
	chunkInit             = 1
	chunkInitAck          = 2
	chunkSack             = 3
	chunkHeartbeat        = 4
	chunkHeartbeatAck     = 5
	chunkAbort            = 6
	chunkShutdown         = 7
	chunkShutdownAck      = 8
	chunkError            = 9
	chunkCookieEcho       = 10
	chunkCookieAck        = 11
	chunkShutdownComplete = 14
	chunkReconfig         = 130
	chunkPad              = 132
	chunkForwardTSN       = 192
)

// Flags of a DATA chunk (RFC 9260 section 3.3.1).
const (
	flagEnd       = 1 << 0
	flagBegin     = 1 << 1
	flagImmediate = 1 << 3 // the sender wants its SACK at once
)

// Parameter types (RFC 9260 section 3.3, RFC 5061, RFC 3758, RFC 9653, RFC 6525).
const (
	paramInfo                 = 1 // of a HEARTBEAT
	paramCookie               = 7
	paramOutgoingReset        = 13
	paramIncomingReset        = 14
	paramResponse             = 16
	paramZeroChecksum         = 0x8001
	paramSupportedExtensions  = 0x8008
	paramForwardTSNSupported  = 0xc000
	zeroChecksumDTLS          = 1 // the error detection method of RFC 9653 section 8
	resetPerformed            = 1
	resetInProgress           = 6
	resetNothingToDo          = 0
	skipUnknown               = 0x80 // of a chunk's type: go on with the next
	causeUserInitiated        = 12
	causeProtocolViolation    = 13
	maxAbortReason            = 200
	maxControlChunksPerPacket = 16 // that we answer, of one packet
)

var (
	errShort = errors.New("truncated")
	errGap   = errors.New("gap blocks beyond what was sent")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// checksum is the CRC32c of a packet whose checksum field counts as zero (RFC 9260 appendix A).
func checksum(packet []byte) uint32 {
	var zero [4]byte
	crc := crc32.Update(0, castagnoli, packet[:8])
	crc = crc32.Update(crc, castagnoli, zero[:])
	return crc32.Update(crc, castagnoli, packet[headerSize:])
}

func putChecksum(packet []byte) {
	binary.LittleEndian.PutUint32(packet[8:], 0)
	binary.LittleEndian.PutUint32(packet[8:], checksum(packet))
}

// intact reports whether a packet's checksum is right, or left out as RFC 9653 allows.
func intact(packet []byte) bool {
	sum := binary.LittleEndian.Uint32(packet[8:])
	return sum == 0 || sum == checksum(packet)
}

// chunk is one chunk of a packet: its value is without the header and padding.
type chunk struct {
	kind, flags byte
	value       []byte
}

// nextChunk cuts the first chunk off b, which is not empty.
func nextChunk(b []byte) (c chunk, rest []byte, err error) {
	if len(b) < chunkHeader {
		return c, nil, errShort
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	if size < chunkHeader || size > len(b) {
		return c, nil, errShort
	}
	c = chunk{kind: b[0], flags: b[1], value: b[chunkHeader:size]}
	return c, b[min(len(b), pad(size)):], nil
}

// nextParam cuts the first parameter off b, which is not empty.
func nextParam(b []byte) (kind uint16, value, rest []byte, err error) {
	if len(b) < paramHeader {
		return 0, nil, nil, errShort
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	if size < paramHeader || size > len(b) {
		return 0, nil, nil, errShort
	}
	return binary.BigEndian.Uint16(b), b[paramHeader:size], b[min(len(b), pad(size)):], nil
}

func pad(n int) int { return (n + 3) &^ 3 }

// appendChunk appends a chunk with its padding.
func appendChunk(b []byte, kind, flags byte, value []byte) []byte {
	b = append(b, kind, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(chunkHeader+len(value)))
	return appendPadding(append(b, value...), len(value))
}

func appendParam(b []byte, kind uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(paramHeader+len(value)))
	return appendPadding(append(b, value...), len(value))
}

func appendPadding(b []byte, size int) []byte {
	for ; size&3 != 0; size++ {
		b = append(b, 0)
	}
	return b
}

// before reports whether TSN a is earlier than b (RFC 9260 section 1.6: RFC 1982's arithmetic).
func before(a, b uint32) bool { return int32(a-b) < 0 }
