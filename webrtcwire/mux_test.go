package webrtcwire

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// stunPacket is a STUN message of a type, with a USERNAME unless that is empty.
func stunPacket(kind uint16, id transactionID, username string, from netip.AddrPort) *packet {
	p := &packet{from: from}
	b := binary.BigEndian.AppendUint16(p.data[:0], kind)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, stunCookie)
	b = append(b, id[:]...)
	if username != "" {
		const attribute = 0x0006
		b = binary.BigEndian.AppendUint16(b, attribute)
		b = binary.BigEndian.AppendUint16(b, uint16(len(username)))
		b = append(b, username...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader))
	p.n = len(b)
	return p
}

const (
	bindingRequest = 0x0001
	bindingSuccess = 0x0101
	bindingError   = 0x0111
)

// An address goes from a program that was killed to the one that the system gives its
// port to, and not from one that is alive.
func TestAddressFollowsItsProgram(t *testing.T) {
	from := netip.MustParseAddrPort("192.0.2.1:5000")
	mine, theirs := transactionID{1}, transactionID{2}
	for _, c := range []struct {
		name     string
		response uint16 // to a check of the old program's connection
		owner    string
	}{
		{"alive", bindingSuccess, "old"},
		{"another program answers", bindingError, "new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &mux{
				agents: map[string]*agentConn{}, owners: map[netip.AddrPort]*ownership{}, sent: map[transactionID]string{},
			}
			for _, ufrag := range []string{"old", "new"} {
				m.agents[ufrag] = &agentConn{share: newShare(ufrag), mux: m}
			}
			m.dispatch(stunPacket(bindingRequest, theirs, "old:x", from))
			m.remember(stunPacket(bindingRequest, mine, "", from).data[:stunHeader], "old")
			m.dispatch(stunPacket(c.response, mine, "", from))
			m.dispatch(stunPacket(bindingRequest, theirs, "new:x", from))
			if got := m.owners[from].conn.ufrag; got != c.owner {
				t.Errorf("the address belongs to the %s connection, want the %s one", got, c.owner)
			}
		})
	}
}

// What is no agent's is left to others: a STUN or TURN server's, and answers to questions of others.
func TestWhatIsNotOursIsNotTaken(t *testing.T) {
	from := netip.MustParseAddrPort("192.0.2.1:5000")
	const allocate, indication = 0x0003, 0x0016
	packetOf := func(b ...byte) *packet {
		p := &packet{from: from}
		p.n = copy(p.data[:], b)
		return p
	}
	for _, c := range []struct {
		name   string
		packet *packet
		want   bool
	}{
		{"a check of an agent of ours", stunPacket(bindingRequest, transactionID{1}, "ours:x", from), true},
		{"a check of another's", stunPacket(bindingRequest, transactionID{1}, "other:x", from), false},
		{"a question for an address", stunPacket(bindingRequest, transactionID{1}, "", from), false},
		{"an allocation", stunPacket(allocate, transactionID{1}, "1234:name", from), false},
		{"an indication", stunPacket(indication, transactionID{1}, "", from), false},
		{"an answer to nobody", stunPacket(bindingSuccess, transactionID{1}, "", from), false},
		{"an answer to our question", stunPacket(bindingSuccess, transactionID{2}, "", from), true},
		{"channel data", packetOf(0x40, 0, 0, 1, 1, 0, 0, 0), false},
		{"DTLS of a stranger", packetOf(22, 0xfe, 0xfd), false},
		{"RTP", packetOf(128, 96), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &mux{
				agents: map[string]*agentConn{}, owners: map[netip.AddrPort]*ownership{}, sent: map[transactionID]string{},
				mirror: &Mirror{asker: asker{questions: map[transactionID]chan<- netip.AddrPort{{2}: make(chan netip.AddrPort, 1)}}},
			}
			m.agents["ours"] = &agentConn{share: newShare("ours"), mux: m}
			m.serving.Store(&map[netip.AddrPort]*relayedConn{})
			if taken := m.receive(c.packet.data[:c.packet.n], from); taken != c.want {
				t.Errorf("taken is %v, want %v", taken, c.want)
			}
		})
	}
}
