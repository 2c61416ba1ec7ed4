package port

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// DefaultPatience is how long a connection may take for its first byte, and with TLS for
	// the handshake and the first byte within. Browsers open connections that they may
	// need, and use them within seconds.
	DefaultPatience = 10 * time.Second
	// DefaultWaiting bounds the connections that have not sent their first byte, in all.
	// Beyond, the one that has waited longest gives way.
	DefaultWaiting = 4096
	// DefaultWaitingPerHost bounds those of an IPv4 address or an IPv6 network of 64 bits.
	DefaultWaitingPerHost = 256

	// refusalsAgain is how long a host whose connections are closed past a bound is not
	// logged again, and refusalsMost how many hosts are logged in that time.
	refusalsAgain = 10 * time.Minute
	refusalsMost  = 1000

	// acceptPause is how long accepting waits after an error, such as too many open files.
	acceptPause = 50 * time.Millisecond
)

// The first bytes by which connections are told apart. All that HTTP begins with are letters.
const (
	tlsHandshake = 0x16 // RFC 8446 section 5.1
	stunMost     = 0x03 // RFC 8489 section 5: the two highest bits are zero, and no method uses the next
)

// Config configures a Splitter. Nothing in it is required.
type Config struct {
	// TLS serves connections that begin with a ClientHello. Nil: they are closed.
	TLS *tls.Config
	// RefusePlain closes connections without TLS.
	RefusePlain bool
	// TURN serves a connection that begins with STUN, within TLS or without, until it
	// ends; it owns it. Nil: they are closed.
	TURN func(net.Conn)

	// Patience, Waiting and WaitingPerHost are bounds; zero are the defaults above.
	Patience                time.Duration
	Waiting, WaitingPerHost int

	Logger *slog.Logger // nil: silence
}

// Splitter is a listener of what is HTTP (or WebSocket) among the connections to a TCP port:
//
//	first byte   is                    goes to
//	0..3         STUN or TURN          Config.TURN
//	0x16         a TLS ClientHello     the same again, of the first byte within
//	other        HTTP                  Accept
//
// Only that byte is read, by a goroutine for each connection.
type Splitter struct {
	listener net.Listener
	config   Config
	http     chan net.Conn
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu      sync.Mutex
	waiting list.List // of *waiter, the oldest first
	hosts   map[netip.Addr]int
	serving map[net.Conn]struct{} // by TURN

	refused      map[netip.Addr]struct{} // hosts that were logged, of refusalsMost
	refusedSince time.Time
}

var _ net.Listener = (*Splitter)(nil)

// waiter is a connection that has not said what it is.
type waiter struct {
	conn net.Conn // nil: it waits no more
	host netip.Addr
}

