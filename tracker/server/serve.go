package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

// How long those may take who want something.
const (
	// requestWithin is how long a connection has for each request and its reply, idle time
	// before it included.
	requestWithin = 60 * time.Second
	// refreshAfter is how much of it may pass before a connection that is in use gets the
	// whole time again; setting it costs as much as parsing a request.
	refreshAfter = 5 * time.Second
	// headerMost is how long the head of a request may be.
	headerMost = 8 << 10
)

// Serve answers HTTP requests of a listener's connections until it or the Server is
// closed. Announces and scrapes are read and answered by a loop of its own, at a third
// of the cost of package net/http; every other request goes to that package, and so to
// ServeHTTP, together with the rest of its connection.
func (s *Server) Serve(ln net.Listener) error {
	if !s.track(ln) {
		return errClosed
	}
	defer s.forget(ln)
	s.answering.Add(1)
	defer s.answering.Done()
	rest := &handedOver{addr: ln.Addr(), conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: requestWithin / 2, IdleTimeout: requestWithin,
		ReadTimeout: requestWithin, WriteTimeout: requestWithin, MaxHeaderBytes: headerMost,
		ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(rest) })
	defer wg.Wait()
	defer func() {
		if ctx := s.drainingUntil(); ctx != nil {
			_ = srv.Shutdown(ctx)
		}
		_ = srv.Close()
	}()
	for wait := time.Duration(0); ; {
		conn, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.isClosed() {
				return errClosed
			}
			// Too many open files, for instance. It passes.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			s.once.warn("cannot accept connections: "+err.Error(), netip.Addr{})
			select {
			case <-time.After(wait):
				continue
			case <-s.done:
				return errClosed
			}
		}
		wait = 0
		if c := s.admit(conn); c != nil {
			s.answering.Go(func() { s.serveConn(c, rest) })
		}
	}
}

func (s *Server) isClosed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// drainingUntil is the context of Shutdown; nil before it is called.
func (s *Server) drainingUntil() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// admit counts a connection, or closes it.
func (s *Server) admit(conn net.Conn) *counted {
	addr := addrOf(conn)
	h := host(addr)
	if why := s.conns.admit(h); why != "" {
		s.once.warn(why, h)
		reset(conn)
		return nil
	}
	c := &counted{Conn: conn, host: h, of: s}
	if !s.track(c) {
		s.conns.leave(h)
		_ = conn.Close()
		return nil
	}
	return c
}

// reset closes a connection at once, with no state left behind.
func reset(conn net.Conn) {
	if l, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = conn.Close()
}

func addrOf(conn net.Conn) netip.Addr {
	if a, ok := conn.RemoteAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// buffers are what connections read into and replies are put together in.
var buffers = sync.Pool{New: func() any { return new(connBuffers) }}

type connBuffers struct {
	in  [headerMost]byte
	out []byte
}

// serveConn answers a connection's announces and scrapes until something else comes.
func (s *Server) serveConn(c *counted, rest *handedOver) {
	b := buffers.Get().(*connBuffers)
	defer buffers.Put(b)
	handed := false
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Logger.Error("panic while answering a connection", "host", c.host, "panic", p, "stack", string(debug.Stack()))
			handed = false
		}
		if !handed {
			_ = c.Close()
		}
	}()
	n := 0 // bytes read and not used
	var refreshed time.Time
	for {
		used, more, ok := s.serveHead(c, b, n)
		switch {
		case !ok:
			handed = rest.take(c, b.in[:n])
			return
		case used > 0:
			n = copy(b.in[:], b.in[used:n])
			if !more {
				return
			}
			continue // what came together with it
		case n == len(b.in):
			_, _ = c.Write([]byte("HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
			return
		}
		if now := s.now(); now.Sub(refreshed) >= refreshAfter && n == 0 {
			refreshed = now
			if err := c.SetDeadline(now.Add(requestWithin)); err != nil || s.drainingUntil() != nil {
				return
			}
		}
		m, err := c.Read(b.in[n:])
		if n += m; m == 0 && err != nil {
			return
		}
	}
}

// handedOver is the listener of connections that go to net/http.
type handedOver struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

// take hands a connection over with what was read of it; false: it is to be closed.
func (h *handedOver) take(c *counted, read []byte) bool {
	c.handed.Store(true)
	_ = c.SetDeadline(time.Time{})
	conn := &prefixed{counted: c, prefix: append([]byte(nil), read...)}
	select {
	case h.conns <- conn:
		return true
	case <-h.done:
		return false
	}
}

func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handedOver) Close() error {
	h.close.Do(func() { close(h.done) })
	return nil
}

func (h *handedOver) Addr() net.Addr { return h.addr }

// prefixed is a connection of which something was read already.
type prefixed struct {
	*counted
	prefix []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) > 0 {
		n := copy(b, p.prefix)
		if p.prefix = p.prefix[n:]; len(p.prefix) == 0 {
			p.prefix = nil
		}
		return n, nil
	}
	return p.counted.Read(b)
}

// Bare is the socket beneath, once reading this connection is no more than reading that;
// until then, and within TLS, this one.
func (p *prefixed) Bare() net.Conn {
	if len(p.prefix) > 0 {
		return p
	}
	if inner, ok := p.Conn.(interface{ Bare() net.Conn }); ok {
		return inner.Bare()
	}
	return p.Conn
}

// NetConn is the connection that a listener gave; nothing of it may have been read into
// a prefix that is not used up.
func (p *prefixed) NetConn() net.Conn { return p.Conn }
