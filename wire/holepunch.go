package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// HolepunchType says what a ut_holepunch message is for (BEP 55).
type HolepunchType byte

const (
	// HolepunchRendezvous asks the receiver, a relay, to introduce the sender to Addr.
	HolepunchRendezvous HolepunchType = 0
	// HolepunchConnect asks the receiver to connect to Addr, which does so as well.
	HolepunchConnect HolepunchType = 1
	// HolepunchFailed tells whoever asked that nothing comes of it, and why.
	HolepunchFailed HolepunchType = 2
)

// HolepunchError is why a relay does not introduce anybody (BEP 55).
type HolepunchError uint32

const (
	HolepunchNoSuchPeer   HolepunchError = 1 // the address can be nobody's
	HolepunchNotConnected HolepunchError = 2 // the relay is not connected to it
	HolepunchNoSupport    HolepunchError = 3 // whoever has it does not know the extension
	HolepunchNoSelf       HolepunchError = 4 // it is the relay's own
)

func (e HolepunchError) Error() string {
	switch e {
	case HolepunchNoSuchPeer:
		return "the address can be nobody's"
	case HolepunchNotConnected:
		return "the relay is not connected to it"
	case HolepunchNoSupport:
		return "it does not know hole punching"
	case HolepunchNoSelf:
		return "it is the relay itself"
	}
	return fmt.Sprintf("error %d", uint32(e))
}

// HolepunchMessage is a ut_holepunch message (BEP 55).
type HolepunchMessage struct {
	Type  HolepunchType
	Addr  netip.AddrPort
	Error HolepunchError // HolepunchFailed only
}

// The second byte of a ut_holepunch message: the family of its address.
const (
	holepunchIPv4 = 0
	holepunchIPv6 = 1
)

// Encode returns the payload of a ut_holepunch message.
func (m *HolepunchMessage) Encode() []byte {
	family := byte(holepunchIPv6)
	if m.Addr.Addr().Unmap().Is4() {
		family = holepunchIPv4
	}
	b := appendCompact([]byte{byte(m.Type), family}, m.Addr)
	var reason HolepunchError
	if m.Type == HolepunchFailed {
		reason = m.Error
	}
	return binary.BigEndian.AppendUint32(b, uint32(reason))
}

// DecodeHolepunch reads the payload of a ut_holepunch message. libtorrent leaves the error
// code out where there is none. ok is false for a message that says nothing, which is to be
// passed over.
func DecodeHolepunch(b []byte) (m HolepunchMessage, ok bool) {
	if len(b) < 2 || b[0] > byte(HolepunchFailed) {
		return m, false
	}
	m.Type = HolepunchType(b[0])
	size := 4
	switch b[1] {
	case holepunchIPv4:
	case holepunchIPv6:
		size = 16
	default:
		return m, false
	}
	rest := b[2:]
	addrs := parseCompact(rest, size, 1)
	if len(addrs) == 0 {
		return m, false
	}
	m.Addr = addrs[0]
	if rest = rest[size+2:]; m.Type == HolepunchFailed && len(rest) >= 4 {
		m.Error = HolepunchError(binary.BigEndian.Uint32(rest))
	}
	return m, true
}
