package server

import (
	"bytes"
	"log/slog"
	"net"

	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a server that a test has started, on loopback.
type running struct {
	*Server
	tcp, udp string // host:port
	log      *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start starts a server, which ends with the test.
func start(t testing.TB, cfg Config) *running {
	t.Helper()
	return startAt(t, cfg, "127.0.0.1:0")
}

func startAt(t testing.TB, cfg Config, addr string) *running {
	t.Helper()
	r := &running{log: new(syncBuffer)}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	t.Cleanup(func() { s.Close() })
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip("cannot listen:", err)
	}
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r.tcp, r.udp = ln.Addr().String(), pc.LocalAddr().String()
	go s.Serve(ln)
	go s.ServePacket(pc)
	return r
}

func hash(n byte) (h [20]byte) {
	for i := range h {
		h[i] = n + byte(i)*7 // among them bytes that must be escaped
	}
	return h
}

func id(n byte) [20]byte { return [20]byte{'-', 'T', 'T', 7: '-', 19: n} }
