package webrtcwire

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"

	"github.com/pion/stun/v4"
)

const (
	stunHeader = 20
	stunCookie = 0x2112A442 // RFC 8489 section 5

	// maxPacket is the largest packet read. What browsers send fits in 1,280 bytes, what others like
	// us do in 1,541; DTLS handshakes are cut to 1,200.
	maxPacket = 2048
)

// packet is one received datagram.
type packet struct {
	from netip.AddrPort
	n    int
	data [maxPacket]byte
}

var packets = sync.Pool{New: func() any { return new(packet) }}

// transactionID pairs a STUN response with its request.
type transactionID [stun.TransactionIDSize]byte

func isSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0] < 4 && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// isMedia reports whether a packet is RTP or RTCP (RFC 7983 section 7). pion keeps
// state for every media source it hears of, without a bound; we carry no media.
func isMedia(b []byte) bool { return len(b) > 0 && b[0] >= 128 && b[0] <= 191 }

// isDTLS reports whether a packet is a DTLS record (RFC 7983 section 7).
func isDTLS(b []byte) bool { return len(b) > 0 && b[0] >= 20 && b[0] <= 63 }

// isChannelData reports whether a packet is of a TURN client (RFC 8656 section 12.4).
func isChannelData(b []byte) bool { return len(b) > 0 && b[0] >= 64 && b[0] <= 79 }

// The class bits of a STUN message type (RFC 8489 section 5).
func isRequest(b []byte) bool  { return b[0]&1 == 0 && b[1]&0x10 == 0 }
func isResponse(b []byte) bool { return b[0]&1 == 1 }
func isError(b []byte) bool    { return isResponse(b) && b[1]&0x10 != 0 }

func transaction(b []byte) transactionID { return transactionID(b[8:stunHeader]) }

// localUfrag returns which of our ICE agents a check is for: USERNAME is our
// fragment, a colon, and theirs (RFC 8445 section 7.2.2).
func localUfrag(b []byte) (string, bool) {
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length > len(b)-stunHeader {
		return "", false
	}
	attributes := b[stunHeader : stunHeader+length]
	for len(attributes) >= 4 {
		kind := binary.BigEndian.Uint16(attributes)
		size := int(binary.BigEndian.Uint16(attributes[2:]))
		attributes = attributes[4:]
		if size > len(attributes) {
			return "", false
		}
		if stun.AttrType(kind) == stun.AttrUsername {
			return before(string(attributes[:size]), ":")
		}
		attributes = attributes[min(len(attributes), (size+3)&^3):]
	}
	return "", false
}

func before(s, separator string) (string, bool) {
	head, _, ok := strings.Cut(s, separator)
	return head, ok
}
