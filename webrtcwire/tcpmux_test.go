package webrtcwire

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// withTCP is a loopback Transport that is given what connects to a TCP port of its own.
func withTCP(t *testing.T, change func(*Config)) (transport *Transport, port int, refused <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = ln.Addr().(*net.TCPAddr).Port
	transport = loopbackTransport(t, func(c *Config) {
		c.TCPPort = port
		if change != nil {
			change(c)
		}
	})
	errs, done := make(chan error, 1000), make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if err := transport.TakeTCP(conn); err != nil {
				conn.Close()
				errs <- err
			}
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return transport, port, errs
}

func TestOffersNameTheTCPPort(t *testing.T) {
	hub, port, _ := withTCP(t, nil)
	offer, err := hub.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	defer offer.Close()
	if !strings.Contains(offer.SDP, fmt.Sprintf(" 127.0.0.1 %d typ host tcptype passive", port)) {
		t.Errorf("the offer has no passive candidate:\n%s", offer.SDP)
	}
}

// A peer that has no UDP reaches us at our TCP port, whoever made the offer.
func TestICEOverTCP(t *testing.T) {
	for _, ours := range []bool{true, false} {
		t.Run(fmt.Sprintf("our offer %t", ours), func(t *testing.T) {
			hub, _, _ := withTCP(t, nil)
			conn, peer := connectPion(t, hub, pionPeer(t, func(s *webrtc.SettingEngine) {
				s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
				s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
			}), !ours)
			t.Cleanup(func() { peer.Close() })
			throughPion(t, conn, conn, peer)
			if _, err := peer.Write([]byte("back")); err != nil {
				t.Fatal(err)
			}
			back := make([]byte, 4)
			if _, err := io.ReadFull(conn, back); err != nil || string(back) != "back" {
				t.Fatalf("back came %q: %v", back, err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the agent to be gone", func() bool {
				hub.tcp.mu.Lock()
				defer hub.tcp.mu.Unlock()
				return len(hub.tcp.agents) == 0
			})
		})
	}
}

// frame is a check for an agent, as the first frame of a connection.
func frame(t testing.TB, ufrag string) []byte {
	t.Helper()
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag+":them"))
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(request.Raw))), request.Raw...)
}

// What strangers send over TCP costs nothing that lasts: checks for agents that they make up, too
// many connections to one that there is, and what is no check at all.
func TestICEOverTCPKeepsNothingOfStrangers(t *testing.T) {
	hub, port, refused := withTCP(t, nil)
	offer, err := hub.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(offer.SDP, "a=ice-ufrag:")
	ufrag, _, _ := strings.Cut(rest, "\r\n")
	var conns []net.Conn
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	dial := func(first []byte) net.Conn {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if _, err := c.Write(first); err != nil {
			t.Fatal(err)
		}
		return c
	}
	count := func() (agents, connections int) {
		hub.tcp.mu.Lock()
		defer hub.tcp.mu.Unlock()
		for _, agent := range hub.tcp.agents {
			connections += len(agent.conns)
		}
		return len(hub.tcp.agents), connections
	}
	for i := range 50 {
		dial(frame(t, fmt.Sprint("madeup", i)))
	}
	dial([]byte{0, 0})
	dial([]byte{0xff, 0xff, 0})
	dial(append([]byte{0, 20}, make([]byte, 20)...))
	for range 53 {
		<-refused
	}
	if agents, connections := count(); agents != 1 || connections != 0 {
		t.Errorf("after strangers' checks there are %d agents with %d connections", agents, connections)
	}
	for range maxTCPConns + 5 {
		dial(frame(t, ufrag))
	}
	for range 5 {
		if err := <-refused; !strings.Contains(err.Error(), errTooManyTCP.Error()) {
			t.Error(err)
		}
	}
	if _, connections := count(); connections != maxTCPConns {
		t.Errorf("the agent has %d connections", connections)
	}
	if err := offer.Close(); err != nil {
		t.Fatal(err)
	}
	if agents, connections := count(); agents != 0 || connections != 0 {
		t.Errorf("at its end there are %d agents with %d connections", agents, connections)
	}
	for _, c := range conns { // all are closed
		_ = c.SetReadDeadline(time.Now().Add(testTimeout))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatal("a connection is still open")
		}
	}
}

// A page that takes nothing holds up nobody: what does not fit into the queue is dropped.
func TestICEOverTCPDropsWhatDoesNotFit(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	mux := newTCPMux(1, slog.New(slog.DiscardHandler))
	agent := &tcpAgent{share: newShare("ours"), mux: mux}
	c := newTCPConn(agent, ours, netip.AddrPort{})
	mux.wg.Go(c.write)
	began := time.Now()
	for range 10 * tcpQueue / 1000 {
		if _, err := c.send(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("sending took %v", took)
	}
	c.mu.Lock()
	if len(c.pending) > tcpQueue {
		t.Errorf("%d bytes are queued", len(c.pending))
	}
	c.mu.Unlock()
	c.close()
	mux.wg.Wait()
}

// A Chromium that may not use UDP reaches us.
func TestChromiumWithoutUDP(t *testing.T) {
	for _, pageOffers := range []bool{true, false} {
		t.Run(fmt.Sprintf("page offers %t", pageOffers), func(t *testing.T) {
			hub, _, _ := withTCP(t, nil)
			page := browse(t, "echo.html", withoutUDP...)
			conn := connectPage(t, page, hub, pageOffers)
			echo(t, conn, 4<<20)
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzTCPFrames(f *testing.F) {
	f.Add(frame(f, "known"))
	f.Add(frame(f, "unknown"))
	f.Add(append(frame(f, "known"), 0, 3, 1, 2, 3, 0xff))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		defer cancel()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skip(err)
		}
		defer ln.Close()
		var d net.Dialer
		theirs, err := d.DialContext(ctx, "tcp", ln.Addr().String())
		if err != nil {
			t.Skip(err)
		}
		ours, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		mux := newTCPMux(1, slog.New(slog.DiscardHandler))
		mux.local = func() []net.Addr { return []net.Addr{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}} }
		ref, err := mux.GetConnByUfrag("known", false, net.IPv4(127, 0, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = theirs.Write(b); _ = theirs.(*net.TCPConn).CloseWrite() }()
		if mux.take(ours) != nil {
			ours.Close()
		}
		_ = ref.Close()
		_ = theirs.Close()
		if err := mux.Close(); err != nil || len(mux.agents) > 0 {
			t.Fatalf("%d agents are left: %v", len(mux.agents), err)
		}
	})
}
