package discovery

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// readErrorPause keeps a socket that fails again and again from spinning.
const readErrorPause = 50 * time.Millisecond

// nodeConn stands between the socket and the library, which ends the program when
// the socket fails, when a query lacks its arguments and when an address is cut
// short, which refuses a message for its style, and which logs what it cannot read and
// counts whatever methods strangers make up. It sees only what sanitize makes of a
// message, and the nodes of one address family.
type nodeConn struct {
	familyConn
	v4        bool
	mayName   func(speaker, named netip.Addr) bool
	heard     func(node netip.AddrPort)   // is told nodes of the other family; nil: nobody is
	seen      func(node, seen netip.Addr) // is told what BEP 42's `ip` says; nil: nobody is
	guard     guard
	asked     questions // whose answers heard and seen are told
	closeOnce sync.Once
	closed    chan struct{}
	reader    sync.Mutex // held while the library reads
}

func newNodeConn(c familyConn, v4 bool, mayName func(speaker, named netip.Addr) bool, g guard) *nodeConn {
	return &nodeConn{familyConn: c, v4: v4, mayName: mayName, guard: g, closed: make(chan struct{})}
}

// ReadFrom fails only once Close has been called.
func (c *nodeConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.reader.Lock()
	defer c.reader.Unlock()
	for {
		select {
		case <-c.closed:
			return 0, nil, net.ErrClosed
		case p := <-c.in:
			if n := c.sanitize(b, p); n > 0 {
				return n, net.UDPAddrFromAddrPort(p.from), nil
			}
		}
	}
}

// sanitize writes to b what can be used of a message, and returns its length, 0 if that is
// nothing.
func (c *nodeConn) sanitize(b []byte, p nodePacket) (size int) {
	c.guard.run("reading a DHT message", func() {
		from, asked := p.from.Addr(), false
		clean, err := sanitize(p.data, hearers{
			answer: func(transaction []byte) { asked = c.asked.answered(p.from, transaction, time.Now()) },
			peer:   func(named netip.Addr) bool { return c.mayName(from, named) },
			node: func(named netip.AddrPort) bool {
				if !c.mayName(from, named.Addr()) {
					return false
				}
				if named.Addr().Is4() != c.v4 {
					if c.heard != nil && asked {
						c.heard(named)
					}
					return false
				}
				return true
			},
			// The library would answer with its own nodes, in the form of the other family.
			want: func(family string) bool { return (family == "n4") == c.v4 },
			seen: func(seen netip.Addr) {
				if c.seen != nil && asked {
					c.seen(from, seen)
				}
			},
		})
		if err == nil {
			size = copy(b, clean)
		}
	})
	return size
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
	if m, err := decodeDict(b); err == nil && kindOf(m) == "q" {
		c.asked.note(addr.AddrPort(), m.text("t"), time.Now())
	}
	return c.PacketConn.WriteTo(b, to)
}

func (c *nodeConn) Close() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return nil // the socket is the DHT's
}

// waitClosed waits until Close has been called and the library has stopped reading.
func (c *nodeConn) waitClosed() {
	<-c.closed
	c.reader.Lock()
	//lint:ignore SA2001 the lock is only waited for
	c.reader.Unlock()
}
