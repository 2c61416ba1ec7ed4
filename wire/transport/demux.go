package transport

import "encoding/binary"

// Class is one of the protocols that share the UDP port.
type Class int

const (
	// ClassUnknown is a packet that is none of the others. Nobody gets those.
	ClassUnknown Class = iota
	ClassDHT           // BEP 5
	ClassSTUN          // RFC 8489, and TURN's own messages
	ClassDTLS          // RFC 6347
	ClassTURN          // TURN channel data, RFC 8656 section 12.4
	ClassUTP           // BEP 29
	ClassTracker       // requests to a UDP tracker of ours, BEP 15
	numClasses
)

func (c Class) String() string {
	switch c {
	case ClassDHT:
		return "DHT"
	case ClassSTUN:
		return "STUN"
	case ClassDTLS:
		return "DTLS"
	case ClassTURN:
		return "TURN"
	case ClassUTP:
		return "uTP"
	case ClassTracker:
		return "tracker"
	}
	return "unknown"
}

const (
	stunHeaderLen  = 20
	stunCookie     = 0x2112A442 // RFC 8489 section 5
	dtlsHeaderLen  = 13
	dtls10         = 0xfeff
	dtls12         = 0xfefd // DTLS 1.3 writes this, too, in its plaintext records
	turnHeaderLen  = 4
	utpHeaderLen   = 20
	utpVersion     = 1
	utpMaxType     = 4 // ST_SYN
	minDHTLen      = 12
	turnMaxPadding = 3 // a sender may pad channel data to four bytes

	trackerHeaderLen = 16
	trackerMagic     = 0x41727101980 // what a connect request begins with
	trackerFirst     = 0xca          // what connection ids of package tracker/server begin with
)

// Classify tells from its first bytes which protocol a packet belongs to, as
// RFC 7983 does for WebRTC alone:
//
//	first byte       and                                            is
//	'd' (0x64)       a digit at 1, as of a key's length              DHT
//	0..3             magic cookie at 4, length at 2 fits            STUN
//	20..26           version fefd or feff at 1, a record fits       DTLS
//	64..79           length at 2 fits                               TURN channel data
//	1 17 33 49 65    (version 1, type 0..4) at least 20 bytes long  uTP
//	0                0x0000041727101980 at 0, 16 bytes long or more tracker: connect
//	202 (0xca)       16 bytes long or more                          tracker: what follows it
//
// Some first bytes stand in two rows: 0x01 may be STUN or uTP, 0x41 may be TURN
// or uTP. The rows are tried from the top, so that the longer test decides: a uTP
// packet passes for STUN only if its clock reads exactly the cookie, and for
// channel data only if its connection id equals its length. (0x21 and 0x31 lie in
// the range that RFC 7983 gives to DTLS, but no record type is above 26.) A connect to a
// tracker is not STUN, whose cookie is where it has 0x27101980; what follows it begins with a
// connection id, the first byte of which our tracker chooses so that no other row has it.
func Classify(b []byte) Class {
	if len(b) < turnHeaderLen {
		return ClassUnknown
	}
	switch first := b[0]; {
	case first == 'd' && len(b) >= minDHTLen && b[1] >= '0' && b[1] <= '9':
		return ClassDHT
	case first <= 3 && isSTUN(b):
		return ClassSTUN
	case first >= 20 && first <= 26 && isDTLS(b):
		return ClassDTLS
	case first >= 64 && first <= 79 && isChannelData(b):
		return ClassTURN
	case first&0x0f == utpVersion && first>>4 <= utpMaxType && len(b) >= utpHeaderLen:
		return ClassUTP
	case (first == 0 || first == trackerFirst) && isTracker(b):
		return ClassTracker
	}
	return ClassUnknown
}

func isTracker(b []byte) bool {
	return len(b) >= trackerHeaderLen && (b[0] == trackerFirst || binary.BigEndian.Uint64(b) == trackerMagic)
}

func isSTUN(b []byte) bool {
	return len(b) >= stunHeaderLen &&
		binary.BigEndian.Uint32(b[4:]) == stunCookie &&
		int(binary.BigEndian.Uint16(b[2:])) == len(b)-stunHeaderLen
}

func isDTLS(b []byte) bool {
	if len(b) < dtlsHeaderLen {
		return false
	}
	version := binary.BigEndian.Uint16(b[1:])
	length := int(binary.BigEndian.Uint16(b[11:]))
	return (version == dtls12 || version == dtls10) && length <= len(b)-dtlsHeaderLen
}

func isChannelData(b []byte) bool {
	padding := len(b) - turnHeaderLen - int(binary.BigEndian.Uint16(b[2:]))
	return padding >= 0 && padding <= turnMaxPadding
}
