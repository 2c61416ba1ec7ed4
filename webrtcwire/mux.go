package webrtcwire

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
)

const (
	// readErrorPause keeps a socket that fails at once, again and again, from
	// spinning a core.
	readErrorPause = 10 * time.Millisecond

	// socketBuffer is the receive buffer asked of the system for the socket: room
	// for a few connections' windows.
	socketBuffer = 4 << 20

	// ownerPatience is how long an address stays with a connection whose peer has
	// stopped sending checks from there, before another may have it. Peers send
	// one every 3 s (ours) or 2.5 s (browsers).
	ownerPatience = 8 * time.Second

	// maxOwned bounds the addresses that one connection's checks may come from.
	maxOwned = 64

	// maxTransactions bounds the remembered STUN requests of ours; twice as many
	// are kept, so that the youngest are never forgotten first.
	maxTransactions = 4096
)

// mux shares one UDP socket among ICE agents. It is ours rather than pion's
// because pion's gives every packet of an address to whoever last sent something
// there: a description that lists another peer's address would cut that peer off.
// Here an address belongs to the connection whose ICE checks come from it.
//
//	STUN request   the agent whose ufrag is in USERNAME
//	STUN response  the agent that sent the request (by transaction)
//	of a TURN server at which we have an allocation: the allocation, if it knows it
//	anything else  the owner of the address it came from
//
// What is none of these, such as requests to a STUN server and channel data, it leaves to
// others where packets are handed to it (batchPusher).
type mux struct {
	conns  []net.PacketConn // all of one UDP port; the first is written to
	write  func(b []byte, to netip.AddrPort) (int, error)
	send   func(b []byte, size int, to netip.AddrPort) bool
	whole  wholeConn // nil: the socket has no such way
	hosts  *hosts
	mirror *Mirror // whose questions go out by this socket; nil: none
	logger *slog.Logger
	wg     sync.WaitGroup // readers

	mu      sync.RWMutex
	closed  bool
	agents  map[string]*agentConn // by local ufrag
	owners  map[netip.AddrPort]*ownership
	sent    map[transactionID]string // ufrags by our requests, young
	sentOld map[transactionID]string // and older

	// serving are our allocations by this socket, by TURN server; replaced under mu, not changed.
	serving atomic.Pointer[map[netip.AddrPort]*relayedConn]

	flushing sync.Mutex
	unsent   []*link // that have answers to packets of this batch; guarded by flushing
}

// ownership says whose an address is.
type ownership struct {
	conn  *agentConn
	check time.Time // when the last check came
}

var _ ice.UDPMux = (*mux)(nil)

// addrPortConn is the part of *net.UDPConn that moves packets without allocating
// their addresses.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

// batchPusher is a connection that can hand over packets as they come, which saves the
// wake-up of a reader, that has others for what f does not take, and that tells with flush when
// those that were read together are over.
type batchPusher interface {
	HandleTimed(f func(packet []byte, from netip.AddrPort, received time.Time) (taken bool), flush func())
}

// packetQueuer is a connection that gathers packets and sends many with one system call.
type packetQueuer interface {
	Queue(b []byte, to netip.AddrPort) (int, error)
}

func newMux(conns []net.PacketConn, hosts *hosts, mirror *Mirror, logger *slog.Logger) *mux {
	m := &mux{
		conns: conns, hosts: hosts, mirror: mirror, logger: logger,
		agents: map[string]*agentConn{},
		owners: map[netip.AddrPort]*ownership{},
		sent:   map[transactionID]string{},
	}
	m.serving.Store(&map[netip.AddrPort]*relayedConn{})
	m.write = writer(conns[0])
	m.send = segmentWriter(conns[0], m.write)
	m.whole, _ = conns[0].(wholeConn)
	for _, conn := range conns {
		if buffered, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
			_ = buffered.SetReadBuffer(socketBuffer) // as much as the system allows
		}
		if pushing, ok := conn.(batchPusher); ok {
			pushing.HandleTimed(func(b []byte, from netip.AddrPort, _ time.Time) bool { return m.receive(b, from) }, m.flush)
			continue
		}
		m.wg.Go(func() { m.readAll(conn) })
	}
	return m
}

