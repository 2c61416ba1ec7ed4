package webrtcwire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"github.com/causeway-bt/causeway/webrtcwire/turnclient"
)

const (
	// relayFresh is for how long a server that has answered is believed to be there. After it,
	// it has relayCheck to answer again before an allocation is used for another agent.
	relayFresh = 5 * time.Second
	relayCheck = 2 * time.Second

	// relayRetry is how long a server that could not be used is left alone.
	relayRetry = 10 * time.Second

	// relayIdle is how long an allocation that no agent uses is kept.
	relayIdle = time.Minute

	// maxRelays bounds the servers at which there are allocations: trackers name them.
	maxRelays = 16

	// familyPatience is how long a server is tried over IPv4 if there is IPv6 as well.
	familyPatience = 3 * time.Second
)

var errRelayed = errors.New("an allocation at this address is there already")

// relays are the allocations at TURN servers that all agents of one socket share, one at each.
type relays struct {
	t      *Transport
	socket *mux
	wg     sync.WaitGroup // what settles

	mu      sync.Mutex
	closed  bool
	servers map[string]*relayServer // by URL, which has no credentials
}

// relayServer is a TURN server and our allocation there. The fields are guarded by relays.mu; relay
// and err are set once settled is closed.
type relayServer struct {
	settled chan struct{}
	at      time.Time // of settling
	uri     *stun.URI // with the credentials of the last attempt
	relay   *relay    // nil: none
	err     error
}

// relay is an allocation and its mux, which shares out the relayed address among agents.
type relay struct {
	allocation *turnclient.Allocation
	mux        *mux
	stream     bool   // the server is reached by TCP
	shared     bool   // the server is reached by the shared socket
	leave      func() // gives back the way to the server

	users int       // links; guarded by relays.mu
	used  time.Time // when there was the last; the same
}

func newRelays(t *Transport, socket *mux) *relays {
	return &relays{t: t, socket: socket, servers: map[string]*relayServer{}}
}

// take returns the relays at these servers that there are when ctx ends, or once all are known, but for
// servers that could not be used before if others do. Those by TCP are for where nothing else gets
// through. Each relay is to be given back.
func (r *relays) take(ctx context.Context, uris []*stun.URI, others bool) (all []*relay) {
	var asked []*relayServer
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, uri := range uris {
		if s := r.server(uri); s != nil {
			asked = append(asked, s)
		}
	}
	for _, s := range asked {
		settled := s.settled
		if others && s.err != nil {
			continue
		}
		r.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
		}
		r.mu.Lock()
	}
	for _, stream := range []bool{false, true} {
		for _, s := range asked {
			if s.relay != nil && s.relay.alive() && s.relay.stream == stream && (!stream || len(all) == 0) {
				s.relay.users++
				all = append(all, s.relay)
			}
		}
	}
	return all
}

// give gives back what take has returned.
func (r *relays) give(used []*relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, relay := range used {
		relay.users--
		relay.used = time.Now()
	}
	if !r.closed {
		time.AfterFunc(relayIdle+time.Second, r.forget)
	}
}

func (r *relays) unused(relay *relay) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return relay.users == 0
}

// forget ends the allocations that nobody uses any more.
func (r *relays) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for url, s := range r.servers {
		if s.isSettled() && !r.closed && s.relay != nil && s.relay.users == 0 && time.Since(s.relay.used) > relayIdle {
			delete(r.servers, url)
			r.wg.Go(s.relay.close)
		}
	}
}

// server finds a server, and has its allocation made, or looked after, if need be; nil: it cannot be used.
// r.mu is held.
func (r *relays) server(uri *stun.URI) *relayServer {
	s := r.servers[uri.String()]
	switch {
	case r.closed:
		return nil
	case s == nil && len(r.servers) >= maxRelays && !r.dropFailed():
		return nil
	case s == nil:
		s = &relayServer{}
		r.servers[uri.String()] = s
	case !s.isSettled(), s.relay == nil && *s.uri == *uri && time.Since(s.at) < relayRetry:
		return s
	case s.relay != nil && s.relay.alive():
		s.relay.allocation.SetCredentials(uri.Username, uri.Password)
		if s.relay.allocation.Fresh(relayFresh) {
			return s
		}
	}
	s.settled, s.uri = make(chan struct{}), uri
	before := s.relay
	r.wg.Go(func() { r.settle(s, uri, before) })
	return s
}

