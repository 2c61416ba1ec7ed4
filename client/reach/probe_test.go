package reach

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// TestProbe has coturn, at two addresses, tell what each kind of NAT does.
func TestProbe(t *testing.T) {
	realpeer.Need(t, realpeer.Coturn)
	world := netns.New(t)
	server := world.Public(2)
	coturnAt(t, server)
	first := netip.AddrPortFrom(server.IPv4[0], 3478)
	for _, test := range []struct {
		name   string
		config netns.Config
		want   NAT
		err    error
	}{
		{"full cone", netns.Config{NAT: netns.FullCone}, NAT{false, netip.AddrPort{}, 1, EndpointIndependent, EndpointIndependent}, nil},
		{"address restricted", netns.Config{NAT: netns.AddressRestricted}, NAT{false, netip.AddrPort{}, 1, EndpointIndependent, AddressDependent}, nil},
		{"port restricted", netns.Config{NAT: netns.PortRestricted}, NAT{false, netip.AddrPort{}, 1, EndpointIndependent, AddressAndPortDependent}, nil},
		{"symmetric", netns.Config{NAT: netns.Symmetric}, NAT{false, netip.AddrPort{}, 1, AddressAndPortDependent, AddressAndPortDependent}, nil},
		{"firewall", netns.Config{NAT: netns.None}, NAT{true, netip.AddrPort{}, 1, EndpointIndependent, AddressAndPortDependent}, nil},
		{"blocked", netns.Config{BlockUDP: true}, NAT{}, ErrBlocked},
	} {
		host := world.Home(test.config).Host()
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := probeFrom(t, host, first)
			if got.Mapped = (netip.AddrPort{}); got != test.want || !errors.Is(err, test.err) {
				t.Errorf("%+v, %v, want %+v, %v", got, err, test.want, test.err)
			}
		})
	}
	public := world.Public(1)
	t.Run("public", func(t *testing.T) {
		t.Parallel()
		got, err := probeFrom(t, public, first)
		if err != nil || !got.None || got.Filtering != EndpointIndependent || got.Mapped.Addr() != public.IPv4[0] {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func probeFrom(t *testing.T, host *netns.Host, servers ...netip.AddrPort) (n NAT, err error) {
	host.Do(func() {
		conn, failed := net.ListenPacket("udp4", ":0")
		if err = failed; err == nil {
			defer conn.Close()
			n, err = Probe(t.Context(), conn, servers)
		}
	})
	return n, err
}

// coturnAt runs coturn as a STUN server at port 3478 of all addresses of a host.
func coturnAt(t *testing.T, host *netns.Host) {
	t.Helper()
	realpeer.StartSTUN(t, host.Exec(), host.IPv4...)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := probeFrom(t, host, netip.AddrPortFrom(host.IPv4[0], 3478))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("coturn does not answer: ", err)
		}
	}
}

// stunServer answers at loopback with what mapped makes of where a question came from.
func stunServer(t *testing.T, at string, mapped func(from netip.AddrPort) netip.AddrPort) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp4", at)
	if err != nil {
		t.Skip("this system has one loopback address only: ", err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			request := &stun.Message{Raw: b[:n]}
			if request.Decode() != nil {
				continue
			}
			m := mapped(from.(*net.UDPAddr).AddrPort())
			reply, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess,
				&stun.XORMappedAddress{IP: m.Addr().AsSlice(), Port: int(m.Port())})
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(reply.Raw, from)
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestProbeWithPlainServers compares what two servers see that have one address each.
func TestProbeWithPlainServers(t *testing.T) {
	shifted := func(by uint16) func(netip.AddrPort) netip.AddrPort {
		return func(from netip.AddrPort) netip.AddrPort {
			return netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), from.Port()^by)
		}
	}
	first, same := stunServer(t, "127.0.0.1:0", shifted(1)), stunServer(t, "127.0.0.2:0", shifted(1))
	neighbour, other := stunServer(t, "127.0.0.1:0", shifted(1)), stunServer(t, "127.0.0.3:0", shifted(2))
	plain := stunServer(t, "127.0.0.4:0", func(from netip.AddrPort) netip.AddrPort { return from })
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, test := range []struct {
		name    string
		servers []netip.AddrPort
		want    Behaviour
		none    bool
	}{
		{"one", []netip.AddrPort{first}, Unknown, false},
		{"two of one address", []netip.AddrPort{first, neighbour}, Unknown, false},
		{"the same port", []netip.AddrPort{first, same}, EndpointIndependent, false},
		{"another port", []netip.AddrPort{first, other}, Dependent, false},
		{"no NAT", []netip.AddrPort{plain}, Unknown, true},
	} {
		got, err := Probe(t.Context(), conn, test.servers)
		if err != nil || got.Mapping != test.want || got.Filtering != Unknown || got.None != test.none {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Probe(ctx, conn, []netip.AddrPort{first}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// FuzzAnswer feeds what a server, or somebody in between, might answer.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("\x01\x01\x00\x0c\x21\x12\xa4\x42abcdefghijkl\x00\x20\x00\x08\x00\x01\x11\x11\x11\x11\x11\x11"))
	f.Add([]byte("\x01\x01\x00\x18\x21\x12\xa4\x42abcdefghijkl\x00\x20\x00\x08\x00\x01\x11\x11\x11\x11\x11\x11\x80\x2c\x00\x08\x00\x01\x0d\x96\x7f\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		mapped, _, ok := parseAnswer(b, [stun.TransactionIDSize]byte([]byte("abcdefghijkl")))
		if ok && (!mapped.IsValid() || mapped.Port() == 0) {
			t.Errorf("%q is taken for %v", b, mapped)
		}
	})
}
