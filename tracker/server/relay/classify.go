package relay

import "encoding/binary"

// A tracker's UDP port is shared by these protocols, told apart by first bytes:
//
//	first byte  and                                      is                      taken by
//	0           0x0000041727101980 at 0                  BEP 15: connect         server.IsPacket
//	202 (0xca)  at least 16 bytes long                   BEP 15: all else        server.IsPacket
//	0..3        magic cookie at 4, length at 2 fits      STUN, TURN's messages   IsPacket
//	64..127     length at 2 fits                         TURN channel data       IsPacket
//	other                                                nothing, dropped
//
// No two rows have a packet in common: bytes 4 to 7 of a connect are 0x27101980, never the
// cookie, and what follows it begins with a connection id, whose first byte is the tracker's own
// choice. RFC 8656 has left channels to 0x4fff of those to 0x7fff that RFC 5766 had; coturn's
// clients use these still. On the port of a whole client, which has DHT and uTP there as well
// (wire/transport), only those of RFC 8656 are told apart.

const (
	stunHeaderLen    = 20
	stunCookie       = 0x2112A442 // RFC 8489 section 5
	stunMost         = 3          // of first bytes: the two highest bits are 0, and methods are few
	channelHeaderLen = 4
	channelLeast     = 64 // of first bytes, RFC 5766 section 11
	channelMost      = 127
	maxPadding       = 3 // a sender may pad channel data to four bytes
)

// IsPacket reports whether a packet is STUN or TURN.
func IsPacket(b []byte) bool { return isSTUN(b) || isChannelData(b) }

func isSTUN(b []byte) bool {
	return len(b) >= stunHeaderLen && b[0] <= stunMost &&
		binary.BigEndian.Uint32(b[4:]) == stunCookie &&
		int(binary.BigEndian.Uint16(b[2:])) == len(b)-stunHeaderLen
}

func isChannelData(b []byte) bool {
	if len(b) < channelHeaderLen || b[0] < channelLeast || b[0] > channelMost {
		return false
	}
	padding := len(b) - channelHeaderLen - int(binary.BigEndian.Uint16(b[2:]))
	return padding >= 0 && padding <= maxPadding
}
