package client

import (
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// scripted is a raw peer that a client dials. It answers messages with handle,
// one goroutine per connection.
type scripted struct {
	t      *testing.T
	ln     net.Listener
	hash   [20]byte
	start  func(*scriptedConn)
	handle func(*scriptedConn, *wire.Message)

	mu    sync.Mutex
	conns []*scriptedConn
	wg    sync.WaitGroup
}

type scriptedConn struct {
	net.Conn
	n  int // of the connection
	mu sync.Mutex
}

func (c *scriptedConn) send(ms ...wire.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b []byte
	for i := range ms {
		b = ms[i].AppendTo(b)
		if ms[i].ID == wire.Piece {
			b = append(b, ms[i].Payload...)
		}
	}
	c.Write(b)
}

func newScripted(t *testing.T, hash [20]byte, start func(*scriptedConn), handle func(*scriptedConn, *wire.Message)) *scripted {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{t: t, ln: ln, hash: hash, start: start, handle: handle}
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *scripted) close() {
	s.ln.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *scripted) accept() {
	for {
		raw, err := s.ln.Accept()
		if err != nil {
			return
		}
		c := &scriptedConn{Conn: raw}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		c.n = len(s.conns)
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(c) })
	}
}

func (s *scripted) serve(c *scriptedConn) {
	defer c.Close()
	if _, err := wire.ReadHandshake(c); err != nil {
		return
	}
	var id [20]byte
	rand.Read(id[:])
	h := wire.Handshake{Reserved: wire.OurReserved(false), InfoHash: s.hash, PeerID: id}
	if wire.WriteHandshake(c, h) != nil {
		return
	}
	s.start(c)
	r := wire.NewReader(c)
	var m wire.Message
	for {
		if err := r.Next(&m); err != nil {
			return
		}
		if s.handle != nil {
			s.handle(c, &m)
		}
	}
}

func (s *scripted) addr() string { return s.ln.Addr().String() }

func plain(t *testing.T) Config {
	cfg := quiet(t)
	cfg.DisableWebRTC = true
	cfg.Encryption = transport.EncryptionOff
	return cfg
}

func readData(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "data.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func block(data []byte, info *meta.Info, m *wire.Message) wire.Message {
	off := int64(m.Index)*info.PieceLength + int64(m.Begin)
	return wire.Message{ID: wire.Piece, Index: m.Index, Begin: m.Begin, Length: m.Length, Payload: data[off : off+int64(m.Length)]}
}

func within(t *testing.T, d time.Duration, what string, torrent *Torrent, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-torrent.Failed():
		t.Errorf("waiting for %s: failed: %v", what, torrent.Err())
	case <-time.After(d):
		t.Errorf("waiting %v for %s: %+v", d, what, torrent.Stats())
	}
}

func until(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("after %v: not %s", d, what)
}
