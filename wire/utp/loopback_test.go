package utp_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/wire/transport"
	"github.com/causeway-bt/causeway/wire/utp"
)

// listen opens a socket of the real shared kind on loopback.
func listen(t testing.TB, host string) *utp.Socket {
	t.Helper()
	udp, err := transport.ListenUDP(transport.ListenOptions{Host: host})
	if err != nil {
		t.Skipf("no UDP at %s: %v", host, err)
	}
	s := utp.New(udp.Lend(transport.ClassUTP), utp.Config{})
	t.Cleanup(func() {
		s.Close()
		udp.Close()
	})
	return s
}

// Over real sockets all arrives, by the methods that the engine uses.
func TestLoopback(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			a, b := listen(t, host), listen(t, host)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			dialled, err := a.DialContext(ctx, b.Addr().(*net.UDPAddr).AddrPort())
			if err != nil {
				t.Fatal(err)
			}
			defer dialled.Close()
			dialled.SetDeadline(time.Now().Add(time.Minute))
			const blocks, size = 1024, 16 << 10
			header, block := []byte("a header of a block"), make([]byte, size)
			r := rand.NewChaCha8([32]byte{2})
			sent := sha1.New()
			written := make(chan struct{})
			go func() {
				defer close(written)
				for range blocks {
					_, _ = r.Read(block)
					sent.Write(header)
					sent.Write(block)
					v := net.Buffers{header, block}
					if _, err := dialled.(*utp.Conn).WriteBuffers(&v); err != nil {
						t.Error(err)
						break
					}
				}
				dialled.Close()
			}()
			accepted, err := b.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer accepted.Close()
			accepted.SetDeadline(time.Now().Add(time.Minute))
			got := sha1.New()
			n, err := io.Copy(got, accepted)
			if err != nil || n != blocks*int64(len(header)+size) {
				t.Fatalf("%d bytes, %v", n, err)
			}
			<-written
			if !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
				t.Error("what arrived is not what was sent")
			}
		})
	}
}
