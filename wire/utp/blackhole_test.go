package utp_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/wire/utp"
)

// A path that becomes narrower while a connection lives, and whose router does not say so, does not end it: by the
// real sockets, and the fragments of Linux and of a router. Packets that go one by one are what IPv4 routers drop;
// of many at a time they cut those that Linux lets them.
func TestBlackHole(t *testing.T) {
	for name, tt := range map[string]struct {
		ipv6          bool
		mtu           int
		message, most int // bytes: what is written at a time, and of these how many are under way
	}{
		"IPv4, one by one":        {false, 1400, 1400, 1400},
		"IPv4, small, one by one": {false, 1000, 1400, 1400},
		"IPv4":                    {false, 1400, 64 << 10, 8 << 20},
		"IPv6, one by one":        {true, 1280, 1400, 1400},
		"IPv6":                    {true, 1280, 64 << 10, 8 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			w := netns.New(t)
			near, far := w.Public(1), w.Public(1)
			var a, b *utp.Socket
			at := func(h *netns.Host) string {
				if tt.ipv6 {
					return h.IPv6[0].String()
				}
				return h.IPv4[0].String()
			}
			near.Do(func() { a = listen(t, at(near)) })
			far.Do(func() { b = listen(t, at(far)) })
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			x, err := a.DialContext(ctx, b.Addr().(*net.UDPAddr).AddrPort())
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			x.SetDeadline(time.Now().Add(time.Minute))
			size := 200 * tt.message
			data := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{3}).Read(data)
			underWay := make(chan struct{}, tt.most/tt.message)
			go func() {
				for rest := data; len(rest) > 0; rest = rest[tt.message:] {
					underWay <- struct{}{}
					if _, err := x.Write(rest[:tt.message]); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			y, err := b.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer y.Close()
			y.SetDeadline(time.Now().Add(time.Minute))
			got := make([]byte, size)
			began := time.Now()
			for n := 0; n < size; n += tt.message {
				if n == size/4 {
					w.BlackHole(far, tt.mtu)
					began = time.Now()
				}
				if _, err := io.ReadFull(y, got[n:n+tt.message]); err != nil {
					t.Fatalf("after %d bytes of %d: %v", n, size, err)
				}
				<-underWay
			}
			if t.Logf("the rest took %v", time.Since(began)); !bytes.Equal(got, data) {
				t.Error("what arrived is not what was sent")
			}
		})
	}
}
