package webrtcwire

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
)

// A packet that is read by a candidate of the other address family is dropped by
// pion/ice, and with it the connection on hosts that have both.
func TestPacketsGoToTheirAddressFamily(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := newMux([]net.PacketConn{udp}, nil, nil, slog.New(slog.DiscardHandler))
	defer m.Close()
	read := map[string]func([]byte) (int, netip.AddrPort, error){}
	for _, local := range []string{"192.0.2.1", "2001:db8::1"} {
		conn, err := m.GetConn("ufrag", &net.UDPAddr{IP: net.ParseIP(local), Port: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		read[local] = conn.(*candidateConn).ReadFromAddrPort
	}
	m.mu.Lock()
	agent := m.agents["ufrag"]
	m.mu.Unlock()
	for _, from := range []string{"[2001:db8::2]:2", "192.0.2.2:2"} {
		p := &packet{n: 1, from: netip.MustParseAddrPort(from)}
		if !agent.deliver(p) {
			t.Fatal("not delivered")
		}
	}
	for local, from := range map[string]string{"192.0.2.1": "192.0.2.2:2", "2001:db8::1": "[2001:db8::2]:2"} {
		if _, addr, err := read[local](make([]byte, 10)); err != nil && !errors.Is(err, io.EOF) || addr.String() != from {
			t.Errorf("the candidate %s got a packet of %v (%v), want %s", local, addr, err, from)
		}
	}
}
