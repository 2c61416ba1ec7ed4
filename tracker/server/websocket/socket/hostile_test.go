package socket

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// One address gets no more than its connections, and all together no more than theirs. It is
// logged once.
func TestConnectionsAreBounded(t *testing.T) {
	var logged strings.Builder // written to under the Server's lock
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	eachWay(t, Config{MaxPerAddress: 5, Logger: logger}, func(t *testing.T, s *server) {
		logged.Reset()
		first := s.dial()
		for range 4 {
			s.dial()
		}
		for range 200 {
			c := s.open()
			c.write([]byte(handshake))
			if status := c.head(); status != http.StatusTooManyRequests {
				t.Errorf("one too many gets status %d", status)
			}
			_ = c.conn.Close()
		}
		if st := s.Stats(); st.PerAddress != 200 || st.Open != 5 {
			t.Errorf("%+v", st)
		}
		first.send("served on")
		first.wants("served on")
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := strings.Count(logged.String(), "\n"); n != 1 || !strings.Contains(logged.String(), "127.0.0.1") {
			t.Errorf("logged: %s", logged.String())
		}
	})
	eachWay(t, Config{MaxConns: 5}, func(t *testing.T, s *server) {
		clients := make([]*client, 5)
		for i := range clients {
			clients[i] = s.dial()
		}
		c := s.open()
		c.write([]byte(handshake))
		if status := c.head(); status != http.StatusServiceUnavailable {
			t.Errorf("the sixth gets status %d", status)
		}
		_ = clients[0].conn.Close()
		<-s.closed
		s.dial().send("there is room again")
	})
}

func TestNetworks(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"192.0.2.1", "::ffff:192.0.2.1"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9"},
		{"fe80::1%eth0", "fe80::2"},
	} {
		if networkOf(netip.MustParseAddr(c.a)) != networkOf(netip.MustParseAddr(c.b)) {
			t.Errorf("%s and %s count apart", c.a, c.b)
		}
	}
	if networkOf(netip.MustParseAddr("192.0.2.1")) == networkOf(netip.MustParseAddr("192.0.2.2")) {
		t.Error("two IPv4 addresses count as one")
	}
}

// One that sends much faster than it may is read later, and nobody else is held up.
func TestFloodsAreReadLater(t *testing.T) {
	eachWay(t, Config{MessagesPerSecond: 100, Burst: 10}, func(t *testing.T, s *server) {
		c, other := s.dial(), s.dial()
		begin := time.Now()
		go func() {
			for range 60 {
				_, _ = c.conn.Write(frame(0x81, "flood me not"))
			}
		}()
		c.wants("flood me not")
		other.send("served on")
		other.wants("served on")
		for range 59 {
			c.wants("flood me not")
		}
		if took := time.Since(begin); took < 400*time.Millisecond { // (60-10)/100 s, less a tick
			t.Errorf("60 messages took %v", took)
		}
		if s.Stats().Throttled == 0 {
			t.Error("it was not held up")
		}
	})
}

// One that reads nothing is dropped when its queue is full, or when its pipe has not moved.
func TestSlowReadersAreDropped(t *testing.T) {
	eachWay(t, Config{}, func(t *testing.T, s *server) {
		c, other := s.dial(), s.dial()
		for range 40 {
			if _, err := c.conn.Write(frame(0x81, "flood")); err != nil {
				break // dropped
			}
		}
		<-s.closed
		if st := s.Stats(); st.SlowReaders == 0 {
			t.Errorf("%+v", st)
		}
		other.send("served on")
		other.wants("served on")
		c.wantsEnd()
	})
	eachWay(t, Config{MaxQueue: 64 << 20, Timeout: 500 * time.Millisecond}, func(t *testing.T, s *server) {
		c := s.dial()
		for range 20 {
			c.send("flood")
		}
		<-s.closed
		if st := s.Stats(); st.SlowReaders == 0 {
			t.Errorf("%+v", st)
		}
		s.allBack()
	})
}

// A message that does not become whole ends the connection.
func TestSlowWritersAreClosed(t *testing.T) {
	eachWay(t, Config{Timeout: 500 * time.Millisecond, Linger: 500 * time.Millisecond}, func(t *testing.T, s *server) {
		var clients []*client
		for _, part := range [][]byte{
			frame(0x81, "half a header")[:1],
			frame(0x81, "half a frame")[:9],
			append(frame(0x01, "half"), frame(0x80, "of both")[:3]...),
			frame(0x01, "a first piece"),
		} {
			clients = append(clients, s.dial(part...))
		}
		for _, c := range clients {
			c.wantsClose(ClosePolicy)
		}
		s.allBack()
	})
}

// A half-open connection is found out by a ping; one that answers stays.
func TestSilentConnectionsArePinged(t *testing.T) {
	eachWay(t, Config{PingEvery: time.Second, Timeout: 2 * time.Second}, func(t *testing.T, s *server) {
		dead, alive := s.dial(), s.dial()
		gone := make(chan struct{})
		go func() {
			<-s.closed
			close(gone)
		}()
		for waiting := true; waiting; {
			op, payload := alive.next()
			if op != 0x89 {
				t.Fatalf("got %#x %q", op, payload)
			}
			alive.write(frame(0x8A, payload))
			select {
			case <-gone:
				waiting = false
			default:
			}
		}
		dead.wantsEnd()
		alive.send("still here")
		for {
			op, payload := alive.next()
			if op == 0x81 && payload == "still here" {
				break
			}
		}
		if st := s.Stats(); st.Silent != 1 || st.Open != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// All connections together keep no more than MaxBuffered.
func TestBuffersAreBounded(t *testing.T) {
	eachWay(t, Config{MaxBuffered: 1 << 20}, func(t *testing.T, s *server) {
		half := frame(0x81, long)[:100_000]
		for range 30 {
			s.dial(half...)
		}
		waitFor(t, "one to be closed", func() bool { return s.Stats().NoRoom > 0 })
		waitFor(t, "buffers within their bound", func() bool { return s.Stats().Buffered <= 1<<20 })
	})
}

// Probe drops one that says nothing, and no other.
func TestProbe(t *testing.T) {
	conns := make(chan *Conn, 2)
	eachWay(t, Config{}, func(t *testing.T, s *server) {
		s.web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = s.Accept(w, r, netip.MustParseAddrPort(r.RemoteAddr).Addr(), func(c *Conn) Handler {
				conns <- c
				return echo{c, s.closed}
			})
		})
		dead := s.dial()
		(<-conns).Probe(time.Second)
		alive := s.dial()
		(<-conns).Probe(time.Second)
		if op, payload := alive.next(); op != 0x89 {
			t.Fatalf("got %#x %q", op, payload)
		}
		alive.write(frame(0x8A, ""))
		<-s.closed
		dead.wantsEnd()
		alive.send("still here")
		alive.wants("still here")
		if st := s.Stats(); st.Open != 1 || st.Silent != 1 {
			t.Errorf("%+v", st)
		}
	})
}
