package utp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Packets is the shared UDP socket, as far as this package sends by it. Its methods are called from
// many goroutines and must not block for long.
type Packets interface {
	// WriteToUDPAddrPort sends one packet; b is not kept.
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
}

// Segmenter is implemented by Packets that send many packets with one system call.
type Segmenter interface {
	// WriteSegments sends b as packets of size bytes, of which the last one may be shorter.
	// There are at most MaxSegments, and MaxBatch bytes. An error of EMSGSIZE says that the packets are larger than
	// the path takes; what is left after the bytes that it returns was not sent.
	WriteSegments(b []byte, size int, to netip.AddrPort) (int, error)
}

// Wholer is implemented by Packets that can send a packet which nobody may cut on its way. Without
// it packets of more than 1500 bytes are tried within a machine only.
type Wholer interface {
	// WriteWhole sends one packet; with an error of EMSGSIZE if it is known to be too large.
	WriteWhole(b []byte, to netip.AddrPort) (int, error)
}

// Fragmenter is implemented by Packets whose system does not let others cut packets on their way by itself. Without
// it a packet larger than what the path takes any more is sent like others.
type Fragmenter interface {
	// WriteFragmentable sends one packet that IPv4 routers may cut. Of IPv6, what is larger than the interface
	// takes goes in fragments of 1280 bytes, which pass everywhere.
	WriteFragmentable(b []byte, to netip.AddrPort) (int, error)
}

// pusher is implemented by Packets that give what they receive to who asks for it, on a goroutine of theirs: each
// packet, and then flush after those that were read together.
type pusher interface {
	HandleTimed(f func(packet []byte, from netip.AddrPort, received time.Time) (taken bool), flush func())
}

// Bounds of one call of [Segmenter], those of Linux.
const (
	MaxSegments = 64
	MaxBatch    = 60 << 10
)

// Bounds that a [Config] does not set.
const (
	// backlog is how many connections wait for Accept; what a further one sends is dropped, and it tries
	// again.
	backlog = 256
	// maxConns and maxPerAddr bound the connections that others opened: in all, and of one address (of IPv6: of
	// one /64) that is not of this machine.
	maxConns   = 8192
	maxPerAddr = 128
	// resetsPerSecond bounds the replies to packets of no connection.
	resetsPerSecond = 1000
	// receiveBudget bounds what all connections together may hold beyond the first window
	// of each, in bytes.
	receiveBudget = 64 << 20
)

// Config configures a Socket; the zero value will do.
type Config struct {
	// Logger is told of what an operator may want to know; nil: nobody.
	Logger *slog.Logger
	// MaxConns bounds the connections that others opened; 0 means 8192.
	MaxConns int
	// MaxPerAddr bounds those of one address, or of a /64 of IPv6, which a host has, that is not of this
	// machine; 0 means 128.
	MaxPerAddr int
}

// key tells connections apart: the peer's address and the number that its packets carry.
type key struct {
	addr netip.AddrPort // without a zone
	id   uint16
}

// keyOf leaves out an address's zone: the same one has a name where we are told of a peer, and a number where its
// packets come from.
func keyOf(addr netip.AddrPort, id uint16) key {
	return key{netip.AddrPortFrom(addr.Addr().WithZone(""), addr.Port()), id}
}

// Socket speaks uTP over one UDP socket, which it neither reads nor closes. It is a net.Listener.
type Socket struct {
	pc         Packets
	batch      Segmenter  // nil: none
	whole      Wholer     // nil: none
	fragmenter Fragmenter // nil: none
	log        *slog.Logger
	cfg        Config
	start      time.Time
	local      *net.UDPAddr
	seed       maphash.Seed

	mu       sync.RWMutex
	conns    map[key]*Conn
	accepted int
	perHost  map[netip.Prefix]int // by hostOf
	closed   bool

	queue chan *Conn // of Accept
	done  chan struct{}

	timers     timers
	timersDone chan struct{}

	// Of the goroutine that calls Deliver and Flush.
	dirty       []*Conn
	resetSecond moment
	resets      int

	batches  sync.Pool // *batch
	reserved atomic.Int64
}

// New returns a Socket that sends by pc. If pc has a method HandleTimed, as a share of package transport's socket
// has, it gets what that receives; else who reads pc calls Deliver and Flush.
func New(pc Packets, cfg Config) *Socket {
	s := &Socket{
		pc: pc, cfg: cfg, log: cfg.Logger, start: time.Now(), seed: maphash.MakeSeed(),
		conns: map[key]*Conn{}, perHost: map[netip.Prefix]int{},
		queue: make(chan *Conn, backlog), done: make(chan struct{}),
		timers: timers{wake: make(chan struct{}, 1)}, timersDone: make(chan struct{}),
	}
	s.batch, _ = pc.(Segmenter)
	s.whole, _ = pc.(Wholer)
	s.fragmenter, _ = pc.(Fragmenter)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.MaxConns <= 0 {
		s.cfg.MaxConns = maxConns
	}
	if s.cfg.MaxPerAddr <= 0 {
		s.cfg.MaxPerAddr = maxPerAddr
	}
	if s.local, _ = pc.LocalAddr().(*net.UDPAddr); s.local == nil {
		s.local = &net.UDPAddr{}
	}
	s.batches.New = func() any { return &batch{buf: make([]byte, 0, 64<<10)} }
	go s.runTimers()
	if p, ok := pc.(pusher); ok {
		p.HandleTimed(func(b []byte, from netip.AddrPort, received time.Time) bool {
			s.Deliver(b, from, received)
			return true
		}, s.Flush)
	}
	return s
}

