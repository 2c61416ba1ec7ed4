package transport

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Lent is the share of a [UDPSocket] that carries one [Class] of packets. It is a
// net.PacketConn; the methods with netip.AddrPort allocate nothing.
type Lent struct {
	socket   *UDPSocket
	class    Class
	queue    chan packet
	handler  atomic.Pointer[handler]
	flush    atomic.Pointer[func()] // nil: none
	dropped  atomic.Uint64
	deadline deadline

	endOnce sync.Once
	ended   chan struct{}
}

var _ net.PacketConn = (*Lent)(nil)

// handler takes a packet, or leaves it to the next borrower.
type handler func(packet []byte, from netip.AddrPort, received time.Time) (taken bool)

type packet struct {
	buf  *[]byte
	n    int
	from netip.AddrPort
}

func newLent(u *UDPSocket, c Class) *Lent {
	return &Lent{
		socket:   u,
		class:    c,
		queue:    make(chan packet, lentQueue),
		deadline: makeDeadline(),
		ended:    make(chan struct{}),
	}
}

// Handle has packets given to f on the socket's own goroutine from now on, instead of queued
// for reading: one wake-up less for each. f must not block, nor keep the packet; what it does
// not take is offered to the next borrower of the class. It may still be called once while
// Close returns.
func (l *Lent) Handle(f func(packet []byte, from netip.AddrPort) (taken bool)) {
	timed := handler(func(packet []byte, from netip.AddrPort, _ time.Time) bool { return f(packet, from) })
	l.handler.Store(&timed)
}

// HandleTimed is Handle for who wants to know when a packet came: by the kernel's clock where
// it tells, so that what happens between there and here does not count. flush is called after
// those packets, of all classes, that were read together; a reply to many of them can wait for it.
func (l *Lent) HandleTimed(f func(packet []byte, from netip.AddrPort, received time.Time) (taken bool), flush func()) {
	stampArrivals(l.socket.conn)
	timed := handler(f)
	l.handler.Store(&timed)
	l.socket.lending.Lock()
	defer l.socket.lending.Unlock()
	if !l.hasEnded() {
		if l.flush.Swap(&flush) == nil {
			change(&l.socket.flushed, func(all []*Lent) []*Lent { return append(all, l) })
		}
	}
}

// ReadFromUDPAddrPort reads one packet. What does not fit in b is lost. IPv4
// addresses are never in their IPv6-mapped form.
func (l *Lent) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case <-l.ended:
		return 0, netip.AddrPort{}, l.readError(net.ErrClosed)
	case <-l.deadline.passed():
		return 0, netip.AddrPort{}, l.readError(os.ErrDeadlineExceeded)
	default:
	}
	select {
	case p := <-l.queue:
		n := copy(b, (*p.buf)[:p.n])
		l.socket.recycle(p)
		return n, p.from, nil
	case <-l.ended:
		return 0, netip.AddrPort{}, l.readError(net.ErrClosed)
	case <-l.deadline.passed():
		return 0, netip.AddrPort{}, l.readError(os.ErrDeadlineExceeded)
	}
}

// ReadFrom is ReadFromUDPAddrPort with a *net.UDPAddr.
func (l *Lent) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := l.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteToUDPAddrPort sends one packet by the shared socket.
func (l *Lent) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if l.hasEnded() {
		return 0, l.writeError(net.ErrClosed)
	}
	return l.socket.WriteToUDPAddrPort(b, to)
}

// WriteSegments sends packets to one address: see [UDPSocket.WriteSegments].
func (l *Lent) WriteSegments(b []byte, size int, to netip.AddrPort) (int, error) {
	if l.hasEnded() {
		return 0, l.writeError(net.ErrClosed)
	}
	return l.socket.WriteSegments(b, size, to)
}

// Queue has a packet sent by the shared socket soon: see [UDPSocket.Queue].
func (l *Lent) Queue(b []byte, to netip.AddrPort) (int, error) {
	if l.hasEnded() {
		return 0, l.writeError(net.ErrClosed)
	}
	return l.socket.Queue(b, to)
}

func (l *Lent) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// WriteTo sends one packet to a *net.UDPAddr.
func (l *Lent) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, l.writeError(fmt.Errorf("want a *net.UDPAddr, not a %T", to))
	}
	return l.WriteToUDPAddrPort(b, addr.AddrPort())
}

// Close gives the share back; packets of its class go to its other borrowers from then on, if
// there are any. The socket stays open.
func (l *Lent) Close() error {
	l.socket.giveBack(l)
	l.end()
	return nil
}

func (l *Lent) end() {
	l.endOnce.Do(func() {
		close(l.ended)
		l.deadline.set(time.Time{})
	})
}

// Dropped returns how many packets were dropped because the queue was full.
func (l *Lent) Dropped() uint64 { return l.dropped.Load() }

// LocalAddr returns the address of the shared socket.
func (l *Lent) LocalAddr() net.Addr { return l.socket.LocalAddr() }

// SetDeadline is SetReadDeadline: writing to a UDP socket does not block.
func (l *Lent) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetReadDeadline makes reads fail from t on; the zero value lifts it.
func (l *Lent) SetReadDeadline(t time.Time) error {
	l.deadline.set(t)
	return nil
}

// SetWriteDeadline does nothing: writing to a UDP socket does not block.
func (l *Lent) SetWriteDeadline(time.Time) error { return nil }

func (l *Lent) writeError(err error) error {
	return &net.OpError{Op: "write", Net: "udp", Source: l.LocalAddr(), Err: err}
}

func (l *Lent) readError(err error) error {
	return &net.OpError{Op: "read", Net: "udp", Source: l.LocalAddr(), Err: err}
}

// deadline is a time that a select can wait for and that can be moved meanwhile,
// after the one of net.Pipe.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	cancel chan struct{} // closed when the time has come
}

func makeDeadline() deadline { return deadline{cancel: make(chan struct{})} }

func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cancel
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.cancel // the timer has fired; wait until it has closed the channel
	}
	d.timer = nil
	isClosed := false
	select {
	case <-d.cancel:
		isClosed = true
	default:
	}
	if isClosed && (t.IsZero() || time.Until(t) > 0) {
		d.cancel = make(chan struct{})
		isClosed = false
	}
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait > 0:
		cancel := d.cancel
		d.timer = time.AfterFunc(wait, func() { close(cancel) })
	case !isClosed:
		close(d.cancel)
	}
}
