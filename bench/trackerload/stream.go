//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// conn is one TCP connection of the epoll loop.
type conn struct {
	fd        int
	source    int // whose peers announce here
	connected bool
	watches   uint32 // events that epoll looks for
	in        []byte // what came, and is not whole yet
	out       []byte // what the socket did not take yet

	peer    int  // announcing
	waiting bool // for an answer
	upgrade bool // ws: the tracker has agreed
	web     *webPeer
}

// protocol is what is spoken on the connections.
type protocol interface {
	// opened is called when the connection is there.
	opened(l *loop, c *conn) error
	// received takes what has come, and returns how much of it was whole.
	received(l *loop, c *conn, b []byte) (used int, err error)
	// closed is called when the tracker has closed the connection.
	closed(l *loop, c *conn) error
}

// loop serves all connections from one thread.
type loop struct {
	o     options
	m     *meter
	p     protocol
	epoll int
	conns map[int32]*conn
	done  bool
	buf   []byte
}

func newLoop(o options, m *meter, p protocol) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &loop{o: o, m: m, p: p, epoll: fd, conns: map[int32]*conn{}, buf: make([]byte, 256<<10)}, nil
}

func (l *loop) close() {
	for _, c := range l.conns {
		unix.Close(c.fd)
	}
	unix.Close(l.epoll)
}

// dial begins a connection from the address of a source.
func (l *loop) dial(c *conn) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("connection %d: %w", len(l.conns), err)
	}
	c.fd, c.connected, c.in, c.out = fd, false, c.in[:0], c.out[:0]
	err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: address(c.source).As4()})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: l.o.addr.Addr().As4(), Port: int(l.o.addr.Port())})
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return fmt.Errorf("connect from %v: %w", address(c.source), err)
	}
	l.conns[int32(fd)] = c
	c.watches = unix.EPOLLOUT
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: c.watches, Fd: int32(fd)})
}

// drop closes a connection.
func (l *loop) drop(c *conn) {
	delete(l.conns, int32(c.fd))
	unix.Close(c.fd) // which epoll forgets with it
}

// turn handles what is ready. Without anything it does not sleep, so that the tracker has
// nobody to wake, unless rest says how long it may.
func (l *loop) turn(rest time.Duration) (ready int, err error) {
	var events [256]unix.EpollEvent
	n, err := unix.EpollWait(l.epoll, events[:], int(rest.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("epoll: %w", err)
	}
	for _, e := range events[:max(n, 0)] {
		c := l.conns[e.Fd]
		if c == nil {
			continue // closed in this turn
		}
		if err := l.handle(c, e.Events); err != nil {
			return n, err
		}
		if l.done {
			break
		}
	}
	return n, nil
}

// run turns until the meter says that it is enough.
func (l *loop) run() error {
	var quiet time.Time // since when nothing is ready
	for !l.done {
		n, err := l.turn(0)
		if err != nil {
			return err
		}
		now := time.Now()
		switch {
		case n > 0 && !quiet.IsZero():
			if l.m.counting {
				l.m.waited += now.Sub(quiet)
			}
			quiet = time.Time{}
		case n == 0 && quiet.IsZero():
			quiet = now
		case n == 0 && now.Sub(quiet) > patience:
			return errSilent
		}
	}
	return nil
}

func (l *loop) handle(c *conn, events uint32) error {
	if !c.connected {
		if errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
			return fmt.Errorf("connect from %v, with %d connections: %w", address(c.source), len(l.conns), errors.Join(err, unix.Errno(errno)))
		}
		c.connected = true
		if err := l.watch(c, unix.EPOLLIN); err != nil {
			return err
		}
		return l.p.opened(l, c)
	}
	if events&unix.EPOLLOUT != 0 {
		out := c.out
		c.out = c.out[:0]
		if err := l.send(c, out); err != nil {
			return err
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	return l.receive(c)
}

func (l *loop) watch(c *conn, events uint32) error {
	if c.watches == events {
		return nil
	}
	c.watches = events
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.fd)})
}

// send writes what the socket takes, and keeps the rest.
func (l *loop) send(c *conn, b []byte) error {
	if len(c.out) == 0 {
		n, err := unix.Write(c.fd, b)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("write: %w", err)
		}
		b = b[max(n, 0):]
	}
	if len(b) == 0 {
		return l.watch(c, unix.EPOLLIN)
	}
	c.out = append(c.out, b...)
	return l.watch(c, unix.EPOLLIN|unix.EPOLLOUT)
}

func (l *loop) receive(c *conn) error {
	n, err := unix.Read(c.fd, l.buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if n == 0 {
		return l.p.closed(l, c)
	}
	b := l.buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	used, err := l.p.received(l, c, b)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if errors.Is(err, io.EOF) { // it is a new connection by now
		return nil
	}
	c.in = append(c.in[:0], b[used:]...)
	return nil
}
