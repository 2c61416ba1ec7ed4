package webrtcwire

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/wire/transport"
)

// A path that becomes narrower while a connection lives does not end it, whether its router says so or not: by the
// real socket, and the fragments of Linux and of a router. Packets that go one by one are what IPv4 routers drop;
// of many at a time they cut those that Linux lets them.
func TestBlackHole(t *testing.T) {
	for name, tt := range map[string]struct {
		ipv6, told    bool
		size, message int // bytes: of all, and written at a time, once the one before has arrived
	}{
		"IPv4":             {false, false, 16 << 20, 4 << 20},
		"IPv4, one by one": {false, false, 300 * 1350, 1350},
		"IPv6":             {true, false, 16 << 20, 4 << 20},
		"IPv6, one by one": {true, false, 300 * 1350, 1350},
		"IPv4, told":       {false, true, 16 << 20, 4 << 20},
		"IPv6, told":       {true, true, 16 << 20, 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			w := netns.New(t)
			log, err := os.Create(filepath.Join(t.TempDir(), "log"))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			logged := func(what string) bool {
				all, err := os.ReadFile(log.Name())
				return err == nil && strings.Contains(string(all), what)
			}
			on := func(h *netns.Host) (transport *Transport) {
				a := h.IPv4[0]
				if tt.ipv6 {
					a = h.IPv6[0]
				}
				h.Do(func() { transport = onSharedSocket(t, a, log) })
				return transport
			}
			near, far := w.Public(1), w.Public(1)
			from, to := connect(t, on(near), on(far))
			transfer(t, from, to, randomBytes(3, 1<<20))
			if !logged("larger packets") {
				t.Error("its packets did not become larger")
			}
			if tt.told {
				w.Narrow(far, 1280)
			} else {
				w.BlackHole(far, 1280)
			}
			began := time.Now()
			want := randomBytes(4, tt.size)
			for rest := want; len(rest) > 0; rest = rest[tt.message:] {
				if transfer(t, from, to, rest[:tt.message]); t.Failed() {
					return
				}
			}
			if tt.told { // all of that may be under way before the first is refused
				eventually(t, "smaller packets", func() bool {
					transfer(t, from, to, want[:1<<20])
					return logged("smaller packets")
				})
			}
			t.Logf("%d bytes took %v", tt.size, time.Since(began))
		})
	}
}

// onSharedSocket returns a Transport on the socket that it has in the program.
func onSharedSocket(t *testing.T, a netip.Addr, log io.Writer) *Transport {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		t.Fatal(err)
	}
	socket := transport.NewUDPSocket(conn)
	t.Cleanup(func() { socket.Close() })
	rtc, err := New(Config{
		PacketConns: []net.PacketConn{socket.Lend(transport.ClassSTUN), socket.Lend(transport.ClassDTLS)},
		Logger:      slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rtc.Close() })
	return rtc
}
