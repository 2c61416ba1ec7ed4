package relay

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// TestAllocationsAreBounded has users take a hundred relays each.
func TestAllocationsAreBounded(t *testing.T) {
	for _, test := range []struct {
		what   string
		limits Limits
		user   func(i int) string
		most   int
	}{
		{"of a user", Limits{UserAllocations: 7}, func(int) string { return "greedy" }, 7},
		{"of an address", Limits{AddressAllocations: 9}, func(i int) string { return fmt.Sprint(i) }, 9},
		{"in all", Limits{Allocations: 5}, func(i int) string { return fmt.Sprint(i) }, 5},
	} {
		t.Run(test.what, func(t *testing.T) {
			s := serve(t, Config{Secret: secret, Limits: test.limits})
			var conns []net.PacketConn
			for i := range 100 {
				username, password, err := s.Credentials(test.user(i), time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := s.client(t, "udp", username, password).Allocate()
				if err == nil {
					conns = append(conns, conn)
				} else if !strings.Contains(err.Error(), "486") {
					t.Fatalf("allocation %d: %v", i, err)
				}
			}
			if got := s.Stats().Allocations; len(conns) != test.most || got != test.most {
				t.Fatalf("%d allocations, and %d counted, want %d", len(conns), got, test.most)
			}
			// What is given back can be had again.
			for _, conn := range conns {
				if err := conn.Close(); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the relays to be given back", func() bool { return s.Stats().Allocations == 0 })
			s.allocate(t, "udp", test.user(0))
		})
	}
}

// TestOthersAreServed has one user at his bound, and another.
func TestOthersAreServed(t *testing.T) {
	s := serve(t, Config{Secret: secret, Limits: Limits{UserAllocations: 1}})
	s.allocate(t, "udp", "greedy")
	username, password, err := s.Credentials("greedy", time.Minute) // others, of the same name
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client(t, "tcp", username, password).Allocate(); err == nil {
		t.Error("a second allocation of a user who may have one")
	}
	s.allocate(t, "tcp", "modest")
}

func TestAllocationsEnd(t *testing.T) {
	s := serve(t, Config{Secret: secret, Limits: Limits{Lifetime: 100 * time.Millisecond}})
	s.allocate(t, "udp", "a")
	tcp := s.allocate(t, "tcp", "b")
	eventually(t, "the allocations to end", func() bool { return s.Stats().Allocations == 0 })
	tcp.Close()
}

// TestAllocationsOfConnectionsEnd closes a TCP connection without a farewell.
func TestAllocationsOfConnectionsEnd(t *testing.T) {
	s := serve(t, Config{Secret: secret})
	username, password, err := s.Credentials("a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	client, conn := s.connect(t, "tcp", username, password)
	relayed, err := client.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relayed.Close() // the client's part
	conn.Close()
	eventually(t, "the allocation to end", func() bool { return s.Stats().Allocations == 0 })
}

// TestConnectionsAreBounded opens TCP connections that say little.
func TestConnectionsAreBounded(t *testing.T) {
	const most = 3
	s := serve(t, Config{Secret: secret, Limits: Limits{Conns: most}})
	request := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	answered := 0
	for range 10 {
		conn, err := net.Dial("tcp", s.tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(request.Raw); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 100)); err == nil && n > 0 {
			answered++
		}
	}
	if answered != most {
		t.Errorf("%d connections were served, want %d", answered, most)
	}
}

// TestRates has a client send more than it may.
func TestRates(t *testing.T) {
	for what, limits := range map[string]Limits{"of a user": {UserRate: 4000}, "in all": {Rate: 4000}} {
		t.Run(what, func(t *testing.T) {
			s := serve(t, Config{Secret: secret, AllowPrivate: true, Limits: limits})
			peer, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			relayed := s.allocate(t, "udp", "a")
			exchange(t, relayed, peer, "permitted")
			for range 100 {
				if _, err := relayed.WriteTo(make([]byte, 1000), peer.LocalAddr()); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "packets to be dropped", func() bool { return s.Stats().Dropped > 50 })
			if got := s.Stats().Relayed; got > 20_000 { // 2 s and the burst
				t.Errorf("%d bytes were relayed", got)
			}
		})
	}
}

// TestFlood asks as somebody who forges another's address would: without end.
func TestFlood(t *testing.T) {
	s := serve(t, Config{Secret: secret})
	conn, err := net.Dial("udp", s.udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest),
		stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}})
	start := time.Now()
	for s.Stats().Limited < 1000 {
		if _, err := conn.Write(request.Raw); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) > patience {
			t.Fatal("no request was refused")
		}
	}
	most := requestBurst + int(requestRate*time.Since(start).Seconds()) + requestRate
	answers, bytes := 0, 0
	for b := make([]byte, 2000); ; answers++ {
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(b)
		if err != nil {
			break
		}
		bytes += n
	}
	if answers == 0 || answers > most {
		t.Errorf("%d answers, want 1 to %d", answers, most)
	}
	if limit := 4 * len(request.Raw); bytes > answers*limit {
		t.Errorf("answers of %d bytes to %d, want at most %d", bytes/answers, len(request.Raw), limit)
	}
}

