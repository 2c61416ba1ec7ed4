package netns_test

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/netns"
)

// TestNATs: each kind of NAT maps and filters as its name says.
func TestNATs(t *testing.T) {
	for _, test := range []struct {
		name                          string
		nat                           netns.NAT
		samePort, fromPort, fromOther bool // in the filter: another port of the same address, another address
	}{
		{"port restricted", netns.PortRestricted, true, false, false},
		{"address restricted", netns.AddressRestricted, true, true, false},
		{"full cone", netns.FullCone, true, true, true},
		{"symmetric", netns.Symmetric, false, false, false},
		{"none", netns.None, true, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			world := netns.New(t)
			server := world.Public(2)
			host := world.Home(netns.Config{NAT: test.nat}).Host()
			inside := listen(t, host, netip.AddrPortFrom(netip.IPv4Unspecified(), 6881))
			first := listen(t, server, netip.AddrPortFrom(server.IPv4[0], 1000))
			other := listen(t, server, netip.AddrPortFrom(server.IPv4[0], 1001))
			second := listen(t, server, netip.AddrPortFrom(server.IPv4[1], 1000))
			send(t, inside, addrPort(first))
			mapped, came := come(t, first, true)
			if !came {
				t.Fatal("nothing came through the NAT")
			}
			for _, c := range []struct {
				from *net.UDPConn
				want bool
			}{{first, true}, {other, test.fromPort}, {second, test.fromOther}} {
				send(t, c.from, mapped)
				if from, came := come(t, inside, c.want); came != c.want || came && from != addrPort(c.from) {
					t.Errorf("a packet of %s came through: %t as from %s, want %t", addrPort(c.from), came, from, c.want)
				}
			}
			send(t, inside, addrPort(second))
			again, _ := come(t, second, true)
			if again.Addr() != mapped.Addr() || (again == mapped) != test.samePort {
				t.Errorf("mapped to %s and %s; the same: want %t", mapped, again, test.samePort)
			}
		})
	}
}

// TestDualStackHome: hosts of a home with IPv6 have it to the world, behind a firewall, and
// UDP can be blocked in both families.
func TestDualStackHome(t *testing.T) {
	world := netns.New(t)
	server := world.Public(1)
	for _, blocked := range []bool{false, true} {
		host := world.Home(netns.Config{IPv6: true, BlockUDP: blocked}).Host()
		for _, ends := range [][2]netip.Addr{{host.IPv4[0], server.IPv4[0]}, {host.IPv6[0], server.IPv6[0]}} {
			inside, outside := listen(t, host, netip.AddrPortFrom(ends[0], 0)), listen(t, server, netip.AddrPortFrom(ends[1], 0))
			send(t, inside, addrPort(outside))
			from, came := come(t, outside, !blocked)
			if came == blocked {
				t.Fatalf("a packet came to %s: %t; blocked: %t", ends[1], came, blocked)
			}
			if !blocked {
				send(t, outside, from)
				if _, came := come(t, inside, true); !came {
					t.Errorf("no answer came to %s", ends[0])
				}
			}
		}
	}
}

func listen(t *testing.T, h *netns.Host, at netip.AddrPort) (conn *net.UDPConn) {
	t.Helper()
	var err error
	h.Do(func() { conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t *testing.T, c *net.UDPConn, to netip.AddrPort) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte("x"), to); err != nil {
		t.Fatal(err)
	}
}

// come is whether a packet comes, and from whom. What must come is waited for; what must not
// would come at once, as all is on one machine.
func come(t *testing.T, c *net.UDPConn, must bool) (from netip.AddrPort, came bool) {
	t.Helper()
	wait := 200 * time.Millisecond
	if must {
		wait = 10 * time.Second
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	_, from, err := c.ReadFromUDPAddrPort(make([]byte, 10))
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err == nil
}

func addrPort(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// TestOutsidePort: a NAT may give a host's port another number, and lets in what comes to
// that one while it is open.
func TestOutsidePort(t *testing.T) {
	world := netns.New(t)
	server := world.Public(1)
	host := world.Home(netns.Config{NAT: netns.FullCone, Inside: 6881, Outside: 41881}).Host()
	inside := listen(t, host, netip.AddrPortFrom(netip.IPv4Unspecified(), 6881))
	first := listen(t, server, netip.AddrPortFrom(server.IPv4[0], 0))
	send(t, inside, addrPort(first))
	mapped, _ := come(t, first, true)
	if mapped.Port() != 41881 {
		t.Errorf("mapped to %s", mapped)
	}
	second := listen(t, server, netip.AddrPortFrom(server.IPv4[0], 0))
	send(t, second, mapped)
	if from, came := come(t, inside, true); !came || from != addrPort(second) {
		t.Errorf("a packet of %s came: %t as from %s", addrPort(second), came, from)
	}
}

// TestDoEndsWithItsGoroutine: what ends its goroutine inside of a namespace, as t.Fatal does,
// hangs nobody.
func TestDoEndsWithItsGoroutine(t *testing.T) {
	host := netns.New(t).Public(1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		host.Do(runtime.Goexit)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("it hangs")
	}
}