// dropFailed makes room for one more server.
func (r *relays) dropFailed() bool {
	for url, s := range r.servers {
		if s.isSettled() && (s.relay == nil || !s.relay.alive()) {
			delete(r.servers, url)
			if s.relay != nil {
				r.wg.Go(s.relay.close)
			}
			return true
		}
	}
	return false
}

func (s *relayServer) isSettled() bool {
	select {
	case <-s.settled:
		return true
	default:
		return false
	}
}

// settle sees to it that there is an allocation, if the server is there. before is what was there.
func (r *relays) settle(s *relayServer, uri *stun.URI, before *relay) {
	relay, err := before, error(nil)
	if relay != nil {
		ctx, cancel := context.WithTimeout(r.t.ctx, relayCheck)
		err = relay.allocation.Check(ctx)
		cancel()
		if err != nil && (!relay.alive() || r.unused(relay)) {
			relay.close()
			relay = nil
		}
	}
	if relay == nil {
		relay, err = r.open(r.t.ctx, uri)
	}
	if err != nil {
		r.t.config.Logger.Debug("no relay", "server", uri.String(), "error", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if relay != nil && relay != before {
		relay.used = time.Now()
	}
	s.relay, s.err, s.at = relay, err, time.Now()
	close(s.settled)
}

// open makes an allocation.
func (r *relays) open(ctx context.Context, uri *stun.URI) (*relay, error) {
	udp := uri.Proto == stun.ProtoTypeUDP
	var errs []error
	for i, family := range []string{"4", "6"} {
		attempt, cancel := context.WithTimeout(ctx, serverTimeout)
		network := "tcp" + family
		if udp {
			network = "udp" + family
		}
		server, err := resolve(attempt, r.t.config.Network, network, net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)))
		if err != nil {
			cancel()
			errs = append(errs, err)
			continue
		}
		if i == 0 {
			cancel()
			attempt, cancel = context.WithTimeout(ctx, familyPatience)
		}
		relay, err := r.openAt(attempt, uri, network, server)
		cancel()
		if err == nil {
			return relay, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (r *relays) openAt(ctx context.Context, uri *stun.URI, network string, server netip.AddrPort) (*relay, error) {
	if uri.Scheme == stun.SchemeTypeTURN && uri.Proto == stun.ProtoTypeUDP {
		relay, err := r.allocate(ctx, uri, func(c *relayedConn) error { return r.goShared(c, server) })
		var refusal *turnclient.ResponseError
		if err == nil || !errors.As(err, &refusal) || refusal.Code != stun.CodeAllocMismatch {
			return relay, err
		}
		// An allocation of another user's is left over at our port, and another port has none.
	}
	return r.allocate(ctx, uri, func(c *relayedConn) error { return r.goOwn(ctx, c, uri, network, server) })
}

// allocate makes an allocation by the way that find finds.
func (r *relays) allocate(ctx context.Context, uri *stun.URI, find func(*relayedConn) error) (*relay, error) {
	conn := &relayedConn{}
	stream := uri.Proto == stun.ProtoTypeTCP
	conn.allocation = turnclient.New(turnclient.Config{
		Username: uri.Username, Password: uri.Password, Stream: stream, Logger: r.t.config.Logger,
		Write:         func(b []byte) error { return conn.write(b) },
		WriteSegments: func(b []byte, size int) { conn.segments(b, size) },
		Received:      conn.received,
	})
	if err := find(conn); err != nil {
		return nil, err
	}
	if err := conn.allocation.Allocate(ctx); err != nil {
		_ = conn.allocation.Close() // never fails
		conn.leave()
		return nil, err
	}
	return &relay{
		allocation: conn.allocation, stream: stream, shared: conn.shared, leave: conn.leave,
		mux: newMux([]net.PacketConn{conn}, r.t.hosts, nil, r.t.config.Logger),
	}, nil
}

// goShared has an allocation's packets go by the shared socket.
func (r *relays) goShared(c *relayedConn, server netip.AddrPort) error {
	if !r.socket.serve(server, c) {
		return errRelayed
	}
	c.shared = true
	c.write = func(b []byte) error { _, err := r.socket.write(b, server); return err }
	c.segments = func(b []byte, size int) { r.socket.send(b, size, server) }
	c.leave = func() { r.socket.unserve(server) }
	return nil
}

// goOwn has them go by a connection of its own: TCP, TLS, DTLS or UDP.
func (r *relays) goOwn(ctx context.Context, c *relayedConn, uri *stun.URI, network string, server netip.AddrPort) error {
	conn, err := r.dial(ctx, uri, network, server)
	if err != nil {
		return err
	}
	read := conn.Read
	if uri.Proto == stun.ProtoTypeTCP {
		framed := turn.NewSTUNConn(conn)
		read = func(b []byte) (int, error) { n, _, err := framed.ReadFrom(b); return n, err }
	}
	out := newDetour(func(b []byte) (int, error) {
		_ = conn.SetWriteDeadline(time.Now().Add(tcpWriteTimeout)) // fails with the connection
		n, err := conn.Write(b)
		if err != nil {
			_ = conn.Close() // half a message may have gone
		}
		return n, err
	})
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, maxPacket)
		for {
			n, err := read(b)
			if err != nil {
				return // the allocation finds out by the silence
			}
			c.allocation.Receive(b[:n])
			c.flush()
		}
	})
	c.write = func(b []byte) error { out.send(b); return nil }
	c.segments = func(b []byte, size int) {
		for len(b) > 0 {
			n := min(size, len(b))
			out.send(b[:n])
			b = b[n:]
		}
	}
	c.leave = func() {
		out.close()
		_ = conn.Close()
		reading.Wait()
	}
	return nil
}

