package webrtcwire

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// frontAddrs are where agents find the front, for relays of each family. They are nobody's (RFC 5737,
// RFC 3849), and nothing is sent there.
var frontAddrs = [...]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:3478"), netip.MustParseAddrPort("[2001:db8::1]:3478")}

// frontQueue and clientQueue bound the packets that wait for the front, and for one client of it.
const (
	frontQueue  = 256
	clientQueue = 32
)

// front is a TURN server within this process, that nobody else can reach: by it ICE agents get a
// share of a relay's port, where pion would have each make an allocation from a port of its own. Only
// checks and handshakes pass through it; see selected.
type front struct {
	server   *turn.Server
	password string

	mu     sync.Mutex
	closed bool
	conns  map[netip.AddrPort]*frontConn
	last   uint32            // client
	grants map[string]*grant // by user name
}

// grant is one agent's leave to use one relay.
type grant struct {
	link  *link
	relay *relay
	conns []net.PacketConn // its share
}

var _ turn.RelayAddressGenerator = (*front)(nil)

func newFront(logger *slog.Logger) (*front, error) {
	f := &front{password: rand.Text(), conns: map[netip.AddrPort]*frontConn{}, grants: map[string]*grant{}}
	config := turn.ServerConfig{Realm: "causeway", AuthHandler: f.authorize, LoggerFactory: pionLog{logger: logger}}
	for _, addr := range frontAddrs {
		config.PacketConnConfigs = append(config.PacketConnConfigs,
			turn.PacketConnConfig{PacketConn: f.listen(addr, frontQueue), RelayAddressGenerator: f})
	}
	var err error
	f.server, err = turn.NewServer(config)
	if err != nil {
		return nil, fmt.Errorf("webrtcwire: %w", err)
	}
	return f, nil
}

// ensureFront returns the front, which is made when it is first needed.
func (t *Transport) ensureFront() (*front, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.front != nil {
		return t.front, nil
	}
	var err error
	t.front, err = newFront(t.config.Logger)
	return t.front, err
}

// grant returns the URL by which an agent gets its share of a relay.
func (f *front) grant(l *link, r *relay) *stun.URI {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	user := strconv.FormatUint(uint64(f.last), 10)
	f.grants[user] = &grant{link: l, relay: r}
	addr := frontAddrs[0]
	if r.allocation.Relayed().Addr().Is6() {
		addr = frontAddrs[1]
	}
	return &stun.URI{
		Scheme: stun.SchemeTypeTURN, Proto: stun.ProtoTypeUDP, Host: addr.Addr().String(), Port: int(addr.Port()),
		Username: user, Password: f.password,
	}
}

// revoke ends what URLs were for: the front ends an allocation whose share is closed.
func (f *front) revoke(urls []*stun.URI) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, url := range urls {
		for _, conn := range f.grants[url.Username].conns {
			_ = conn.Close() // never fails
		}
		delete(f.grants, url.Username)
	}
}

// authorize is a turn.AuthHandler.
func (f *front) authorize(request *turn.RequestAttributes) (id string, key []byte, ok bool) {
	f.mu.Lock()
	ok = f.grants[request.Username] != nil
	f.mu.Unlock()
	return request.Username, turn.GenerateAuthKey(request.Username, request.Realm, f.password), ok
}

// AllocatePacketConn gives an agent its share of the relay's port.
func (f *front) AllocatePacketConn(ask turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.grants[ask.UserID]
	if g == nil {
		return nil, nil, errNotUsed
	}
	addr := g.relay.mux.localAddr()
	conn, err := g.relay.mux.GetConn(g.link.ufrag, addr)
	if err != nil {
		return nil, nil, err
	}
	g.conns = append(g.conns, conn)
	return conn, addr, nil
}

// Validate, AllocateListener and AllocateConn are the rest of a turn.RelayAddressGenerator.

func (f *front) Validate() error { return nil }
func (f *front) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNotUsed
}
func (f *front) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNotUsed }

// dial returns an agent's way to the front, for a relay of a family.
func (f *front) dial(ipv6 bool) net.PacketConn {
	f.mu.Lock()
	f.last++
	n := f.last
	f.mu.Unlock()
	addr := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	if ipv6 {
		addr = netip.AddrFrom16([16]byte{0xfc, 12: byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	c := f.listen(netip.AddrPortFrom(addr, 1), clientQueue)
	c.ipv6 = ipv6
	return c
}

func (f *front) listen(addr netip.AddrPort, queue int) *frontConn {
	c := &frontConn{front: f, addr: addr, queue: make(chan frontPacket, queue), done: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(c.done)
	} else {
		f.conns[addr] = c
	}
	return c
}

// Close ends all allocations.
func (f *front) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	return f.server.Close()
}

// frontConn is a socket of the network on which there are the front and its clients.
type frontConn struct {
	front *front
	addr  netip.AddrPort
	ipv6  bool // it is for a relay of IPv6
	queue chan frontPacket
	once  sync.Once
	done  chan struct{}
}

type frontPacket struct {
	data []byte
	from netip.AddrPort
}

func (c *frontConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.queue:
		return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), nil
	case <-c.done:
		return 0, nil, io.EOF
	}
}

// WriteTo drops what the other side has no room for, as a network would.
func (c *frontConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "want a UDP address", Addr: to.String()}
	}
	c.front.mu.Lock()
	other := c.front.conns[netip.AddrPortFrom(addr.AddrPort().Addr().Unmap(), addr.AddrPort().Port())]
	c.front.mu.Unlock()
	if other == nil {
		return 0, net.ErrClosed
	}
	select {
	case other.queue <- frontPacket{append([]byte(nil), b...), c.addr}:
	default:
	}
	return len(b), nil
}

func (c *frontConn) Close() error {
	c.once.Do(func() {
		c.front.mu.Lock()
		defer c.front.mu.Unlock()
		if c.front.conns[c.addr] == c {
			delete(c.front.conns, c.addr)
			close(c.done)
		}
	})
	return nil
}

// LocalAddr becomes the related address of a candidate, which tells nobody anything (RFC 8839 section 5.1).
func (c *frontConn) LocalAddr() net.Addr {
	if c.ipv6 {
		return &net.UDPAddr{IP: net.IPv6zero, Port: 9}
	}
	return &net.UDPAddr{IP: net.IPv4zero, Port: 9}
}

func (c *frontConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c *frontConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c *frontConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
