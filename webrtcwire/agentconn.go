package webrtcwire

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// agentQueue bounds the packets that wait for one ICE agent; more are dropped, as
// a full socket buffer would. The agent's reader only moves them on, so a long
// queue means that the whole machine is behind.
const agentQueue = 512

// agentConn is what the mux keeps for one ICE agent.
type agentConn struct {
	mux    *mux
	ufrag  string
	queues families
	closed chan struct{}
	link   atomic.Pointer[link] // takes DTLS records; nil: the queues do

	refs  int              // guarded by mux.mu
	owned []netip.AddrPort // addresses that are or were ours; guarded by mux.mu
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

// agentRef is an agentConn as pion/ice uses it: one for each candidate.
type agentRef struct {
	*agentConn
	queue chan *packet // of the candidate's family
	once  sync.Once
	done  chan struct{}
}

var _ net.PacketConn = (*agentRef)(nil)

// ReadFromAddrPort reads the agent's next packet; pion/ice prefers it to ReadFrom.
func (r *agentRef) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-r.queue:
		n, from := copy(b, p.data[:p.n]), p.from
		packets.Put(p)
		return n, from, nil
	case <-r.done:
	case <-r.closed:
	}
	return 0, netip.AddrPort{}, io.EOF // which pion does not log
}

// WriteToAddrPort sends one packet; pion/ice prefers it to WriteTo.
func (r *agentRef) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-r.done:
		return 0, io.ErrClosedPipe
	case <-r.closed:
		return 0, io.ErrClosedPipe
	default:
	}
	if isSTUN(b) && isRequest(b) {
		r.mux.remember(b, r.ufrag)
	}
	return r.mux.write(b, to)
}

func (r *agentRef) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := r.ReadFromAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (r *agentRef) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "want a UDP address", Addr: to.String()}
	}
	return r.WriteToAddrPort(b, addr.AddrPort())
}

// Close ends this candidate's share, and with the last one the agent's.
func (r *agentRef) Close() error {
	r.once.Do(func() {
		close(r.done)
		r.mux.mu.Lock()
		defer r.mux.mu.Unlock()
		if r.refs--; r.refs == 0 {
			r.mux.remove(r.agentConn)
		}
	})
	return nil
}

func (r *agentRef) LocalAddr() net.Addr { return r.mux.localAddr() }

// Deadlines are not kept: pion/ice sets one only right before Close.

func (r *agentRef) SetDeadline(time.Time) error      { return nil }
func (r *agentRef) SetReadDeadline(time.Time) error  { return nil }
func (r *agentRef) SetWriteDeadline(time.Time) error { return nil }
