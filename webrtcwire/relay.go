package webrtcwire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v4"

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

	// relayHeadStart is how long servers are tried by UDP before those by TCP are as well, and relayMore
	// how long others are waited for once there is a relay.
	relayHeadStart = 300 * time.Millisecond
	relayMore      = 100 * time.Millisecond

	// maxDatagram is the largest packet of UDP or DTLS, in bytes, and maxReadFailures how often in a row
	// one may not be read: about a second.
	maxDatagram     = 1 << 16
	maxReadFailures = 100

	// maxRelays bounds the servers, of each family, that others than Config name: trackers do.
	maxRelays = 16
)

var errRelayed = errors.New("an allocation at this address is there already")

// ipFamilies are those of the addresses of servers. At one that has addresses of both there are two
// allocations, since an allocation relays to peers of one family alone.
var ipFamilies = [...]string{"4", "6"}

// relays are the allocations at TURN servers that all agents of one socket share, one at each and of
// each family.
type relays struct {
	t      *Transport
	socket *mux
	own    map[string]*stun.URI // of Config, by URL
	ctx    context.Context      // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // nothing is begun under it after ctx
	servers map[string]*relayServer
	old     map[*relay]struct{} // were replaced, and are still used
	changed chan struct{}       // closed, and replaced, when a server is settled
}

// relayServer is a TURN server and our allocation there. The fields are guarded by relays.mu.
type relayServer struct {
	uri     *stun.URI // with the credentials of the last attempt
	family  string
	own     bool          // of Config
	settled chan struct{} // closed when the rest is known
	at      time.Time     // of settling
	relay   *relay        // nil: none
	err     error         // relay, if there is one, is not to be relied on
}

// relay is an allocation and its mux, which shares out the relayed address among agents.
type relay struct {
	allocation *turnclient.Allocation
	mux        *mux
	shared     bool   // the server is reached by the shared socket
	leave      func() // gives the way to the server back

	users int       // links; guarded by relays.mu
	used  time.Time // when there was the last; the same
}

func newRelays(t *Transport, socket *mux) *relays {
	r := &relays{
		t: t, socket: socket, own: map[string]*stun.URI{},
		servers: map[string]*relayServer{}, old: map[*relay]struct{}{}, changed: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for _, uri := range t.servers.turn {
		r.own[uri.String()] = uri
	}
	return r
}

// take returns the relays at these servers that there are when ctx ends, or as soon as it is not
// worth while to wait. Those by TCP are for where nothing else gets through. Servers that could not
// be used before are waited for only if patient. Each relay is to be given back.
func (r *relays) take(ctx context.Context, uris []*stun.URI, patient bool) []*relay {
	var datagrams, streams []*stun.URI
	for _, uri := range uris {
		if uri.Proto == stun.ProtoTypeUDP {
			datagrams = append(datagrams, uri)
		} else {
			streams = append(streams, uri)
		}
	}
	began, found := time.Now(), time.Time{}
	for {
		r.mu.Lock()
		over, changed := ctx.Err() != nil, r.changed
		all, pending := r.find(datagrams, patient, over)
		left := relayHeadStart - time.Since(began)
		if len(all) == 0 && (!pending || left <= 0) {
			more, pendingToo := r.find(streams, patient, over)
			all, pending = more[:min(1, len(more))], pending || pendingToo
		}
		if len(all) > 0 {
			if found.IsZero() {
				found = time.Now()
			}
			left = relayMore - time.Since(found)
		}
		if over || !pending || len(all) > 0 && left <= 0 {
			for _, relay := range all {
				relay.users++
			}
			r.mu.Unlock()
			return all
		}
		r.mu.Unlock()
		wait(ctx, changed, left)
	}
}

// wait waits until something has changed or, if left is more than 0, for so long.
func wait(ctx context.Context, changed <-chan struct{}, left time.Duration) {
	var over <-chan time.Time
	if left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-changed:
	case <-over:
	case <-ctx.Done():
	}
}