func (s *Socket) now() moment { return time.Since(s.start) }

// maxLag is the longest that a packet is believed to have waited in the system.
const maxLag = time.Second

// arrival returns the moments of now, and of when a packet came in: the system's time stamp
// is by another clock.
func (s *Socket) arrival(received time.Time) (now, at moment) {
	t := time.Now()
	now = t.Sub(s.start)
	if received.IsZero() {
		return now, now
	}
	return now, now - min(max(t.Sub(received), 0), maxLag)
}

// stamp is the time that packets carry.
func stamp(now moment) uint32 { return uint32(now / time.Microsecond) }

// Deliver takes a packet that came in, and the moment of that (zero: now). It does not
// keep b. It and Flush are called by one goroutine.
func (s *Socket) Deliver(b []byte, from netip.AddrPort, received time.Time) {
	var p packet
	if !p.parse(b) {
		return
	}
	now, at := s.arrival(received)
	// A SYN bears the number of the packets to its sender, all others that of those to us. It matters
	// where both are one socket, which has dialled its own address.
	if p.typ != typeSyn {
		if c := s.find(keyOf(from, p.id)); c != nil {
			s.hand(c, &p, now, at)
			return
		}
	}
	s.strange(&p, from, now)
}

// hand gives c a packet, and has Flush look at it.
func (s *Socket) hand(c *Conn, p *packet, now, at moment) {
	if !c.dirty {
		c.dirty = true
		s.dirty = append(s.dirty, c)
	}
	s.guard(c, func() { c.deliver(p, now, at) })
}

var errPanic = errors.New("a fault in this program")

// guard runs f, which handles what a stranger sends to c: a panic ends c, and nothing else.
func (s *Socket) guard(c *Conn, f func()) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic in a uTP connection; please report this", "peer", c.remote, "panic", r, "stack", string(debug.Stack()))
			c.abort(errPanic)
		}
	}()
	f()
}

// Flush sends what the packets since the last Flush ask for: acknowledgements, and data that
// may now be sent. It wakes readers and writers.
func (s *Socket) Flush() {
	if len(s.dirty) == 0 {
		return
	}
	now := s.now()
	dirty := s.dirty
	s.dirty = s.dirty[:0]
	for i, c := range dirty {
		c.dirty, dirty[i] = false, nil
		s.guard(c, func() { c.flush(now) })
	}
}

func (s *Socket) find(k key) *Conn {
	s.mu.RLock()
	c := s.conns[k]
	s.mu.RUnlock()
	return c
}

// strange handles a packet that belongs to no connection.
func (s *Socket) strange(p *packet, from netip.AddrPort, now moment) {
	switch p.typ {
	case typeSyn:
		s.answerSyn(p, from, now)
	case typeReset:
		s.reset(p, from)
	default:
		if c := s.establish(p, from, now); c != nil {
			s.hand(c, p, now, now)
			return
		}
		s.sendReset(p, from, now)
	}
}

// sendReset tells the sender of p that there is no such connection. It is never longer than p.
func (s *Socket) sendReset(p *packet, from netip.AddrPort, now moment) {
	if now-s.resetSecond >= time.Second {
		s.resetSecond, s.resets = now, 0
	}
	if s.resets++; s.resets > resetsPerSecond {
		return
	}
	var b [headerSize]byte
	h := header{typ: typeReset, id: p.id, seq: random16(), ack: p.seq, timestamp: stamp(now)}
	h.put(b[:], extEnd)
	_, _ = s.pc.WriteToUDPAddrPort(b[:], from) // like all packets, it may be lost
}

// reset looks for the connection that a reset is for: it bears the number of the packets of the one side or
// of the other (libtorrent and libutp return the number of the packet that they did not know).
func (s *Socket) reset(p *packet, from netip.AddrPort) {
	for _, id := range [2]uint16{p.id - 1, p.id + 1} {
		if c := s.find(keyOf(from, id)); c != nil && c.sendID == p.id {
			s.guard(c, func() { c.deliver(p, 0, 0) })
			return
		}
	}
}

func random16() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint16(b[:])
}

// forget takes c out of the table; nothing is delivered to it any more.
func (s *Socket) forget(c *Conn) {
	s.mu.Lock()
	if s.conns[c.key] == c {
		delete(s.conns, c.key)
		if c.incoming {
			s.accepted--
			host := hostOf(c.key.addr.Addr())
			if s.perHost[host]--; s.perHost[host] == 0 {
				delete(s.perHost, host)
			}
		}
	}
	s.mu.Unlock()
	s.timers.remove(c)
}

// Accept returns the next connection that a peer opened and has sent something over.
func (s *Socket) Accept() (net.Conn, error) {
	select {
	case c := <-s.queue:
		return c, nil
	case <-s.done:
		return nil, &net.OpError{Op: "accept", Net: network, Addr: s.local, Err: net.ErrClosed}
	}
}

// Addr returns the address of the UDP socket.
func (s *Socket) Addr() net.Addr { return s.local }

// Close ends all connections, telling their peers, and waits for the timers. It does not
// close the UDP socket.
func (s *Socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	conns := make([]*Conn, 0, len(s.conns))
	for _, c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	close(s.done)
	for _, c := range conns {
		c.abort(net.ErrClosed)
	}
	<-s.timersDone
	return nil
}

const network = "utp"

func (s *Socket) opError(op string, addr netip.AddrPort, err error) error {
	return &net.OpError{Op: op, Net: network, Source: s.local, Addr: net.UDPAddrFromAddrPort(addr), Err: err}
}

var _ net.Listener = (*Socket)(nil)
