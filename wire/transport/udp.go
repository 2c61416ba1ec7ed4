package transport

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
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
// borrowers of its [Class]. One goroutine reads; writes go straight to the socket, but for
// those that are queued.
type UDPSocket struct {
	conn    *net.UDPConn
	log     *slog.Logger
	lent    [numClasses]atomic.Pointer[[]*Lent] // those of a class, the first lent first
	flushed atomic.Pointer[[]*Lent]             // those that want to know where a batch ends
	lending sync.Mutex                          // held to change lent and flushed
	closed  bool                                // guarded by lending
	whole   sync.Mutex                          // held to write a packet that is cut otherwise than the system does
	done    chan struct{}
	sender  *sender
	queue   queue

	buffers sync.Pool
	unknown atomic.Uint64
	unlent  atomic.Uint64
}

// NewUDPSocket takes over conn and starts to read from it. Close ends it.
func NewUDPSocket(conn *net.UDPConn) *UDPSocket { return newUDPSocket(conn, nil) }

func newUDPSocket(conn *net.UDPConn, log *slog.Logger) *UDPSocket {
	u := &UDPSocket{conn: conn, log: log, done: make(chan struct{}), sender: newSender(conn)}
	u.queue.init()
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
	Unlent  uint64 // of a class that nobody had borrowed, or wanted by none who had, dropped
	Dropped uint64 // because their borrower's queue was full
}

// Stats returns the counts of dropped packets; Dropped covers current borrowers.
func (u *UDPSocket) Stats() UDPStats {
	s := UDPStats{Unknown: u.unknown.Load(), Unlent: u.unlent.Load()}
	for i := range u.lent {
		for _, l := range list(&u.lent[i]) {
			s.Dropped += l.dropped.Load()
		}
	}
	return s
}

// Lend returns a PacketConn that receives packets of class c until it is closed, which does
// not close the socket. A class has any number of borrowers: each packet is offered to them
// in the order in which they borrowed, until one takes it. Who reads takes all that come to
// him; who handles packets ([Lent.Handle]) may leave them to the next. On a closed socket
// Lend returns a closed PacketConn.
func (u *UDPSocket) Lend(c Class) *Lent {
	l := newLent(u, c)
	u.lending.Lock()
	defer u.lending.Unlock()
	if u.closed {
		l.end()
		return l
	}
	change(&u.lent[c], func(all []*Lent) []*Lent { return append(all, l) })
	return l
}

// giveBack takes l from the borrowers.
func (u *UDPSocket) giveBack(l *Lent) {
	u.lending.Lock()
	defer u.lending.Unlock()
	without := func(all []*Lent) []*Lent {
		return slices.DeleteFunc(all, func(other *Lent) bool { return other == l })
	}
	change(&u.lent[l.class], without)
	change(&u.flushed, without)
}

// list returns what p holds, for reading.
func list(p *atomic.Pointer[[]*Lent]) []*Lent {
	if all := p.Load(); all != nil {
		return *all
	}
	return nil
}

// change replaces what p holds by what f makes of a copy of it.
func change(p *atomic.Pointer[[]*Lent], f func([]*Lent) []*Lent) {
	all := f(slices.Clone(list(p)))
	p.Store(&all)
}

// WriteToUDPAddrPort sends one packet.
func (u *UDPSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return u.conn.WriteToUDPAddrPort(b, to)
}

// Close sends what is queued, closes the socket and everything lent of it, and waits for
// the reader.
func (u *UDPSocket) Close() error {
	u.lending.Lock()
	u.closed = true
	for i := range u.lent {
		for _, l := range list(&u.lent[i]) {
			l.end()
		}
		u.lent[i].Store(nil)
	}
	u.flushed.Store(nil)
	u.lending.Unlock()
	u.queue.close()
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
			if isClosed(err) {
				return
			}
			// Windows reports a peer's "port unreachable" as an error of the next read.
			time.Sleep(readErrorPause)
			continue
		}
		u.flush()
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

// deliver hands a packet to the first of its class's borrowers who takes it.
func (u *UDPSocket) deliver(b []byte, from netip.AddrPort, received time.Time) {
	class := Classify(b)
	if class == ClassUnknown {
		u.unknown.Add(1)
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	for _, l := range list(&u.lent[class]) {
		handle := l.handler.Load()
		if handle == nil {
			u.enqueue(l, b, from)
			return
		}
		if u.handle(*handle, b, from, received) {
			return
		}
	}
	u.unlent.Add(1)
}

// enqueue copies the packet, so that one large buffer is enough for reading and the queues
// hold little more than what arrived.
func (u *UDPSocket) enqueue(l *Lent, b []byte, from netip.AddrPort) {
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
func (u *UDPSocket) handle(f handler, b []byte, from netip.AddrPort, received time.Time) (taken bool) {
	defer u.recoverPanic("handling a UDP packet", from)
	return f(b, from, received)
}

// flush tells those who want to know that no more packets have come for now.
func (u *UDPSocket) flush() {
	for _, l := range list(&u.flushed) {
		func() {
			defer u.recoverPanic("handling a batch of UDP packets", netip.AddrPort{})
			(*l.flush.Load())()
		}()
	}
}

func (u *UDPSocket) recoverPanic(doing string, from netip.AddrPort) {
	if r := recover(); r != nil {
		u.log.Error("panic", "doing", doing, "from", from, "panic", r, "stack", string(debug.Stack()))
	}
}

func (u *UDPSocket) recycle(p packet) {
	if cap(*p.buf) == packetBuffer {
		u.buffers.Put(p.buf)
	}
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