// find returns the relays at these servers, also those that are being looked after if over; pending:
// there may soon be more. r.mu is held.
func (r *relays) find(uris []*stun.URI, patient, over bool) (all []*relay, pending bool) {
	for _, uri := range uris {
		for _, family := range ipFamilies {
			s := r.server(uri, family)
			switch {
			case s == nil:
			case !s.isSettled() && !over:
				pending = pending || patient || s.err == nil
			case s.relay != nil && s.relay.alive() && s.err == nil && !slices.Contains(all, s.relay):
				all = append(all, s.relay)
			}
		}
	}
	return all, pending
}

// give gives back what take has returned.
func (r *relays) give(used []*relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, relay := range used {
		relay.users--
		relay.used = time.Now()
		if _, old := r.old[relay]; old && relay.users == 0 && r.ctx.Err() == nil {
			delete(r.old, relay)
			r.wg.Go(relay.close)
		}
	}
	r.forgetLater()
}

// forgetLater has forget called when what is unused now is so for long enough. r.mu is held.
func (r *relays) forgetLater() {
	if r.ctx.Err() == nil {
		time.AfterFunc(relayIdle+time.Second, r.forget)
	}
}

// forget ends the allocations that nobody uses any more.
func (r *relays) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, s := range r.servers {
		if s.isSettled() && s.relay != nil && s.relay.users == 0 && time.Since(s.relay.used) > relayIdle {
			r.end(name, s)
		}
	}
}

// end ends a server's allocation, and then forgets the server. r.mu is held.
func (r *relays) end(name string, s *relayServer) {
	if r.ctx.Err() != nil {
		return
	}
	relay := s.relay
	s.relay, s.settled = nil, make(chan struct{})
	r.wg.Go(func() {
		if relay != nil {
			relay.close()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.servers, name)
		r.settled(s)
	})
}

// settled tells those who wait that something is known of a server. r.mu is held.
func (r *relays) settled(s *relayServer) {
	close(s.settled)
	close(r.changed)
	r.changed = make(chan struct{})
}

// server finds a server, and has its allocation made, or looked after, if need be; nil: it cannot be used.
// r.mu is held.
func (r *relays) server(uri *stun.URI, family string) *relayServer {
	name := uri.String() + " " + family
	own := r.own[uri.String()]
	if own != nil {
		uri = own // others' credentials for it may be wrong
	}
	s := r.servers[name]
	switch {
	case r.ctx.Err() != nil:
		return nil
	case s == nil && own == nil && !r.room():
		return nil
	case s == nil:
		s = &relayServer{family: family, own: own != nil}
		r.servers[name] = s
	case !s.isSettled(), s.err != nil && *s.uri == *uri && time.Since(s.at) < relayRetry:
		return s
	case s.relay != nil && s.relay.alive():
		s.relay.allocation.SetCredentials(uri.Username, uri.Password)
		if s.relay.allocation.Fresh(relayFresh) {
			return s
		}
	}
	s.uri, s.settled = uri, make(chan struct{})
	before := s.relay
	r.wg.Go(func() { r.settle(s, uri, before) })
	return s
}

