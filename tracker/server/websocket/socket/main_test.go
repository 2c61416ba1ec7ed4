package socket

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience is how long a test waits for what has to happen.
	patience = 20 * time.Second

	handshake = "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

// echo answers each message with itself, and "flood" with a megabyte.
type echo struct {
	c      *Conn
	closed chan<- struct{}
}

func (e echo) Message(b *Batch, text []byte) {
	if string(text) != "flood" {
		e.c.Send(b, text)
		return
	}
	for range 16 {
		e.c.Send(b, make([]byte, 64<<10))
	}
}

func (e echo) Closed(*Batch) { e.closed <- struct{}{} }

// server is a Server under test, whose connections echo.
type server struct {
	*Server
	t      *testing.T
	web    *httptest.Server
	closed chan struct{}
}

// way is one of the ways in which connections are served.
type way struct {
	name       string
	goroutines bool
	tls        bool
}

var ways = []way{{name: "event loop"}, {name: "goroutines", goroutines: true}, {name: "TLS", tls: true}}

// eachWay runs a test for each of them.
func eachWay(t *testing.T, config Config, test func(*testing.T, *server)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			config := config
			config.Goroutines = w.goroutines
			s := &server{Server: New(config), t: t, closed: make(chan struct{}, 1000)}
			s.web = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				remote := netip.MustParseAddrPort(r.RemoteAddr).Addr()
				_ = s.Accept(w, r, remote, func(c *Conn) Handler { return echo{c, s.closed} })
			}))
			if w.tls {
				s.web.StartTLS()
			} else {
				s.web.Start()
			}
			t.Cleanup(func() {
				s.Server.Close()
				s.web.Close()
			})
			test(t, s)
		})
	}
}

