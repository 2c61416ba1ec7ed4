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
//	anything else  the owner of the address it came from
//
// What is a STUN or TURN server's (requests that are no agent's, indications, channel data)
// goes to unmatched, if there is one.
type mux struct {
	conns   []net.PacketConn // all of one UDP port; the first is written to
	write   func(b []byte, to netip.AddrPort) (int, error)
	batches *batches
	hosts   *hosts
	logger  *slog.Logger
	wg      sync.WaitGroup // readers

	unmatched func(packet []byte, from netip.AddrPort) // may be nil

	mu        sync.RWMutex
	closed    bool
	agents    map[string]*agentConn // by local ufrag
	owners    map[netip.AddrPort]*ownership
	sent      map[transactionID]string                // ufrags by our requests, young
	sentOld   map[transactionID]string                // and older
	questions map[transactionID]chan<- netip.AddrPort // to STUN servers
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

// packetPusher is a connection that can hand over packets as they come, which saves the
// wake-up of a reader.
type packetPusher interface {
	Handle(f func(packet []byte, from netip.AddrPort))
}

func newMux(conns []net.PacketConn, hosts *hosts, unmatched func([]byte, netip.AddrPort), logger *slog.Logger) *mux {
	m := &mux{
		conns: conns, hosts: hosts, logger: logger, unmatched: unmatched,
		agents:    map[string]*agentConn{},
		owners:    map[netip.AddrPort]*ownership{},
		sent:      map[transactionID]string{},
		questions: map[transactionID]chan<- netip.AddrPort{},
	}
	m.write = writer(conns[0])
	m.batches = newBatches(conns[0], m.write)
	for _, conn := range conns {
		if buffered, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
			_ = buffered.SetReadBuffer(socketBuffer) // as much as the system allows
		}
		if pushing, ok := conn.(packetPusher); ok {
			pushing.Handle(m.receive)
			continue
		}
		m.wg.Go(func() { m.readAll(conn) })
	}
	return m
}

func writer(conn net.PacketConn) func([]byte, netip.AddrPort) (int, error) {
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
			} else if m.dispatch(p) {
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

// receive takes a packet that a packetPusher has read.
func (m *mux) receive(b []byte, from netip.AddrPort) {
	if l, flush := m.pass(b, from); l != nil {
		if flush {
			l.flush()
		}
		return
	}
	if len(b) > maxPacket {
		return
	}
	p := packets.Get().(*packet)
	p.n, p.from = copy(p.data[:], b), from
	if !m.dispatch(p) {
		packets.Put(p)
	}
}

// pass hands DTLS records straight to the connection that they belong to, if it has made its
// handshake; nil: there is none such. If flush, that is to follow.
func (m *mux) pass(b []byte, from netip.AddrPort) (to *link, flush bool) {
	if !isDTLS(b) {
		return nil, false
	}
	m.mu.RLock()
	owner := m.owners[from]
	m.mu.RUnlock()
	if owner == nil {
		return nil, false
	}
	if to = owner.conn.link.Load(); to == nil {
		return nil, false
	}
	defer func() {
		if r := recover(); r != nil {
			m.logger.Error("panic", "doing", "taking a DTLS record", "from", from, "panic", r, "stack", string(debug.Stack()))
			flush = false
			to.s.shut(errors.New("webrtcwire: panic over a packet"))
		}
	}()
	return to, to.receive(b)
}

// attach has the DTLS records of an agent's peer passed to l.
func (m *mux) attach(ufrag string, l *link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if conn := m.agents[ufrag]; conn != nil {
		conn.link.Store(l)
	}
}

// send sends packets of size bytes, the last of which may be smaller.
func (m *mux) send(b []byte, size int, to netip.AddrPort) { m.batches.send(b, size, to) }

// dispatch hands a packet to whom it is for; false means that the caller still
// has it. A panic over it ends the packet alone.
func (m *mux) dispatch(p *packet) (taken bool) {
	defer func() {
		if r := recover(); r != nil {
			m.logger.Error("panic", "doing", "handing on a packet", "from", p.from, "panic", r, "stack", string(debug.Stack()))
			taken = true // nobody knows who has it
		}
	}()
	b := p.data[:p.n]
	var to *agentConn
	switch {
	case m.unmatched != nil && isChannelData(b): // of our own, none comes here
	case !isSTUN(b):
		if isMedia(b) {
			return false
		}
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
		to = m.answered(b, p.from)
	}
	if to == nil && m.unmatched != nil && isForServer(b) {
		m.unmatched(b, p.from)
	}
	return to != nil && to.deliver(p)
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
// the system gave the port of one that ended without a farewell.
func (m *mux) answered(b []byte, from netip.AddrPort) *agentConn {
	id := transaction(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	if question := m.questions[id]; question != nil {
		if mapped, ok := mappedAddress(b); ok {
			delete(m.questions, id)
			question <- mapped // has room for one
		}
		return nil
	}
	ufrag, ok := m.sent[id]
	if !ok {
		ufrag = m.sentOld[id]
	}
	conn := m.agents[ufrag]
	switch {
	case conn == nil:
	case isError(b):
		m.forsake(conn, from)
	default:
		m.own(conn, from)
	}
	return conn
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
		conn = &agentConn{
			mux: m, ufrag: ufrag,
			queues: newFamilies(), closed: make(chan struct{}),
		}
		m.agents[ufrag] = conn
	}
	conn.refs++
	var addr netip.Addr
	if udp, ok := local.(*net.UDPAddr); ok {
		addr = udp.AddrPort().Addr()
	}
	return &agentRef{agentConn: conn, queue: conn.queues.of(addr), done: make(chan struct{})}, nil
}

// RemoveConnByUfrag ends an agent's share.
func (m *mux) RemoveConnByUfrag(ufrag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if conn := m.agents[ufrag]; conn != nil {
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
