package discovery

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// readErrorPause keeps a socket that fails again and again from spinning.
const readErrorPause = 50 * time.Millisecond

// nodeConn stands between the socket and the library, which ends the program when
// the socket fails, when a query lacks its arguments and when an address is cut
// short, which refuses a message for its style, and which logs what it cannot read and
// counts whatever methods strangers make up. It sees only what sanitize makes of a
// message.
type nodeConn struct {
	net.PacketConn
	mayName   func(speaker, named netip.Addr) bool
	guard     guard
	closeOnce sync.Once
	closed    chan struct{}
	reader    sync.Mutex // held while the library reads
}

func newNodeConn(c net.PacketConn, mayName func(speaker, named netip.Addr) bool, g guard) *nodeConn {
	return &nodeConn{PacketConn: c, mayName: mayName, guard: g, closed: make(chan struct{})}
}

// ReadFrom fails only once Close has been called.
func (c *nodeConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.reader.Lock()
	defer c.reader.Unlock()
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		select {
		case <-c.closed:
			return 0, nil, net.ErrClosed
		default:
		}
		if err != nil {
			c.pause(err)
			continue
		}
		addr, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		ap := addr.AddrPort()
		ap = netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
		if !sendable(ap) {
			continue
		}
		if n = c.sanitize(b, n, ap.Addr()); n > 0 {
			return n, net.UDPAddrFromAddrPort(ap), nil
		}
	}
}

// sanitize replaces the message in b by what can be used of it, and returns its length, 0 if
// that is nothing.
func (c *nodeConn) sanitize(b []byte, n int, from netip.Addr) (size int) {
	c.guard.run("reading a DHT message", func() {
		clean, err := sanitize(b[:n], func(named netip.Addr) bool { return c.mayName(from, named) })
		if err == nil {
			size = copy(b, clean)
		}
	})
	return size
}

// pause waits after a failed read: a moment, or until Close if the socket is gone.
func (c *nodeConn) pause(err error) {
	var wait <-chan time.Time
	if !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		timer := time.NewTimer(readErrorPause)
		defer timer.Stop()
		wait = timer.C
	}
	select {
	case <-c.closed:
	case <-wait:
	}
}

// errNotANode is returned for an address that no node can have.
var errNotANode = errors.New("not the address of a DHT node")

// WriteTo refuses addresses that strangers may have put in their lists of nodes to
// make us send where no node can be.
func (c *nodeConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok || !sendable(addr.AddrPort()) {
		return 0, errNotANode
	}
	return c.PacketConn.WriteTo(b, to)
}

func (c *nodeConn) Close() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return c.PacketConn.Close()
}

// waitClosed waits until Close has been called and the library has stopped reading.
func (c *nodeConn) waitClosed() {
	<-c.closed
	c.reader.Lock()
	//lint:ignore SA2001 the lock is only waited for
	c.reader.Unlock()
}