// client is the other end, which can do everything wrong.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// open connects without a handshake.
func (s *server) open() *client {
	s.t.Helper()
	var conn net.Conn
	var err error
	if s.web.TLS != nil {
		conn, err = tls.Dial("tcp", s.web.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	} else {
		conn, err = net.Dial("tcp", s.web.Listener.Addr().String())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	return &client{s.t, conn, bufio.NewReader(conn)}
}

// dial connects, and sends more together with the handshake.
func (s *server) dial(more ...byte) *client {
	s.t.Helper()
	c := s.open()
	c.write(append([]byte(handshake), more...))
	if status := c.head(); status != http.StatusSwitchingProtocols {
		s.t.Fatalf("the handshake got status %d", status)
	}
	return c
}

// head reads the head of a HTTP response.
func (c *client) head() (status int) {
	c.t.Helper()
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if r.StatusCode == http.StatusSwitchingProtocols && r.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		c.t.Errorf("the handshake's answer is %v", r.Header) // that of RFC 6455, section 1.3
	}
	return r.StatusCode
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// frame is a client's frame.
func frame(first byte, payload string) []byte {
	mask := []byte{0x12, 0x34, 0x56, 0xF8}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func (c *client) send(text string) {
	c.t.Helper()
	c.write(frame(0x81, text))
}

// next reads a frame.
func (c *client) next() (opcode byte, payload string) {
	c.t.Helper()
	opcode, payload, err := readFrame(c.in)
	if err != nil {
		c.t.Fatal(err)
	}
	return opcode, payload
}

func readFrame(r io.Reader) (opcode byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, "", err
	}
	n := uint64(head[1])
	if n >= 126 {
		var long [8]byte
		b := long[6:]
		if n == 127 {
			b = long[:]
		}
		if _, err := io.ReadFull(r, b); err != nil {
			return 0, "", err
		}
		n = binary.BigEndian.Uint64(long[:])
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return head[0], string(b), err
}

// wants expects a message.
func (c *client) wants(text string) {
	c.t.Helper()
	if op, got := c.next(); op != 0x81 || got != text {
		c.t.Fatalf("got %#x %.100q; want %.100q", op, got, text)
	}
}

// wantsClose expects pongs, and then to be closed with a code.
func (c *client) wantsClose(code uint16) {
	c.t.Helper()
	op, payload := c.next()
	if op != 0x88 || len(payload) < 2 || binary.BigEndian.Uint16([]byte(payload)) != code {
		c.t.Fatalf("got %#x %q; want to be closed with %d", op, payload, code)
	}
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		c.t.Errorf("after the goodbye came %q, %v", rest, err)
	}
}

// wantsEnd expects the connection to end somehow, after anything.
func (c *client) wantsEnd() {
	c.t.Helper()
	var timeout net.Error
	if _, err := io.Copy(io.Discard, c.in); errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the connection did not end")
	}
}

// waitFor waits for a condition that another goroutine brings about.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// allBack expects that a Server without connections holds nothing.
func (s *server) allBack() {
	s.t.Helper()
	waitFor(s.t, "everything to be given back", func() bool {
		st := s.Stats()
		s.mu.Lock()
		defer s.mu.Unlock()
		return st.Open == 0 && st.Buffered == 0 && len(s.addresses) == 0 && len(s.streams) == 0
	})
}

var long = strings.Repeat("0123456789abcdef", 10_000) // 160,000 bytes

func TestHandshakesThatAreNone(t *testing.T) {
	eachWay(t, Config{}, func(t *testing.T, s *server) {
		for name, head := range map[string]string{
			"post":    strings.Replace(handshake, "GET", "POST", 1),
			"version": strings.Replace(handshake, "13", "12", 1),
			"key":     strings.Replace(handshake, "dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 1),
			"no key":  strings.Replace(handshake, "-Key", "-Koy", 1),
			"two":     strings.Replace(handshake, "Sec-", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-", 1),
			"upgrade": strings.Replace(handshake, "WebSocket\r", "h2c\r", 1),
			"old":     strings.Replace(handshake, "HTTP/1.1", "HTTP/1.0", 1),
		} {
			c := s.open()
			c.write([]byte(head))
			if status := c.head(); status != http.StatusBadRequest {
				t.Errorf("%s: status %d", name, status)
			}
		}
		s.allBack()
	})
}

func TestMessagesInAnyPieces(t *testing.T) {
	eachWay(t, Config{}, func(t *testing.T, s *server) {
		// With the handshake.
		c := s.dial(append(frame(0x81, "first"), frame(0x82, "binary")...)...)
		c.wants("first")
		c.wants("binary")
		c.send("")
		c.wants("")
		c.send(long)
		c.wants(long)
		// Byte by byte, several frames for a message, a ping in between.
		for _, b := range bytes.Join([][]byte{
			frame(0x01, "ä fra"[:1]), frame(0x00, "ä fra"[1:]), frame(0x89, "ping"), frame(0x00, ""), frame(0x80, "gments"),
		}, nil) {
			c.write([]byte{b})
		}
		if op, payload := c.next(); op != 0x8A || payload != "ping" {
			t.Errorf("the ping got %#x %q", op, payload)
		}
		c.wants("ä fragments")
		// Many at once.
		var many []byte
		for range 1000 {
			many = append(many, frame(0x81, "one of many")...)
		}
		c.write(many)
		for range 1000 {
			c.wants("one of many")
		}
		c.write(frame(0x8A, "unasked pong"))
		c.write(frame(0x88, "\x03\xe8bye"))
		c.wantsClose(CloseNormal)
		<-s.closed
		s.allBack()
	})
}

func TestWhatBreaksTheProtocol(t *testing.T) {
	eachWay(t, Config{MaxMessage: 1000, Linger: 100 * time.Millisecond}, func(t *testing.T, s *server) {
		unmasked := []byte{0x81, 1, 'x'}
		huge := binary.BigEndian.AppendUint64([]byte{0x81, 0xFF}, 20<<20)
		for name, c := range map[string]struct {
			bytes []byte
			code  uint16
		}{
			"unmasked":                 {unmasked, closeProtocol},
			"reserved bit":             {frame(0xC1, "x"), closeProtocol},
			"unknown opcode":           {frame(0x83, "x"), closeProtocol},
			"control in pieces":        {frame(0x09, "x"), closeProtocol},
			"long control":             {frame(0x89, long[:126]), closeProtocol},
			"length longer than it is": {[]byte{0x81, 0xFE, 0, 5, 0, 0, 0, 0}, closeProtocol},
			"64-bit length of 5":       {append([]byte{0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5}, 0, 0, 0, 0), closeProtocol},
			"negative length":          {append(bytes.Repeat([]byte{0xFF}, 10), 0, 0, 0, 0), closeProtocol},
			"continues nothing":        {frame(0x80, "x"), closeProtocol},
			"text within text":         {append(frame(0x01, "x"), frame(0x81, "x")...), closeProtocol},
			"not UTF-8":                {frame(0x81, "\xff"), closeNotUTF8},
			"binary not UTF-8":         {frame(0x82, "\x00\xff"), closeNotUTF8},
			"pieces not UTF-8":         {append(frame(0x01, "\xc3"), frame(0x80, "x")...), closeNotUTF8},
			"1001 bytes":               {frame(0x81, long[:1001]), closeTooBig},
			"20 MB are announced":      {append(huge, 0, 0, 0, 0), closeTooBig},
			"1001 bytes in pieces":     {append(frame(0x01, long[:501]), frame(0x80, long[:500])...), closeTooBig},
		} {
			t.Run(name, func(t *testing.T) {
				client := s.dial()
				client.t = t
				client.write(c.bytes)
				client.wantsClose(c.code)
			})
		}
		s.allBack()
	})
}

// Twenty megabytes are not even read for long.
func TestTwentyMegabytes(t *testing.T) {
	eachWay(t, Config{}, func(t *testing.T, s *server) {
		c, other := s.dial(), s.dial()
		go func() {
			_, _ = c.conn.Write(frame(0x81, strings.Repeat("x", 20<<20))) // fails when the connection ends
		}()
		op, payload, err := readFrame(c.in)
		if err == nil && (op != 0x88 || binary.BigEndian.Uint16([]byte(payload)) != closeTooBig) {
			t.Errorf("got %#x %q", op, payload)
		}
		c.wantsEnd()
		if s.Stats().Buffered > 1<<20 {
			t.Errorf("%d bytes are kept", s.Stats().Buffered)
		}
		other.send("still here")
		other.wants("still here")
	})
}

func TestCloseSaysGoodbye(t *testing.T) {
	eachWay(t, Config{}, func(t *testing.T, s *server) {
		c := s.dial()
		c.send("x")
		c.wants("x")
		s.Server.Close()
		c.wantsClose(CloseGoingAway)
		<-s.closed
		late := s.open()
		late.write([]byte(handshake))
		if status := late.head(); status != http.StatusServiceUnavailable {
			t.Errorf("status %d after Close", status)
		}
		s.allBack()
	})
}

func TestAClientThatVanishesIsClosedAtOnce(t *testing.T) {
	eachWay(t, Config{}, func(t *testing.T, s *server) {
		c := s.dial(frame(0x81, "half of a message")[:10]...)
		_ = c.conn.Close()
		<-s.closed
		s.allBack()
	})
}
