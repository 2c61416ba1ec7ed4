package discovery

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
	"testing"
)

// dualNode starts a node of both families on loopback; its addresses are IPv4's and IPv6's.
func dualNode(t *testing.T, cfg DHTConfig) (d *DHT, at [2]netip.AddrPort) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "[::]:0")
	if err != nil {
		t.Skip("no IPv6:", err)
	}
	cfg.Conn = pc
	d, err = NewDHT(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	port := uint16(pc.LocalAddr().(*net.UDPAddr).Port)
	at = [2]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), netip.AddrPortFrom(netip.IPv6Loopback(), port)}
	return d, at
}

// A torrent is announced in the DHT of each family, at the port that it has there.
func TestBothFamiliesHaveTheirDHT(t *testing.T) {
	_, router := dualNode(t, DHTConfig{})
	both := []string{router[0].String(), router[1].String()}
	seed, _ := dualNode(t, DHTConfig{Bootstrap: both})
	hash := [20]byte{1, 2, 4}
	announceAt(t, seed, hash, func(v4 bool) Port { return Port{Number: map[bool]uint16{true: 1004, false: 1006}[v4]} })
	for i, want := range []string{"127.0.0.1:1004", "[::1]:1006"} {
		leech, _ := dualNode(t, DHTConfig{Bootstrap: both[i : i+1]}) // that knows one family only
		waitFor(t, announce(t, leech, hash, 1002), want)
	}
	for i, h := range seed.halves {
		for _, n := range h.server.Nodes() {
			if addr, ok := addrPort(n.Addr); !ok || addr.Addr().Is4() != h.v4 {
				t.Errorf("half %d has the node %v", i, n.Addr)
			}
		}
	}
}

// Nodes of IPv6 that a node of IPv4 names are how IPv6 gets its first ones.
func TestOneFamilyTellsOfTheOther(t *testing.T) {
	_, other := dualNode(t, DHTConfig{})
	d, _ := dualNode(t, DHTConfig{})
	d.halves[0].conn.sanitize(make([]byte, maxMessage), nodePacket{
		data: append(append([]byte("d1:rd"+nodeID+"6:nodes638:aaaaaaaaaaaaaaaaaaaa"), compact(other[1])...), "e1:t2:aa1:y1:re"...),
		from: netip.MustParseAddrPort("127.0.0.1:7"),
	})
	eventually(t, "the node of IPv6 is known", func() bool { return d.halves[1].server.NumNodes() == 1 })
	if n := d.halves[0].server.NumNodes(); n != 0 {
		t.Errorf("%d nodes of IPv4", n)
	}
}

func compact(a netip.AddrPort) []byte {
	return append(a.Addr().AsSlice(), byte(a.Port()>>8), byte(a.Port()))
}

// What a node says of our address is handed on, whichever form it has.
func TestNodesSayHowTheySeeUs(t *testing.T) {
	type seen struct{ node, us netip.Addr }
	told := make(chan seen, 1)
	d, _ := dualNode(t, DHTConfig{Seen: func(node, us netip.Addr) { told <- seen{node, us} }})
	for _, c := range []struct{ ip, want string }{
		{"\x01\x02\x03\x04", "1.2.3.4"}, {"\x01\x02\x03\x04\x1a\xe1", "1.2.3.4"},
		{string(netip.MustParseAddr("2001:db8::1").AsSlice()), "2001:db8::1"}, {"abc", ""},
	} {
		var b bytes.Buffer
		b.WriteString("d2:ip" + strconv.Itoa(len(c.ip)) + ":" + c.ip + "1:rd" + nodeID + "e1:t2:aa1:y1:re")
		from := netip.MustParseAddrPort("192.0.2.1:7")
		if d.halves[0].conn.sanitize(make([]byte, maxMessage), nodePacket{b.Bytes(), from}) == 0 {
			t.Errorf("%q is not taken", b.String())
		}
		select {
		case got := <-told:
			if got.node != from.Addr() || got.us.String() != c.want {
				t.Errorf("%q: told %v", c.ip, got)
			}
		default:
			if c.want != "" {
				t.Errorf("%q: nobody is told", c.ip)
			}
		}
	}
}