func writer(conn net.PacketConn) func([]byte, netip.AddrPort) (int, error) {
	if queuing, ok := conn.(packetQueuer); ok {
		return queuing.Queue
	}
	if fast, ok := conn.(addrPortConn); ok {
		return fast.WriteToUDPAddrPort
	}
	return func(b []byte, to netip.AddrPort) (int, error) {
		return conn.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
}

func reader(conn net.PacketConn) func([]byte) (int, netip.AddrPort, error) {
	if fast, ok := conn.(addrPortConn); ok {
		return fast.ReadFromUDPAddrPort
	}
	return func(b []byte) (int, netip.AddrPort, error) {
		n, addr, err := conn.ReadFrom(b)
		if err != nil {
			return n, netip.AddrPort{}, err
		}
		udp, ok := addr.(*net.UDPAddr)
		if !ok {
			return n, netip.AddrPort{}, &net.AddrError{Err: "want a UDP address", Addr: addr.String()}
		}
		return n, udp.AddrPort(), nil
	}
}

// readAll reads until the socket is closed. Other errors concern one packet:
// Windows reports a peer's closed port on the next read of the shared socket.
func (m *mux) readAll(conn net.PacketConn) {
	read := reader(conn)
	p := packets.Get().(*packet)
	for {
		n, from, err := read(p.data[:])
		switch {
		case err == nil:
			p.n, p.from = n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			if l, flush := m.pass(p.data[:n], p.from); l != nil {
				if flush {
					l.flush()
				}
			} else if c := m.relayed(p.data[:n], p.from); c != nil {
				c.flush()
			} else if kept, _ := m.dispatch(p); kept {
				p = packets.Get().(*packet)
			}
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
			return
		case !errors.Is(err, os.ErrDeadlineExceeded):
			m.logger.Debug("reading the shared UDP socket failed", "error", err)
			time.Sleep(readErrorPause)
		}
	}
}

// receive takes a packet that a batchPusher has read; false: it is not for us.
func (m *mux) receive(b []byte, from netip.AddrPort) (taken bool) {
	if l, flush := m.pass(b, from); l != nil {
		if flush {
			m.flushLater(l)
		}
		return true
	}
	if m.relayed(b, from) != nil {
		return true
	}
	if len(b) > maxPacket {
		return false
	}
	p := packets.Get().(*packet)
	p.n, p.from = copy(p.data[:], b), from
	kept, taken := m.dispatch(p)
	if !kept {
		packets.Put(p)
	}
	return taken
}

// dispatch hands a packet to whom it is for: taken. Unless it is kept, the caller still
// has it. A panic over it ends the packet alone.
func (m *mux) dispatch(p *packet) (kept, taken bool) {
	defer func() {
		if r := recover(); r != nil {
			m.logger.Error("panic", "doing", "handing on a packet", "from", p.from, "panic", r, "stack", string(debug.Stack()))
			kept, taken = true, true // nobody knows who has it
		}
	}()
	b := p.data[:p.n]
	var to *agentConn
	switch {
	case isMedia(b), isChannelData(b): // none is ours
	case !isSTUN(b):
		m.mu.RLock()
		if owner := m.owners[p.from]; owner != nil {
			to = owner.conn
		}
		m.mu.RUnlock()
	case isRequest(b):
		if ufrag, ok := localUfrag(b); ok {
			to = m.checked(ufrag, p.from)
		}
	case isResponse(b):
		if m.mirror != nil && m.mirror.Receive(b, p.from) {
			return false, true
		}
		to, taken = m.answered(b, p.from)
	}
	if to == nil {
		return false, taken
	}
	return to.deliver(p), true
}

// checked finds the agent of a check and makes it the owner of the address,
// unless that is another's who is alive.
func (m *mux) checked(ufrag string, from netip.AddrPort) *agentConn {
	m.mu.Lock()
	defer m.mu.Unlock()
	conn := m.agents[ufrag]
	if conn != nil {
		m.own(conn, from)
	}
	return conn
}

func (m *mux) own(conn *agentConn, addr netip.AddrPort) {
	now := time.Now()
	switch owner := m.owners[addr]; {
	case owner != nil && owner.conn == conn:
		owner.check = now
	case owner != nil && now.Sub(owner.check) < ownerPatience, len(conn.owned) >= maxOwned:
	default:
		m.owners[addr] = &ownership{conn: conn, check: now}
		conn.owned = append(conn.owned, addr)
	}
}

// answered finds who asked. Only the other side knows the transaction, so its
// address is as good as checked. An error of it is how another program answers whom
// the system gave the port of one that ended without a farewell. ours: we asked.
func (m *mux) answered(b []byte, from netip.AddrPort) (conn *agentConn, ours bool) {
	id := transaction(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	ufrag, ours := m.sent[id]
	if !ours {
		ufrag, ours = m.sentOld[id]
	}
	conn = m.agents[ufrag]
	switch {
	case conn == nil:
	case isError(b):
		m.forsake(conn, from)
	default:
		m.own(conn, from)
	}
	return conn, ours
}

// forsake lets the next who is checked from an address have it. If its owner is
// there after all, its own next check keeps it.
func (m *mux) forsake(conn *agentConn, addr netip.AddrPort) {
	if owner := m.owners[addr]; owner != nil && owner.conn == conn {
		owner.check = time.Time{}
	}
}

// remember notes who sent a STUN request.
func (m *mux) remember(b []byte, ufrag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.sent) >= maxTransactions {
		m.sentOld, m.sent = m.sent, map[transactionID]string{}
	}
	m.sent[transaction(b)] = ufrag
}

// busy reports whether addr belongs to a live connection.
func (m *mux) busy(addr netip.AddrPort) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.owners[addr] != nil
}

