package socket

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// eventsAtOnce is how many connections a loop hears of at a time.
	eventsAtOnce = 256
	// roundAtMost bounds, in milliseconds, how long what is sent waits for more to be sent
	// while a loop has more to read than it hears of at a time: a round. A busy tracker
	// writes several times as much at once then.
	roundAtMost = 5
	// readSize is how many bytes of a connection are read at a time.
	readSize = 64 << 10
	// tick is how often a loop looks for connections whose time is over.
	tick = time.Second
	// shortTick is how often it looks for paused connections while there are any.
	shortTick = 50 * time.Millisecond
)

// loop serves connections that wait in an epoll instance, which in turn waits in Go's
// own poller: a loop without events takes no thread.
type loop struct {
	server  *Server
	epoll   *os.File
	raw     syscall.RawConn
	fd      int // of epoll
	events  [eventsAtOnce]unix.EpollEvent
	buffer  []byte
	batch   Batch
	paused  []*Conn
	swept   time.Time
	flushed int64 // when the last round ended, by Server.now

	mu      sync.Mutex
	conns   map[int32]*Conn // by fd
	stopped bool
}

// startLoops starts n loops, or none where the system does not let it.
func startLoops(s *Server, n int) []*loop {
	loops := make([]*loop, 0, n)
	for range n {
		l, err := newLoop(s)
		if err != nil {
			return loops // each connection has a goroutine then, or the loops there are
		}
		loops = append(loops, l)
		s.working.Add(1)
		go l.run()
	}
	return loops
}

func newLoop(s *Server) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that os.NewFile has Go poll it
		_ = unix.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Now().Add(tick)) // fails where Go does not poll it
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &loop{
		server: s, epoll: file, raw: raw, fd: fd,
		buffer: make([]byte, readSize), conns: make(map[int32]*Conn), swept: time.Now(),
	}, nil
}

// prepare takes the socket of a connection out of Go's hands: it can be written to, and
// nothing is read yet. It fails without having changed anything.
func (l *loop) prepare(c *Conn, stream net.Conn, tcp *net.TCPConn) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	var dupErr error
	err = raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return err
	}
	_ = stream.Close() // and with it tcp's descriptor; the socket lives on in ours
	c.loop, c.fd = l, fd
	return nil
}

// adopt has the loop read a connection that was prepared. first is what its client has
// sent already.
func (l *loop) adopt(c *Conn, first []byte) error {
	c.partial, c.fresh = first, len(first) > 0
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return errClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.events()
	if c.fresh {
		events |= unix.EPOLLOUT // comes at once, and has first handled
	}
	if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.fd)}); err != nil {
		return err
	}
	l.conns[int32(c.fd)] = c
	return nil
}

// run serves until stop is called.
func (l *loop) run() {
	defer l.server.working.Done()
	defer func() { _ = l.epoll.Close() }()
	for {
		n := 0
		err := l.raw.Read(func(uintptr) bool {
			n, _ = unix.EpollWait(l.fd, l.events[:], 0)
			return n > 0
		})
		now := time.Now()
		l.batch.now = l.server.now()
		for i := range max(n, 0) {
			l.event(l.events[i])
		}
		l.resume()
		if n < eventsAtOnce || l.batch.now-l.flushed >= roundAtMost {
			l.flushed = l.batch.now
			l.batch.flush()
		}
		if now.Sub(l.swept) >= tick {
			l.swept = now
			l.sweep()
		}
		if err != nil || len(l.paused) > 0 {
			wait := tick
			if len(l.paused) > 0 {
				wait = shortTick
			}
			_ = l.epoll.SetReadDeadline(now.Add(wait))
			if l.isStopped() { // stop's deadline would come after ours
				l.end()
				return
			}
		}
	}
}

// event serves one connection.
func (l *loop) event(e unix.EpollEvent) {
	l.mu.Lock()
	c := l.conns[e.Fd]
	l.mu.Unlock()
	if c == nil {
		return
	}
	if e.Events&unix.EPOLLOUT != 0 {
		c.writable(l.batch.now)
		if c.fresh {
			c.fresh = false
			if !l.take(c, nil) {
				return
			}
		}
	}
	if e.Events&^unix.EPOLLOUT != 0 {
		l.read(c)
	}
}

