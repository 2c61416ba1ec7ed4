package relay

import (
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each connection with its own bytes.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func dial(t *testing.T, r *Relay) net.Conn {
	t.Helper()
	t.Cleanup(func() { r.Close() })
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRoundTripTakesTheDelay(t *testing.T) {
	const rtt = 100 * time.Millisecond
	r, err := Listen(echo(t), Config{RTT: rtt})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, r)
	start := time.Now()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < rtt || took > 2*rtt {
		t.Errorf("a byte there and back took %v, want %v and little more", took, rtt)
	}
}

func TestRateIsTheCap(t *testing.T) {
	const size, rate = 4 << 20, 8 << 20
	r, err := Listen(echo(t), Config{Rate: rate, RTT: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, r)
	go c.Write(make([]byte, size))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := io.ReadFull(c, make([]byte, size-1)); err != nil {
		t.Fatal(err)
	}
	got := size / time.Since(start).Seconds()
	if got > 1.03*rate || got < 0.8*rate { // slower only where the machine is busy
		t.Errorf("the link carried %.1f MB/s, want %.1f", got/1e6, float64(rate)/1e6)
	}
	if r.Down().Begun.IsZero() || r.Up().Bytes != size {
		t.Errorf("flows: up %+v, down %+v; want %d bytes up and a beginning down", r.Up(), r.Down(), size)
	}
}

func TestSenderWaitsWhenTheQueueIsFull(t *testing.T) {
	r, err := Listen(echo(t), Config{Rate: 100_000, RTT: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, r)
	if err := c.(*net.TCPConn).SetWriteBuffer(socketBuffer); err != nil {
		t.Fatal(err)
	}
	c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := c.Write(make([]byte, 64<<20))
	if err == nil || n > 8<<20 {
		t.Errorf("the relay took %d bytes at once over a 100 kB/s link, want only what its queue and the socket buffers hold", n)
	}
}