// Listen splits what a listener accepts. Close closes the listener.
func Listen(listener net.Listener, config Config) *Splitter {
	if config.Patience <= 0 {
		config.Patience = DefaultPatience
	}
	if config.Waiting <= 0 {
		config.Waiting = DefaultWaiting
	}
	if config.WaitingPerHost <= 0 {
		config.WaitingPerHost = DefaultWaitingPerHost
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Splitter{
		listener: listener, config: config, http: make(chan net.Conn),
		hosts: map[netip.Addr]int{}, serving: map[net.Conn]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s
}

// Accept returns the next connection that is HTTP.
func (s *Splitter) Accept() (net.Conn, error) {
	select {
	case conn := <-s.http:
		return conn, nil
	case <-s.ctx.Done():
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: s.Addr(), Err: net.ErrClosed}
	}
}

// Addr returns the address of the listener.
func (s *Splitter) Addr() net.Addr { return s.listener.Addr() }

// Close closes the listener, the connections that wait and those of TURN, and waits for their
// goroutines. Those of HTTP are their server's to close.
func (s *Splitter) Close() error {
	s.cancel()
	err := s.listener.Close()
	s.mu.Lock()
	for e := s.waiting.Front(); e != nil; e = e.Next() {
		e.Value.(*waiter).conn.Close()
	}
	for conn := range s.serving {
		conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Splitter) accept() {
	for {
		conn, err := s.listener.Accept()
		switch {
		case s.ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return
		case err != nil:
			s.config.Logger.Warn("no connection was accepted", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-s.ctx.Done():
			}
		default:
			if e := s.admit(conn); e != nil {
				s.wg.Go(func() { s.tell(e, conn) })
			}
		}
	}
}

// admit has a connection wait for its first byte, unless its host has too many that do.
func (s *Splitter) admit(conn net.Conn) *list.Element {
	e, refused := s.queue(conn)
	if refused.IsValid() {
		s.config.Logger.Warn("too many silent connections of one host; its further ones are closed", "host", refused)
	}
	return e
}

// queue has a connection wait, or closes it and returns its host if that is to be logged.
func (s *Splitter) queue(conn net.Conn) (e *list.Element, refused netip.Addr) {
	w := &waiter{conn: conn, host: host(conn.RemoteAddr())}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		conn.Close()
		return nil, refused
	}
	if s.hosts[w.host] >= s.config.WaitingPerHost {
		conn.Close()
		if s.firstRefusal(w.host) {
			refused = w.host
		}
		return nil, refused
	}
	if s.waiting.Len() >= s.config.Waiting {
		oldest := s.waiting.Front()
		oldest.Value.(*waiter).conn.Close()
		s.forget(oldest)
	}
	s.hosts[w.host]++
	return s.waiting.PushBack(w), refused
}

// firstRefusal says whether a host that met its bound is to be logged. s.mu is held.
func (s *Splitter) firstRefusal(host netip.Addr) bool {
	if now := time.Now(); now.Sub(s.refusedSince) >= refusalsAgain {
		s.refused, s.refusedSince = map[netip.Addr]struct{}{}, now
	}
	if _, is := s.refused[host]; is || len(s.refused) >= refusalsMost {
		return false
	}
	s.refused[host] = struct{}{}
	return true
}

// forget ends the waiting of a connection, once. s.mu is held.
func (s *Splitter) forget(e *list.Element) {
	w := e.Value.(*waiter)
	if w.conn == nil {
		return
	}
	w.conn = nil
	s.waiting.Remove(e)
	if s.hosts[w.host]--; s.hosts[w.host] == 0 {
		delete(s.hosts, w.host)
	}
}

// tell finds out what a connection is and hands it on.
func (s *Splitter) tell(e *list.Element, conn net.Conn) {
	taken := false
	defer func() {
		s.mu.Lock()
		s.forget(e)
		s.mu.Unlock()
		if !taken {
			conn.Close()
		}
	}()
	if conn.SetDeadline(time.Now().Add(s.config.Patience)) != nil {
		return
	}
	first, told, err := s.first(conn)
	if err != nil || told.SetDeadline(time.Time{}) != nil {
		return
	}
	if first > stunMost {
		select {
		case s.http <- told:
			taken = true
		case <-s.ctx.Done():
		}
		return
	}
	if s.config.TURN == nil || !s.serve(conn) {
		return
	}
	s.mu.Lock()
	s.forget(e)
	s.mu.Unlock()
	s.config.TURN(told)
	s.mu.Lock()
	delete(s.serving, conn)
	s.mu.Unlock()
}

func (s *Splitter) serve(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.serving[conn] = struct{}{}
	return true
}

var (
	errPlain = errors.New("a connection without TLS, which is refused")
	errTLS   = errors.New("a TLS connection where TLS is off, or within TLS")
)

// first reads the first byte of a connection, within TLS if that is what it is, and returns a
// connection that has not been read yet.
func (s *Splitter) first(conn net.Conn) (byte, net.Conn, error) {
	first, told, err := peek(conn)
	switch {
	case err != nil:
		return 0, nil, err
	case first != tlsHandshake && s.config.RefusePlain:
		return 0, nil, errPlain
	case first != tlsHandshake:
		return first, told, nil
	case s.config.TLS == nil:
		return 0, nil, errTLS
	}
	secure := tls.Server(told, s.config.TLS)
	if err := secure.HandshakeContext(s.ctx); err != nil {
		return 0, nil, err
	}
	if first, told, err = peek(secure); err == nil && first == tlsHandshake {
		err = errTLS
	}
	return first, told, err
}

func peek(conn net.Conn) (byte, net.Conn, error) {
	told := &peeked{Conn: conn}
	if _, err := conn.Read(told.first[:]); err != nil {
		return 0, nil, err
	}
	return told.first[0], told, nil
}

// peeked is a connection of which the first byte has been read. One goroutine reads it at a
// time, as with net/http.
type peeked struct {
	net.Conn
	first [1]byte
	given bool
}

// Read gives the byte that has been read before what follows.
func (p *peeked) Read(b []byte) (int, error) {
	if p.given || len(b) == 0 {
		return p.Conn.Read(b)
	}
	p.given = true
	b[0] = p.first[0]
	return 1, nil
}

// Bare returns the connection beneath, once reading this one is no more than reading that;
// until then, and within TLS, this one.
func (p *peeked) Bare() net.Conn {
	if _, plain := p.Conn.(*net.TCPConn); plain && p.given {
		return p.Conn
	}
	return p
}

// Secure reports whether a connection that Accept returned is within TLS.
func Secure(conn net.Conn) bool {
	p, ok := conn.(*peeked)
	if !ok {
		return false
	}
	_, secure := p.Conn.(*tls.Conn)
	return secure
}

// host is what counts as one address.
func host(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	return netip.PrefixFrom(addr, 64).Masked().Addr()
}