func (r *relays) dial(ctx context.Context, uri *stun.URI, network string, server netip.AddrPort) (net.Conn, error) {
	conn, err := r.t.config.Network.DialContext(ctx, network, server.String())
	if err != nil || uri.Scheme == stun.SchemeTypeTURN {
		return conn, err
	}
	if uri.Proto == stun.ProtoTypeTCP {
		secure := tls.Client(conn, &tls.Config{ServerName: uri.Host, MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return secure, nil
	}
	packets, ok := conn.(net.PacketConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("want a net.PacketConn, not a %T", conn), conn.Close())
	}
	secure, err := dtls.ClientWithOptions(connected{packets, conn}, conn.RemoteAddr(),
		dtls.WithServerName(uri.Host), dtls.WithLoggerFactory(pionLog{logger: r.t.config.Logger}))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, secure.Close())
	}
	return secure, nil
}

// connected is a UDP socket that sends to one address only.
type connected struct {
	net.PacketConn
	conn net.Conn
}

func (c connected) WriteTo(b []byte, _ net.Addr) (int, error) { return c.conn.Write(b) }

// busy reports whether addr belongs to a live connection by a relay.
func (r *relays) busy(addr netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.servers {
		if s.relay != nil && s.relay.mux.busy(addr) {
			return true
		}
	}
	return false
}

// Close ends all allocations.
func (r *relays) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.wg.Wait()
	for _, s := range r.servers { // of a closed one nobody changes them
		if s.relay != nil {
			r.wg.Go(s.relay.close)
		}
	}
	r.wg.Wait()
}

func (r *relay) alive() bool {
	select {
	case <-r.allocation.Done():
		return false
	default:
		return true
	}
}

func (r *relay) close() {
	_ = r.allocation.Close() // never fails
	r.leave()
	_ = r.mux.Close() // the same
}

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