// GetConn returns the packets of the ICE agent with this ufrag that are of local's
// address family. Each call's result is closed on its own; those of one family
// share a queue.
func (m *mux) GetConn(ufrag string, local net.Addr) (net.PacketConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, net.ErrClosed
	}
	conn := m.agents[ufrag]
	if conn == nil {
		conn = &agentConn{share: newShare(ufrag), mux: m}
		m.agents[ufrag] = conn
	}
	conn.refs++
	var addr netip.Addr
	if udp, ok := local.(*net.UDPAddr); ok {
		addr = udp.AddrPort().Addr()
	}
	return &candidateConn{
		share: &conn.share, queue: conn.queues.of(addr), local: m.localAddr(),
		write: conn.write, release: func() { m.release(conn) }, done: make(chan struct{}),
	}, nil
}

// RemoveConnByUfrag ends an agent's share.
func (m *mux) RemoveConnByUfrag(ufrag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if conn := m.agents[ufrag]; conn != nil {
		m.remove(conn)
	}
}

func (m *mux) release(conn *agentConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if conn.refs--; conn.refs == 0 {
		m.remove(conn)
	}
}

func (m *mux) remove(conn *agentConn) {
	if m.agents[conn.ufrag] != conn {
		return
	}
	delete(m.agents, conn.ufrag)
	for _, addr := range conn.owned {
		if owner := m.owners[addr]; owner != nil && owner.conn == conn {
			delete(m.owners, addr)
		}
	}
	close(conn.closed)
}

// GetListenAddresses returns the addresses that become host candidates.
func (m *mux) GetListenAddresses() []net.Addr { return m.hosts.addresses(m.localAddr()) }

func (m *mux) localAddr() *net.UDPAddr {
	if addr, ok := m.conns[0].LocalAddr().(*net.UDPAddr); ok {
		return addr
	}
	return &net.UDPAddr{}
}

// Close closes the socket and waits for its readers.
func (m *mux) Close() error {
	m.mu.Lock()
	m.closed = true
	for _, conn := range m.agents {
		m.remove(conn)
	}
	m.mu.Unlock()
	var errs []error
	for _, conn := range m.conns {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	m.wg.Wait()
	return errors.Join(errs...)
}