// read takes what has come of a connection, or finds it closed.
func (l *loop) read(c *Conn) {
	n, err := unix.Read(c.fd, l.buffer)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
	case n <= 0, c.paused: // which epoll reports only when it is closed
		l.drop(c)
	case c.isClosing():
		c.mu.Lock()
		doomed := c.state >= doomed
		c.mu.Unlock()
		if doomed {
			l.drop(c)
		}
	default:
		l.take(c, l.buffer[:n])
	}
}

// take reports whether c is still there.
func (l *loop) take(c *Conn, data []byte) bool {
	if err := c.take(&l.batch, data); err != nil && !c.fail(err) {
		l.drop(c)
		return false
	}
	if c.paused {
		l.server.counts.throttled.Add(1)
		l.paused = append(l.paused, c)
		c.mu.Lock()
		c.interest()
		c.mu.Unlock()
	}
	return true
}

// resume has paused connections go on whose rate allows it.
func (l *loop) resume() {
	if len(l.paused) == 0 {
		return
	}
	waiting := l.paused
	l.paused = nil
	for _, c := range waiting {
		c.mu.Lock()
		ended := c.state == gone
		goesOn := !ended && !c.tooFast(l.batch.now)
		if goesOn {
			c.paused = false
			c.interest()
		}
		c.mu.Unlock()
		if goesOn {
			l.take(c, nil)
		} else if !ended {
			l.paused = append(l.paused, c)
		}
	}
}

// sweep looks at the clocks of all connections.
func (l *loop) sweep() {
	l.mu.Lock()
	all := make([]*Conn, 0, len(l.conns))
	for _, c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.check(&l.batch)
	}
	l.batch.flush()
}

// drop ends a connection; only its loop calls it.
func (l *loop) drop(c *Conn) {
	l.mu.Lock()
	delete(l.conns, int32(c.fd))
	l.mu.Unlock()
	c.mu.Lock()
	c.state = gone
	_ = unix.Close(c.fd)
	c.mu.Unlock()
	c.finish(&l.batch)
}

func (l *loop) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	_ = l.epoll.SetReadDeadline(time.Now())
}

func (l *loop) isStopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// end says goodbye to all connections.
func (l *loop) end() {
	l.mu.Lock()
	all := make([]*Conn, 0, len(l.conns))
	for _, c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.farewell()
		l.drop(c)
	}
	l.batch.flush()
}

// writeQueue writes what the pipe takes. c.mu is held.
func (c *Conn) writeQueue(now int64) {
	for c.sent < len(c.queue) {
		n, err := unix.Write(c.fd, c.queue[c.sent:])
		if n > 0 {
			c.sent += n
			c.moved = now
			continue
		}
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			if !c.armed {
				c.armed, c.moved = true, now
				c.interest()
			}
			return
		default:
			c.doom()
			c.emptied()
			return
		}
	}
	c.emptied()
	if c.armed {
		c.armed = false
		c.interest()
	}
	if c.state == closing {
		_ = unix.Shutdown(c.fd, unix.SHUT_WR)
	}
}

// writable is called when there may be room in the pipe again.
func (c *Conn) writable(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state >= doomed {
		return
	}
	if !c.armed {
		c.interest() // it was only for what came with the handshake
		return
	}
	c.writeQueue(now)
}

// interest tells epoll what the connection waits for. c.mu is held.
func (c *Conn) interest() {
	if c.state == gone {
		return
	}
	// It fails for one that is not adopted yet, which adopt sees to.
	_ = unix.EpollCtl(c.loop.fd, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: c.events(), Fd: int32(c.fd)})
}

func (c *Conn) events() (events uint32) {
	if !c.paused {
		events |= unix.EPOLLIN
	}
	if c.armed {
		events |= unix.EPOLLOUT
	}
	return events
}

// shutdown has the loop see an event. c.mu is held.
func (c *Conn) shutdown() { _ = unix.Shutdown(c.fd, unix.SHUT_RDWR) }

// abandon closes a connection that was prepared and is not adopted.
func (c *Conn) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = gone
	_ = unix.Close(c.fd)
}
