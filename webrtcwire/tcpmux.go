package webrtcwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/ice/v4"
)

// ICE over TCP (RFC 6544), for pages whose firewall lets no UDP out: our candidates are passive,
// and pages connect to the one TCP port. Frames are those of RFC 4571: a length of two bytes and
// a packet.

const (
	// firstFrameTimeout bounds the wait for a connection's first check, which the other side
	// sends at once.
	firstFrameTimeout = 5 * time.Second

	// tcpIdle is after what time without a packet a connection ends. Checks come every few
	// seconds.
	tcpIdle = time.Minute

	// maxTCPConns bounds the connections for one ICE agent: a browser makes one to each
	// of our addresses, from each of its own.
	maxTCPConns = 16

	frameHeader = 2
)

var (
	errNotICE       = errors.New("the first message is no ICE check")
	errUnknownAgent = errors.New("the ICE check is for nobody here")
	errTooManyTCP   = errors.New("too many TCP connections for one ICE agent")
	errNotListening = errors.New("no TCP port of ours is at this address")
)

// tcpMux gives ICE agents the TCP connections whose first check is for them. It is ours
// rather than pion's because pion's keeps an entry for each fragment that a stranger makes
// up. Here only agents that exist have one.
type tcpMux struct {
	port   int
	local  func() []net.Addr // addresses of this machine, as *net.UDPAddr
	logger *slog.Logger
	wg     sync.WaitGroup // goroutines of connections

	mu     sync.Mutex
	closed bool
	agents map[string]*tcpAgent // by local ufrag
}

var _ ice.TCPMux = (*tcpMux)(nil)

// tcpAgent is an agent's share of the TCP connections.
type tcpAgent struct {
	share
	mux   *tcpMux
	conns map[netip.AddrPort]*tcpConn // by remote address; guarded by mux.mu
}

func newTCPMux(port int, logger *slog.Logger) *tcpMux {
	return &tcpMux{port: port, logger: logger, agents: map[string]*tcpAgent{}}
}

// GetConnByUfrag returns what becomes the agent's passive candidate at one of our addresses.
func (m *tcpMux) GetConnByUfrag(ufrag string, _ bool, local net.IP) (net.PacketConn, error) {
	ours := slices.ContainsFunc(m.local(), func(a net.Addr) bool {
		udp, ok := a.(*net.UDPAddr)
		return ok && udp.IP.Equal(local)
	})
	addr, ok := netip.AddrFromSlice(local)
	if !ours || !ok {
		return nil, errNotListening
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, net.ErrClosed
	}
	agent := m.agents[ufrag]
	if agent == nil {
		agent = &tcpAgent{share: newShare(ufrag), mux: m, conns: map[netip.AddrPort]*tcpConn{}}
		m.agents[ufrag] = agent
	}
	agent.refs++
	return &candidateConn{
		share: &agent.share, queue: agent.queues.of(addr), local: &net.TCPAddr{IP: local, Port: m.port},
		write: agent.write, release: func() { m.release(agent) }, done: make(chan struct{}),
	}, nil
}

// RemoveConnByUfrag ends an agent's share.
func (m *tcpMux) RemoveConnByUfrag(ufrag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if agent := m.agents[ufrag]; agent != nil {
		m.remove(agent)
	}
}

func (m *tcpMux) release(agent *tcpAgent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if agent.refs--; agent.refs == 0 {
		m.remove(agent)
	}
}

func (m *tcpMux) remove(agent *tcpAgent) {
	if m.agents[agent.ufrag] != agent {
		return
	}
	delete(m.agents, agent.ufrag)
	for _, c := range agent.conns {
		c.close()
	}
	close(agent.closed)
}

// take reads the first check of a connection and gives it to the agent that it is for.
func (m *tcpMux) take(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(firstFrameTimeout)); err != nil {
		return err
	}
	p := packets.Get().(*packet)
	if err := readFrame(conn, p); err != nil {
		packets.Put(p)
		return fmt.Errorf("read the first ICE check: %w", err)
	}
	ufrag, ok := "", false
	if b := p.data[:p.n]; isSTUN(b) && isRequest(b) {
		ufrag, ok = localUfrag(b)
	}
	if !ok {
		packets.Put(p)
		return errNotICE
	}
	c, err := m.add(ufrag, conn)
	if err != nil {
		packets.Put(p)
		return err
	}
	p.from = c.from
	c.deliver(p)
	return nil
}

// add gives a connection to an agent.
func (m *tcpMux) add(ufrag string, conn net.Conn) (*tcpConn, error) {
	remote, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return nil, &net.AddrError{Err: "want a TCP address", Addr: conn.RemoteAddr().String()}
	}
	from := remote.AddrPort()
	m.mu.Lock()
	defer m.mu.Unlock()
	agent := m.agents[ufrag]
	if agent == nil {
		return nil, errUnknownAgent
	}
	c := newTCPConn(agent, conn, netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()))
	if len(agent.conns) >= maxTCPConns || agent.conns[c.from] != nil {
		return nil, errTooManyTCP
	}
	agent.conns[c.from] = c
	m.wg.Go(c.read)
	m.wg.Go(c.write)
	return c, nil
}

// write sends one packet, over the connection from there.
func (a *tcpAgent) write(b []byte, to netip.AddrPort) (int, error) {
	a.mux.mu.Lock()
	c := a.conns[netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())]
	a.mux.mu.Unlock()
	if c == nil {
		return 0, &net.AddrError{Err: "no TCP connection from there", Addr: to.String()}
	}
	return c.send(b)
}

// drop forgets a connection that has ended.
func (m *tcpMux) drop(c *tcpConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.agent.conns[c.from] == c {
		delete(c.agent.conns, c.from)
	}
}

// Close ends all connections and waits for their goroutines.
func (m *tcpMux) Close() error {
	m.mu.Lock()
	m.closed = true
	for _, agent := range m.agents {
		m.remove(agent)
	}
	m.mu.Unlock()
	m.wg.Wait()
	return nil
}

// readFrame reads a packet. One that is too long, or empty, ends the connection.
func readFrame(r io.Reader, p *packet) error {
	if _, err := io.ReadFull(r, p.data[:frameHeader]); err != nil {
		return err
	}
	if p.n = int(binary.BigEndian.Uint16(p.data[:])); p.n == 0 || p.n > maxPacket {
		return fmt.Errorf("a packet of %d bytes, want at most %d", p.n, maxPacket)
	}
	_, err := io.ReadFull(r, p.data[:p.n])
	return err
}
