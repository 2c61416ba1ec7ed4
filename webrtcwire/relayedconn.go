package webrtcwire

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/webrtcwire/turnclient"
)

const (
	// maxDatagram is the largest packet of UDP or DTLS, in bytes, and maxReadFailures how often in a row
	// one may not be read: about a second.
	maxDatagram     = 1 << 16
	maxReadFailures = 100
)

// relayedConn is an allocation as a socket that a mux shares out.
type relayedConn struct {
	allocation *turnclient.Allocation
	shared     bool
	write      func(b []byte) error // to the server
	segments   func(b []byte, size int)
	leave      func()                       // gives the way there back
	handler    atomic.Pointer[relayHandler] // nil: not yet
}

type relayHandler struct {
	take  func(b []byte, from netip.AddrPort, received time.Time) bool
	flush func()
}

var (
	_ batchPusher  = (*relayedConn)(nil)
	_ packetQueuer = (*relayedConn)(nil)
	_ segmentConn  = (*relayedConn)(nil)
)

// read takes what comes by a connection of our own, until that ends.
func (c *relayedConn) read(conn net.Conn, stream bool) error {
	if stream {
		messages := turnclient.NewReader(conn)
		for {
			b, err := messages.Next()
			if err != nil {
				return err
			}
			c.allocation.Receive(b)
			if !messages.Buffered() {
				c.flush()
			}
		}
	}
	b := make([]byte, maxDatagram)
	for failures := 0; ; {
		n, err := conn.Read(b)
		switch {
		case err == nil:
			failures = 0
			c.allocation.Receive(b[:n])
			c.flush()
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), failures == maxReadFailures:
			return err
		default: // the server may be back soon
			failures++
			time.Sleep(readErrorPause)
		}
	}
}

func (c *relayedConn) received(b []byte, from netip.AddrPort) {
	if h := c.handler.Load(); h != nil {
		h.take(b, from, time.Time{})
	}
}

func (c *relayedConn) flush() {
	if h := c.handler.Load(); h != nil {
		h.flush()
	}
}

func (c *relayedConn) HandleTimed(f func(packet []byte, from netip.AddrPort, received time.Time) bool, flush func()) {
	c.handler.Store(&relayHandler{f, flush})
}

func (c *relayedConn) Queue(b []byte, to netip.AddrPort) (int, error) {
	c.allocation.Send(b, to)
	return len(b), nil
}

func (c *relayedConn) WriteSegments(b []byte, size int, to netip.AddrPort) (int, error) {
	c.allocation.SendSegments(b, size, to)
	return len(b), nil
}

func (c *relayedConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "want a UDP address", Addr: to.String()}
	}
	return c.Queue(b, addr.AddrPort())
}

// ReadFrom is for whom does not take packets as they come.
func (c *relayedConn) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, errNotUsed }

func (c *relayedConn) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(c.allocation.Relayed())
}

func (c *relayedConn) Close() error                     { return nil }
func (c *relayedConn) SetDeadline(time.Time) error      { return errNotUsed }
func (c *relayedConn) SetReadDeadline(time.Time) error  { return errNotUsed }
func (c *relayedConn) SetWriteDeadline(time.Time) error { return errNotUsed }
