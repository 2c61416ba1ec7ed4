package utp_test

import (
	"context"
	"io"
	"net"
	"testing"
)

// BenchmarkLoopback is one connection over the shared sockets of one process.
func BenchmarkLoopback(b *testing.B) {
	from, to := listen(b, "127.0.0.1"), listen(b, "127.0.0.1")
	sender, err := from.DialContext(context.Background(), to.Addr().(*net.UDPAddr).AddrPort())
	if err != nil {
		b.Fatal(err)
	}
	defer sender.Close()
	block := make([]byte, 256<<10)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	go func() {
		for range b.N {
			if _, err := sender.Write(block); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	receiver, err := to.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer receiver.Close()
	got := make([]byte, 16<<10)
	for range b.N * len(block) / len(got) {
		if _, err := io.ReadFull(receiver, got); err != nil {
			b.Fatal(err)
		}
	}
}
