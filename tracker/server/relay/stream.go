package relay

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/turn/v5"
)

const (
	// idleTimeout is how long a TCP connection may stay without an allocation.
	idleTimeout = 30 * time.Second
	// writeTimeout is how long a client may take nothing of what it is sent.
	writeTimeout = 10 * time.Second
)

// stream is a TCP or TLS connection of a client.
type stream struct {
	net.Conn
	server *Server
	framed *turn.STUNConn // cuts the stream into messages
	from   netip.AddrPort

	closing sync.Once
	ending  sync.Once
	done    chan struct{} // closed when nobody reads it any more

	mu          sync.Mutex
	allocations int
}

// ServeConn serves STUN and TURN on a TCP or TLS connection that it owns from now on, until
// that ends. TLS is the caller's.
func (s *Server) ServeConn(conn net.Conn) {
	defer conn.Close()
	c := &stream{Conn: conn, server: s, from: addrPort(conn.RemoteAddr()), done: make(chan struct{})}
	c.framed = turn.NewSTUNConn(c)
	if !s.quota.takeConn(c.from.Addr()) {
		s.limited.Add(1)
		return
	}
	defer s.quota.giveConn(c.from.Addr())
	if !s.begin(c) {
		return
	}
	defer s.end(c)
	c.allocated(0)
	server, err := s.turnServer(streamPackets{c}, &generator{server: s, client: c.client, allocated: c.allocated})
	if err != nil {
		s.config.Logger.Warn("TURN over TCP is not served", "error", err)
		return
	}
	<-c.done
	_ = server.Close() // which closes the connection; the client has gone
}

func (s *Server) begin(c *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *Server) end(c *stream) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

// client is whose connection it is, and at which of our addresses.
func (c *stream) client() (from, at netip.AddrPort) { return c.from, addrPort(c.LocalAddr()) }

// allocated counts allocations. While there are none, the client must ask for one soon.
func (c *stream) allocated(more int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allocations += more
	var deadline time.Time
	if c.allocations == 0 {
		deadline = time.Now().Add(idleTimeout)
	}
	_ = c.SetReadDeadline(deadline) // of a closed one, reading tells
}

// Write sends a whole message, or ends the connection: of one that was sent in part, the rest
// would not be understood.
func (c *stream) Write(b []byte) (int, error) {
	err := c.SetWriteDeadline(time.Now().Add(writeTimeout))
	n := 0
	if err == nil {
		n, err = c.Conn.Write(b)
	}
	if err != nil {
		c.Close()
	}
	return n, err
}

// Close ends the connection, and with it its allocations.
func (c *stream) Close() error {
	c.closing.Do(func() { _ = c.Conn.Close() }) // what was not sent is lost, as it should be
	return nil
}

// streamPackets is a stream as pion reads it.
type streamPackets struct{ *stream }

var _ net.PacketConn = streamPackets{}

func (c streamPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.framed.ReadFrom(b)
		if err != nil {
			c.ending.Do(func() { close(c.done) })
			return n, from, err
		}
		if c.server.kindOf(b[:n]) != unwanted {
			return n, from, nil
		}
	}
}

func (c streamPackets) WriteTo(b []byte, to net.Addr) (int, error) { return c.framed.WriteTo(b, to) }
