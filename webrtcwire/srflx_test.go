package webrtcwire

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// reflexiveOf are the server-reflexive candidates of a description, without foundation and
// priority, in order.
func reflexiveOf(sdp string) (found []string) {
	for line := range strings.Lines(sdp) {
		f := strings.Fields(strings.TrimPrefix(line, "a=candidate:"))
		if len(f) > 7 && f[7] == "srflx" {
			found = append(found, strings.Join(slices.Concat(f[2:3], f[4:]), " "))
		}
	}
	return found
}

// TestDescriptionsHaveMappedPorts: each description has the candidates of what is mapped when
// it is made, but none that is an address of ours anyway.
func TestDescriptionsHaveMappedPorts(t *testing.T) {
	at := netip.MustParseAddrPort
	tcp := Mapped{true, at("203.0.113.7:40000"), at("192.168.1.7:6881")}
	udp := Mapped{false, at("203.0.113.7:40000"), at("192.168.1.7:6881")}
	moved := Mapped{true, at("[2001:db8::7]:40001"), netip.AddrPort{}}
	const wantTCP = "tcp 203.0.113.7 40000 typ srflx raddr 192.168.1.7 rport 6881 tcptype passive"
	const wantUDP = "udp 203.0.113.7 40000 typ srflx raddr 192.168.1.7 rport 6881"
	const wantMoved = "tcp 2001:db8::7 40001 typ srflx raddr :: rport 0 tcptype passive"
	var now atomic.Pointer[[]Mapped]
	mapped := func(c *Config) { c.Mapped = func() []Mapped { return *now.Load() } }
	hub, port, _ := withTCP(t, mapped)
	withoutTCP := loopbackTransport(t, mapped)
	host := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	for i, test := range []struct {
		transport *Transport
		mapped    []Mapped
		want      []string
	}{
		{hub, nil, nil},
		{hub, []Mapped{tcp, udp, tcp}, []string{wantTCP, wantUDP}},
		{hub, []Mapped{moved}, []string{wantMoved}},
		{hub, []Mapped{{true, host, host}}, nil},
		{hub, nil, nil},
		{withoutTCP, []Mapped{tcp, udp}, []string{wantUDP}},
	} {
		now.Store(&test.mapped)
		offer, err := test.transport.Offer(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := reflexiveOf(offer.SDP); !slices.Equal(got, test.want) {
			t.Errorf("step %d: %q, want %q", i, got, test.want)
		}
		if err := offer.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRelayOnlyHidesMappedPorts: who is to be reached by a relay alone does not tell where else.
func TestRelayOnlyHidesMappedPorts(t *testing.T) {
	asked := false
	hub := loopbackTransport(t, func(c *Config) {
		c.RelayOnly, c.ICEServers = true, []string{"turn:user:password@127.0.0.1:9"}
		c.Mapped = func() []Mapped {
			asked = true
			return []Mapped{{false, netip.MustParseAddrPort("203.0.113.7:40000"), netip.AddrPort{}}}
		}
	})
	if got := hub.reflexive(testContext(t), nil); asked || len(got) > 0 {
		t.Errorf("told: %v; asked: %t", got, asked)
	}
}

// TestPrioritiesOfMappedPorts: UDP is tried before TCP, and ours before what a NAT gives us
// (RFC 8445 section 5.1.2, RFC 6544 section 4.2).
func TestPrioritiesOfMappedPorts(t *testing.T) {
	if srflxPriority != 1694498815 || tcpSrflxPriority != 1231028223 {
		t.Errorf("the priorities are %d and %d", srflxPriority, tcpSrflxPriority)
	}
	host, err := ice.NewCandidateHost(&ice.CandidateHostConfig{Network: "tcp", Address: "127.0.0.1", Port: 1, Component: 1, TCPType: ice.TCPTypePassive})
	if err != nil {
		t.Fatal(err)
	}
	if p := host.Priority(); p <= tcpSrflxPriority || p >= srflxPriority {
		t.Errorf("TCP of our own has priority %d", p)
	}
}

// TestICEOverMappedTCP: a peer that has no UDP, and reaches nothing of ours but the mapped
// port, reaches us.
func TestICEOverMappedTCP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	external := ln.Addr().(*net.TCPAddr).AddrPort()
	hub, port, _ := withTCP(t, func(c *Config) {
		c.Mapped = func() []Mapped { return []Mapped{{true, external, netip.AddrPort{}}} }
	})
	forward(t, ln, fmt.Sprint("127.0.0.1:", port))
	pc := pionPeer(t, func(s *webrtc.SettingEngine) {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	})
	opened := make(chan io.ReadWriteCloser, 1)
	pc.OnDataChannel(func(channel *webrtc.DataChannel) {
		channel.OnOpen(func() {
			raw, err := channel.Detach()
			if err != nil {
				t.Error(err)
			}
			opened <- raw
		})
	})
	offer, err := hub.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var behindNAT strings.Builder
	for line := range strings.Lines(offer.SDP) {
		if before, _, mapped := strings.Cut(line, " typ srflx "); mapped {
			line = before + " typ host tcptype passive\r\n" // pion takes no TCP of another type
		} else if strings.Contains(line, " typ host") {
			continue
		}
		behindNAT.WriteString(line)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: behindNAT.String()}); err != nil {
		t.Fatal(err)
	}
	answer, err := pc.CreateAnswer(nil)
	conn, err := offer.Accept(testContext(t), gathered(t, pc, answer, err))
	if err != nil {
		t.Fatal(err)
	}
	peer := <-opened
	t.Cleanup(func() { peer.Close() })
	throughPion(t, conn, conn, peer)
}

// forward passes on to an address what connects, as a router that maps a port; cut ends what is connected.
func forward(t *testing.T, ln net.Listener, to string) (cut func()) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	pass := func(outside net.Conn) {
		defer outside.Close()
		inside, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		wg.Go(func() {
			_, _ = io.Copy(outside, inside)
			outside.Close()
		})
		_, _ = io.Copy(inside, outside)
		inside.Close()
	}
	wg.Go(func() {
		for {
			outside, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, outside)
			mu.Unlock()
			wg.Go(func() { pass(outside) })
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range conns {
			conn.Close()
		}
	}
}