// room sees to it that there is room for one more server of others. r.mu is held.
func (r *relays) room() bool {
	const bound = len(ipFamilies) * maxRelays
	count := 0
	for _, s := range r.servers {
		if !s.own {
			count++
		}
	}
	for name, s := range r.servers {
		if count < bound {
			break
		}
		if !s.own && s.isSettled() && s.relay == nil {
			delete(r.servers, name)
			count--
		}
	}
	return count < bound
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
		ctx, cancel := context.WithTimeout(r.ctx, relayCheck)
		err = relay.allocation.Check(ctx)
		cancel()
		if err != nil && r.replace(s) {
			relay = nil
		}
	}
	if relay == nil {
		relay, err = r.open(r.ctx, uri, s.family)
	}
	if err != nil {
		r.t.config.Logger.Debug("no relay", "server", uri.String(), "family", s.family, "error", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if relay != nil && relay != before {
		relay.used = time.Now()
		r.forgetLater()
	}
	s.relay, s.err, s.at = relay, err, time.Now()
	r.settled(s)
}

// replace gives up a server's relay so that there can be another. False: it is in use, and the server, which
// does not answer now, would take another for the same.
func (r *relays) replace(s *relayServer) bool {
	r.mu.Lock()
	relay := s.relay
	used := relay.users > 0 && relay.alive()
	if used && relay.shared {
		r.mu.Unlock()
		return false
	}
	s.relay = nil
	if used {
		r.old[relay] = struct{}{}
		r.mu.Unlock()
		return true
	}
	r.mu.Unlock()
	relay.close()
	return true
}

// open makes an allocation at a server's address of a family, and of that family if there is one.
func (r *relays) open(ctx context.Context, uri *stun.URI, family string) (*relay, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	network := "tcp" + family
	if uri.Proto == stun.ProtoTypeUDP {
		network = "udp" + family
	}
	server, err := resolve(ctx, r.t.config.Network, network, net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)))
	if err != nil {
		return nil, err
	}
	relay, err := r.openAt(ctx, uri, network, server, family == "6")
	if isRefusal(err, stun.CodeAddrFamilyNotSupported) && (family == "4" || r.alone(ctx, uri)) {
		return r.openAt(ctx, uri, network, server, family == "4")
	}
	return relay, err
}

// alone reports whether a server has no allocation by IPv4.
func (r *relays) alone(ctx context.Context, uri *stun.URI) bool {
	for {
		r.mu.Lock()
		s, changed := r.servers[uri.String()+" 4"], r.changed
		settled := s == nil || s.isSettled()
		none := s == nil || s.relay == nil
		r.mu.Unlock()
		if settled || ctx.Err() != nil {
			return none
		}
		wait(ctx, changed, 0)
	}
}

func isRefusal(err error, code stun.ErrorCode) bool {
	var refusal *turnclient.ResponseError
	return errors.As(err, &refusal) && refusal.Code == code
}

func (r *relays) openAt(ctx context.Context, uri *stun.URI, network string, server netip.AddrPort, ipv6 bool) (*relay, error) {
	if uri.Scheme == stun.SchemeTypeTURN && uri.Proto == stun.ProtoTypeUDP {
		relay, err := r.allocate(ctx, uri, ipv6, func(c *relayedConn) error { return r.goShared(c, server) })
		if !isRefusal(err, stun.CodeAllocMismatch) {
			return relay, err
		}
		// An allocation of another user's is left over at our port, and another port has none.
	}
	return r.allocate(ctx, uri, ipv6, func(c *relayedConn) error { return r.goOwn(ctx, c, uri, network, server) })
}

// allocate makes an allocation by the way that find finds.
func (r *relays) allocate(ctx context.Context, uri *stun.URI, ipv6 bool, find func(*relayedConn) error) (*relay, error) {
	conn := &relayedConn{}
	conn.allocation = turnclient.New(turnclient.Config{
		Username: uri.Username, Password: uri.Password, IPv6: ipv6,
		Stream: uri.Proto == stun.ProtoTypeTCP, Logger: r.t.config.Logger,
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
		allocation: conn.allocation, shared: conn.shared, leave: conn.leave,
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
	stream := uri.Proto == stun.ProtoTypeTCP
	out := newDetour(func(b []byte) (int, error) {
		_ = conn.SetWriteDeadline(time.Now().Add(tcpWriteTimeout)) // fails with the connection
		n, err := conn.Write(b)
		if err != nil && stream {
			_ = conn.Close() // half a message may have gone
		}
		return n, err
	})
	var reading sync.WaitGroup
	reading.Go(func() { c.allocation.Fail(c.read(conn, stream)) })
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
	r.cancel()
	r.mu.Unlock()
	r.wg.Wait()
	for _, s := range r.servers { // of a closed one nobody changes them
		if s.relay != nil {
			r.wg.Go(s.relay.close)
		}
	}
	for relay := range r.old {
		r.wg.Go(relay.close)
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