func TestFloodKeepsAddressesApart(t *testing.T) {
	now := time.Unix(1000, 0)
	f := newFlood(func() time.Time { return now })
	one, neighbour, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("192.0.2.1")
	for i := range requestBurst {
		if !f.allow(one) {
			t.Fatalf("request %d was refused", i)
		}
	}
	if f.allow(one) || f.allow(neighbour) {
		t.Error("one more of the same network was answered")
	}
	if !f.allow(other) {
		t.Error("another address pays for it") // once in floodBuckets it does
	}
	now = now.Add(time.Second)
	for i := range requestRate {
		if !f.allow(one) {
			t.Fatalf("after a second, request %d was refused", i)
		}
	}
	if f.allow(one) {
		t.Error("after a second, one more than the rate was answered")
	}
}

func TestPolicy(t *testing.T) {
	own := netip.MustParseAddr("198.51.100.1")
	relay := netip.AddrPortFrom(own, 50000)
	for _, allowed := range []bool{false, true} {
		relays := newRelays()
		relays.add(relay, netip.MustParseAddrPort("10.0.0.1:50000"))
		p := &policy{allowInner: allowed, public: []netip.Addr{own}, relays: relays, now: time.Now}
		for _, test := range []struct {
			address        string
			always, forbid bool // whatever is allowed
		}{
			{address: "192.0.2.1", always: true},
			{address: "2001:4860:4860::8888", always: true},
			{address: "::ffff:192.0.2.1", always: true},
			{address: "127.0.0.2"}, {address: "::ffff:127.0.0.2"},
			{address: "10.0.0.2"}, {address: "::ffff:10.0.0.2"}, {address: "172.16.0.1"}, {address: "192.168.0.1"},
			{address: "169.254.169.254"}, {address: "100.64.0.1"}, {address: "198.18.0.1"}, {address: "192.0.0.8"},
			{address: "fe80::1"}, {address: "fd00::1"}, {address: "fec0::1"},
			{address: "64:ff9b::10.0.0.2"}, {address: "64:ff9b::192.0.2.1", always: true}, {address: "64:ff9b:1::1"},
			{address: "::10.0.0.2"}, {address: "2002:a00:2::1"}, {address: "2002:c000:201::1", always: true}, {address: "2001::1"},
			{address: "0.0.0.0", forbid: true}, {address: "::", forbid: true}, {address: "::ffff:0.0.0.0", forbid: true},
			{address: "224.0.0.1", forbid: true}, {address: "::ffff:224.0.0.1", forbid: true}, {address: "ff02::1", forbid: true},
			{address: "255.255.255.255", forbid: true}, {address: "240.0.0.1", forbid: true}, {address: "0.1.2.3", forbid: true},
		} {
			a := netip.MustParseAddr(test.address)
			want := test.always || allowed && !test.forbid
			if got := p.mayPermit(a); got != want {
				t.Errorf("inner allowed %v: permit %v: %v, want %v", allowed, a, got, want)
			}
			if got := p.mayRelay(netip.AddrPortFrom(a, 1234)); got != want {
				t.Errorf("inner allowed %v: relay to %v: %v, want %v", allowed, a, got, want)
			}
			if p.mayRelay(netip.AddrPortFrom(a, 0)) {
				t.Errorf("relay to port 0 of %v", a)
			}
		}
		if !p.mayPermit(own) || !p.mayRelay(relay) {
			t.Errorf("inner allowed %v: another client's relay cannot be reached", allowed)
		}
		if got := p.mayRelay(netip.AddrPortFrom(own, 8000)); got != allowed {
			t.Errorf("inner allowed %v: a port of this machine: %v", allowed, got)
		}
	}
}

// Of this machine's ports, only those that Config.OwnPort has are relayed to, and at its
// own addresses only.
func TestPolicyOwnPort(t *testing.T) {
	own := netip.MustParseAddr("198.51.100.1")
	p := &policy{public: []netip.Addr{own}, relays: newRelays(), now: time.Now, ownPort: func(port uint16) bool { return port == 6881 }}
	for _, test := range []struct {
		to   string
		want bool
	}{
		{"198.51.100.1:6881", true},
		{"[::ffff:198.51.100.1]:6881", true},
		{"198.51.100.1:6882", false},
		{"192.0.2.1:6881", true}, // the world's, whatever the port
		{"192.0.2.1:6882", true},
		// Private ones that are not ours:
		{"10.255.255.254:6881", false},
		{"169.254.169.254:6881", false},
		{"[fd00:dead:beef::1]:6881", false},
	} {
		if got := p.mayRelay(netip.MustParseAddrPort(test.to)); got != test.want {
			t.Errorf("relay to %s: %v, want %v", test.to, got, test.want)
		}
	}
	p.ownPort = nil
	if p.mayRelay(netip.AddrPortFrom(own, 6881)) {
		t.Error("without OwnPort, it is relayed to a port of this machine")
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
