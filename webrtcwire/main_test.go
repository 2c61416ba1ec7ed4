package webrtcwire

import (
	"context"
	"net"
	"testing"
	"time"

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
