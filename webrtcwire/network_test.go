package webrtcwire

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

// recordingNetwork knows one name, which package net does not, and remembers what it was
// asked for.
type recordingNetwork struct {
	plainNetwork
	mu    sync.Mutex
	asked []string
}

func (n *recordingNetwork) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, fmt.Sprintf(format, args...))
}

func (n *recordingNetwork) wasAsked(what string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.asked, func(s string) bool { return strings.HasPrefix(s, what) })
}

func (n *recordingNetwork) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	n.note("dial %s %s", network, address)
	return n.plainNetwork.DialContext(ctx, network, address)
}

func (n *recordingNetwork) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	n.note("listen %s %s", network, address)
	return n.plainNetwork.ListenPacket(ctx, network, address)
}

func (n *recordingNetwork) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	n.note("lookup %s", host)
	if host == "server.example" && network != "ip6" {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n *recordingNetwork) Interfaces() ([]net.Interface, error) {
	n.note("interfaces")
	all, err := n.plainNetwork.Interfaces()
	return slices.DeleteFunc(all, func(i net.Interface) bool { return i.Flags&net.FlagLoopback == 0 }), err
}

// TestTheNetworkIsTheOnlyWayOut names servers that only the Network can find.
func TestTheNetworkIsTheOnlyWayOut(t *testing.T) {
	free, err := realpeer.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	port, network := strconv.Itoa(free), &recordingNetwork{}
	transport, err := New(Config{
		Network: network, IncludeLoopback: true,
		ICEServers: []string{
			"stun:server.example:" + port,
			"turn:u:p@server.example:" + port + "?transport=udp",
			"turn:u:p@server.example:" + port + "?transport=tcp",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	offer, err := transport.Offer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(offer.SDP) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "a=candidate:") {
			if ip, err := netip.ParseAddr(fields[4]); err != nil || !ip.IsLoopback() {
				t.Errorf("a candidate of an interface that the network does not list: %s", line)
			}
		}
	}
	for _, want := range []string{
		"listen udp :0", "interfaces", "lookup server.example",
		"dial tcp4 127.0.0.1:" + port,
	} {
		eventually(t, "the network to be asked: "+want, func() bool { return network.wasAsked(want) })
	}
	resolver := newResolver(true, network, slog.New(slog.DiscardHandler))
	defer resolver.close()
	if _, err := resolver.open(); err != nil {
		t.Skip("no multicast on this host:", err)
	}
	if !network.wasAsked("listen udp4 224.") {
		t.Error("mDNS listens by another way")
	}
}

// TestASocketAtAnAddressOffersThatAlone: --listen ADDRESS.
func TestASocketAtAnAddressOffersThatAlone(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport, err := New(Config{PacketConns: []net.PacketConn{udp}})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	offer, err := transport.Offer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(offer.SDP) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "a=candidate:") {
			n++
			if fields[4] != "127.0.0.1" || fields[5] != fmt.Sprint(udp.LocalAddr().(*net.UDPAddr).Port) {
				t.Errorf("a candidate at another address: %s", line)
			}
		}
	}
	if n == 0 {
		t.Errorf("no candidate in %s", offer.SDP)
	}
}

// TestAPanicOverAPacketEndsThePacket: those that follow are handed on.
func TestAPanicOverAPacketEndsThePacket(t *testing.T) {
	var logged strings.Builder
	m := &mux{logger: slog.New(slog.NewTextHandler(&logged, nil))}
	if kept, _ := m.dispatch(&packet{n: -1}); !kept {
		t.Error("the packet is used again, though nobody knows who has it")
	}
	if !strings.Contains(logged.String(), "panic") || !strings.Contains(logged.String(), "mux.go") {
		t.Errorf("logged %q, want the panic and its stack", logged.String())
	}
}
