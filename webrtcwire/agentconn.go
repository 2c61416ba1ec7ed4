package webrtcwire

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
)

// agentQueue bounds the packets that wait for one ICE agent; more are dropped, as
// a full socket buffer would. The agent's reader only moves them on, so a long
// queue means that the whole machine is behind.
const agentQueue = 512

// share is what a mux keeps for one ICE agent.
type share struct {
	ufrag  string
	queues families
	closed chan struct{}
	refs   int // guarded by the mux's mu
}

func newShare(ufrag string) share {
	return share{ufrag: ufrag, queues: newFamilies(), closed: make(chan struct{})}
}

// agentConn is an agent's share of the UDP socket.
type agentConn struct {
	share
	mux   *mux
	link  atomic.Pointer[link] // takes DTLS records; nil: the queues do
	owned []netip.AddrPort     // addresses that are or were ours; guarded by mux.mu
}

// families holds a queue for IPv4 and one for IPv6. pion/ice takes a packet for
// one of the family of the candidate that read it, and drops it if that is wrong.
type families [2]chan *packet

func newFamilies() families {
	return families{make(chan *packet, agentQueue), make(chan *packet, agentQueue)}
}

func (f *families) of(addr netip.Addr) chan *packet {
	if addr.Unmap().Is4() {
		return f[0]
	}
	return f[1]
}

func (c *agentConn) deliver(p *packet) bool {
	select {
	case c.queues.of(p.from.Addr()) <- p:
		return true
	default:
		return false
	}
}

// write sends one packet, and remembers of whom a question was.
func (c *agentConn) write(b []byte, to netip.AddrPort) (int, error) {
	if isSTUN(b) && isRequest(b) {
		c.mux.remember(b, c.ufrag)
	}
	return c.mux.write(b, to)
}

// candidateConn is a share as pion/ice uses it: one for each candidate.
type candidateConn struct {
	*share
	queue   chan *packet // of the candidate's family
	local   net.Addr
	write   func(b []byte, to netip.AddrPort) (int, error)
	release func() // gives the share back

	once sync.Once
	done chan struct{}
}

var (
	_ net.PacketConn           = (*candidateConn)(nil)
	_ ice.AddrPortReaderWriter = (*candidateConn)(nil)
)

// ReadFromAddrPort reads the agent's next packet; pion/ice prefers it to ReadFrom.
func (c *candidateConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-c.queue:
		n, from := copy(b, p.data[:p.n]), p.from
		packets.Put(p)
		return n, from, nil
	case <-c.done:
	case <-c.closed:
	}
	return 0, netip.AddrPort{}, io.EOF // which pion does not log
}

// WriteToAddrPort sends one packet; pion/ice prefers it to WriteTo.
func (c *candidateConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.done:
		return 0, io.ErrClosedPipe
	case <-c.closed:
		return 0, io.ErrClosedPipe
	default:
	}
	return c.write(b, to)
}

func (c *candidateConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	if _, ok := c.local.(*net.TCPAddr); ok {
		return n, net.TCPAddrFromAddrPort(from), nil
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *candidateConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return 0, &net.AddrError{Err: "want an address with a port", Addr: to.String()}
	}
	return c.WriteToAddrPort(b, addr.AddrPort())
}

// Close ends this candidate's part, and with the last one the agent's.
func (c *candidateConn) Close() error {
	c.once.Do(func() {
		close(c.done)
		c.release()
	})
	return nil
}

func (c *candidateConn) LocalAddr() net.Addr { return c.local }

// Deadlines are not kept: pion/ice sets one only right before Close.

func (c *candidateConn) SetDeadline(time.Time) error      { return nil }
func (c *candidateConn) SetReadDeadline(time.Time) error  { return nil }
func (c *candidateConn) SetWriteDeadline(time.Time) error { return nil }
