package webrtcwire

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout ends a test that hangs.
const testTimeout = 30 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// loopbackTransport is a Transport on a loopback socket of its own.
func loopbackTransport(t testing.TB, change func(*Config)) *Transport {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// No server is asked, so this only says how busy the machine may be.
	config := Config{PacketConns: []net.PacketConn{udp}, GatherTimeout: 10 * time.Second}
	if change != nil {
		change(&config)
	}
	transport, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := transport.Close(); err != nil {
			t.Errorf("close transport: %v", err)
		}
	})
	return transport
}

// connect joins two transports by an offer of a.
func connect(t testing.TB, a, b *Transport) (*Conn, *Conn) {
	t.Helper()
	ctx := testContext(t)
	offer, err := a.Offer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := b.Answer(ctx, offer.SDP)
	if err != nil {
		t.Fatal(err)
	}
	connA, err := offer.Accept(ctx, answer.SDP)
	if err != nil {
		t.Fatal(err)
	}
	connB, err := answer.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return connA, connB
}

// pair is two connected ends over two transports of their own.
func pair(t testing.TB) (*Conn, *Conn) {
	t.Helper()
	return connect(t, loopbackTransport(t, nil), loopbackTransport(t, nil))
}

// pionPeer is pion/webrtc on loopback, with its defaults but for what is changed.
func pionPeer(t *testing.T, change func(*webrtc.SettingEngine)) *webrtc.PeerConnection {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	settings.DetachDataChannels()
	if change != nil {
		change(&settings)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
	return pc
}

// gathered sets a peer's own description, and returns it when all candidates are in it.
func gathered(t *testing.T, pc *webrtc.PeerConnection, d webrtc.SessionDescription, err error) string {
	t.Helper()
	all := webrtc.GatheringCompletePromise(pc)
	if err == nil {
		err = pc.SetLocalDescription(d)
	}
	if err != nil {
		t.Fatal(err)
	}
	<-all
	return pc.LocalDescription().SDP
}

// connectPion joins a transport and a peer of pion, and returns both ends.
func connectPion(t *testing.T, transport *Transport, pc *webrtc.PeerConnection, pionOffers bool) (conn *Conn, theirs io.ReadWriteCloser) {
	t.Helper()
	opened := make(chan io.ReadWriteCloser, 1)
	use := func(channel *webrtc.DataChannel) {
		channel.OnOpen(func() {
			raw, err := channel.Detach()
			if err != nil {
				t.Error(err)
			}
			opened <- raw
		})
	}
	ctx := testContext(t)
	if !pionOffers {
		pc.OnDataChannel(use)
		offer, err := transport.Offer(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer.SDP}); err != nil {
			t.Fatal(err)
		}
		answer, err := pc.CreateAnswer(nil)
		if conn, err = offer.Accept(ctx, gathered(t, pc, answer, err)); err != nil {
			t.Fatal(err)
		}
		return conn, <-opened
	}
	channel, err := pc.CreateDataChannel("pion", nil)
	if err != nil {
		t.Fatal(err)
	}
	use(channel)
	offer, err := pc.CreateOffer(nil)
	answer, err := transport.Answer(ctx, gathered(t, pc, offer, err))
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
		t.Fatal(err)
	}
	if conn, err = answer.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return conn, <-opened
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", testTimeout, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
