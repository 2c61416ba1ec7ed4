package discovery

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"
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
	node := netip.MustParseAddrPort("127.0.0.1:7")
	answer := nodePacket{
		data: append(append([]byte("d1:rd"+nodeID+"6:nodes638:aaaaaaaaaaaaaaaaaaaa"), compact(other[1])...), "e1:t2:aa1:y1:re"...),
		from: node,
	}
	conn := d.halves[0].conn
	var named []netip.AddrPort
	hearsay := conn.heard
	conn.heard = func(node netip.AddrPort) { named = append(named, node) }
	conn.sanitize(make([]byte, maxMessage), answer)
	if len(named) > 0 {
		t.Errorf("a node that was asked nothing had %v tried", named)
	}
	conn.heard = hearsay
	conn.asked.note(node, []byte("aa"), time.Now())
	conn.sanitize(make([]byte, maxMessage), answer)
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
		d.halves[0].conn.asked.note(from, []byte("aa"), time.Now())
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

// What a packet says of our address counts if it answers a query of ours, once: others may be
// forged.
func TestNobodyIsHeardWhoWasNotAsked(t *testing.T) {
	var told []netip.Addr
	conn := newNodeConn(familyConn{newScriptedConn(), nil}, true, func(_, _ netip.Addr) bool { return true }, guard{slog.New(slog.DiscardHandler)})
	conn.seen = func(node, _ netip.Addr) { told = append(told, node) }
	node, other := netip.MustParseAddrPort("192.0.2.1:7"), netip.MustParseAddrPort("192.0.2.1:8")
	hears := func(what string, from netip.AddrPort, transaction string, want int) {
		t.Helper()
		told = nil
		data := []byte("d2:ip4:\x01\x02\x03\x041:rd" + nodeID + "e1:t2:" + transaction + "1:y1:re")
		if conn.sanitize(make([]byte, maxMessage), nodePacket{data, from}) == 0 || len(told) != want {
			t.Errorf("%s: told %v", what, told)
		}
	}
	hears("nobody was asked", node, "aa", 0)
	query, answer := "d1:ad"+nodeID+"e1:q4:ping1:t2:aa1:y1:qe", "d1:rd"+nodeID+"e1:t2:bb1:y1:re"
	for _, message := range []string{query, answer} {
		if _, err := conn.WriteTo([]byte(message), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}); err != nil {
			t.Fatal(err)
		}
	}
	hears("it asked us", node, "bb", 0)
	hears("another was asked", other, "aa", 0)
	hears("it was asked", node, "aa", 1)
	hears("it answers again", node, "aa", 0)
}

func TestQuestionsAreBounded(t *testing.T) {
	var q questions
	node, now := netip.MustParseAddrPort("192.0.2.1:7"), time.Now()
	transaction := func(i int) []byte { return []byte(strconv.Itoa(i)) }
	for i := range 2 * maxQuestions {
		q.note(node, transaction(i), now)
	}
	if len(q.sent) != maxQuestions {
		t.Errorf("%d are remembered", len(q.sent))
	}
	late := now.Add(questionLife + 1)
	if q.answered(node, transaction(0), late) {
		t.Error("an answer that comes too late is listened to")
	}
	for i := range 2 {
		q.note(node, transaction(i), late)
	}
	if len(q.sent) != 2 || !q.answered(node, transaction(1), late) {
		t.Errorf("%d are remembered when all others have expired", len(q.sent))
	}
}

// Nodes of one family that do not answer keep none of the other from being tried.
func TestASilentFamilyStarvesNotTheOther(t *testing.T) {
	pc, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6:", err)
	}
	defer pc.Close()
	silent := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	_, node := newNode(t, DHTConfig{})
	d, _ := dualNode(t, DHTConfig{})
	for range 4 * maxPendingPings {
		d.ping(silent)
	}
	d.ping(node)
	eventually(t, "the node of IPv4 is known", func() bool { return d.halves[0].server.NumNodes() == 1 })
}

// lookupNetwork writes down what names are looked up.
type lookupNetwork struct {
	plainNetwork
	looked chan string
}

func (n lookupNetwork) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	select {
	case n.looked <- network + " " + host:
	default:
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// A bootstrap node's name is looked up once for each family.
func TestBootstrapNamesAreLookedUpOnce(t *testing.T) {
	looked := make(chan string, 100)
	newNode(t, DHTConfig{Bootstrap: []string{"node.example:6881"}, Network: lookupNetwork{looked: looked}})
	got := []string{<-looked, <-looked}
	slices.Sort(got)
	if want := []string{"ip4 node.example", "ip6 node.example"}; !slices.Equal(got, want) {
		t.Errorf("looked up %q", got)
	}
}
