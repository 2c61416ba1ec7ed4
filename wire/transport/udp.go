package transport

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// udpReceiveBuffer is asked of the system for the socket, best effort: room
	// for 40 ms of packets at 100 MB/s while the reader is not scheduled.
	udpReceiveBuffer = 4 << 20
	// maxDatagram is the largest UDP payload.
	maxDatagram = 64 << 10
	// packetBuffer is the size of pooled buffers: what fits an Ethernet frame.
	// Larger packets, which only loopback carries, get a buffer of their own.
	packetBuffer = 2 << 10
	// lentQueue bounds the packets that wait for each borrower; more are dropped.
	lentQueue = 1024
	// coalesce is how long packets gather in the system while they come fast, as a
	// network card moderates its interrupts. The system may sleep 1 ms at least.
	coalesce = 500 * time.Microsecond
	// busyGap is the mean time between packets below which they come fast.
	busyGap = 2 * time.Millisecond
	// fullDrain is how many packets at once are worth a wake-up. More than these in
	// each coalesce could overflow the usual receive buffer of 208 KiB.
	fullDrain = 32
	// maxDrain bounds how much one wake-up reads, so that packets are handled while
	// more come.
	maxDrain = 64
	// readErrorPause keeps a socket that fails again and again from spinning.
	readErrorPause = 10 * time.Millisecond
)

// UDPSocket owns the one UDP socket of the program and hands each packet to the
// borrower of its [Class]. One goroutine reads; writes go straight to the socket.
type UDPSocket struct {
	conn    *net.UDPConn
	log     *slog.Logger
	lent    [numClasses]atomic.Pointer[Lent]
	lending sync.Mutex // held to change lent
	closed  bool       // guarded by lending
	done    chan struct{}

	buffers sync.Pool
	unknown atomic.Uint64
	unlent  atomic.Uint64
}

// NewUDPSocket takes over conn and starts to read from it. Close ends it.
func NewUDPSocket(conn *net.UDPConn) *UDPSocket { return newUDPSocket(conn, nil) }

func newUDPSocket(conn *net.UDPConn, log *slog.Logger) *UDPSocket {
	u := &UDPSocket{conn: conn, log: log, done: make(chan struct{})}
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	u.buffers.New = func() any { b := make([]byte, packetBuffer); return &b }
	// The system's limit may be lower, in which case it gives what it can.
	_ = conn.SetReadBuffer(udpReceiveBuffer)
	go u.read(newReceiver(conn))
	return u
}

// LocalAddr returns the address that the socket is bound to.
func (u *UDPSocket) LocalAddr() *net.UDPAddr { return u.conn.LocalAddr().(*net.UDPAddr) }

// UDPStats counts packets since the socket was opened.
type UDPStats struct {
	Unknown uint64 // of no known protocol, dropped
	Unlent  uint64 // of a class that nobody had borrowed, dropped
	Dropped uint64 // because their borrower's queue was full
}

// Stats returns the counts of dropped packets; Dropped covers current borrowers.
func (u *UDPSocket) Stats() UDPStats {
	s := UDPStats{Unknown: u.unknown.Load(), Unlent: u.unlent.Load()}
	for i := range u.lent {
		if l := u.lent[i].Load(); l != nil {
			s.Dropped += l.dropped.Load()
		}
	}
	return s
}

// Lend returns a PacketConn that receives the packets of class c until it is
// closed, which does not close the socket. A class can be lent to one borrower
// at a time: an earlier one is closed. On a closed socket it returns a closed one.
func (u *UDPSocket) Lend(c Class) *Lent {
	l := newLent(u, c)
	u.lending.Lock()
	defer u.lending.Unlock()
	if u.closed {
		l.end()
		return l
	}
	if earlier := u.lent[c].Swap(l); earlier != nil {
		earlier.end()
	}
	return l
}

// WriteToUDPAddrPort sends one packet.
func (u *UDPSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return u.conn.WriteToUDPAddrPort(b, to)
}

// Close closes the socket and everything lent of it, and waits for the reader.
func (u *UDPSocket) Close() error {
	u.lending.Lock()
	u.closed = true
	for i := range u.lent {
		if l := u.lent[i].Swap(nil); l != nil {
			l.end()
		}
	}
	u.lending.Unlock()
	err := u.conn.Close()
	<-u.done
	return err
}

func (u *UDPSocket) read(r *receiver) {
	defer close(u.done)
	var pace pace
	for {
		n, err := r.receive(u.deliver)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Windows reports a peer's "port unreachable" as an error of the next read.
			time.Sleep(readErrorPause)
			continue
		}
		switch {
		case drains && pace.tooFast(n, time.Now()):
			time.Sleep(coalesce)
		case n >= maxDrain:
			runtime.Gosched() // to those who handle them, before more come
		}
	}
}

// pace tells when packets come so fast, one by one, that waking for each costs more
// than handling it: a browser acknowledges every other packet on its own.
type pace struct{ last time.Time }

// tooFast reports whether to let packets gather before the next read, after one that
// got n packets at now.
func (p *pace) tooFast(n int, now time.Time) bool {
	since := now.Sub(p.last)
	p.last = now
	return n < fullDrain && since < time.Duration(n)*busyGap
}

// deliver copies the packet, unless it is handled at once, so that one large buffer is
// enough for reading and the queues hold little more than what arrived.
func (u *UDPSocket) deliver(b []byte, from netip.AddrPort) {
	class := Classify(b)
	if class == ClassUnknown {
		u.unknown.Add(1)
		return
	}
	l := u.lent[class].Load()
	if l == nil {
		u.unlent.Add(1)
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if handle := l.handler.Load(); handle != nil {
		u.handle(*handle, b, from)
		return
	}
	p := packet{from: from, n: len(b)}
	if len(b) <= packetBuffer {
		p.buf = u.buffers.Get().(*[]byte)
	} else {
		large := make([]byte, len(b))
		p.buf = &large
	}
	copy(*p.buf, b)
	select {
	case l.queue <- p:
	default:
		l.dropped.Add(1)
		u.recycle(p)
	}
}

// handle gives a packet to its borrower's code, whose panic must not end the reader.
func (u *UDPSocket) handle(f func([]byte, netip.AddrPort), b []byte, from netip.AddrPort) {
	defer func() {
		if r := recover(); r != nil {
			u.log.Error("panic", "doing", "handling a UDP packet", "from", from, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	f(b, from)
}

func (u *UDPSocket) recycle(p packet) {
	if cap(*p.buf) == packetBuffer {
		u.buffers.Put(p.buf)
	}
}
