package socket

import (
	"errors"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config bounds a Server. Zero values take the defaults.
type Config struct {
	// MaxMessage is how many bytes a message may have: 256 KiB. A longer one closes the
	// connection with code 1009.
	MaxMessage int
	// MaxQueue is how many bytes may wait to be written to one connection: 1 MiB. One
	// that reads more slowly is dropped.
	MaxQueue int
	// MaxBuffered is how many bytes of messages that are not whole yet, and that are not
	// written yet, all connections have together: 256 MiB. Past it, those that need
	// more are closed.
	MaxBuffered int64
	// MessagesPerSecond is how many messages of one connection are read on average, after
	// a burst of Burst: 200 and 4000. What is above it is read later.
	MessagesPerSecond, Burst int
	// MaxConns is how many connections there may be: 100,000; and MaxPerAddress how many
	// from one IPv4 address or IPv6 /64: 1000.
	MaxConns, MaxPerAddress int
	// PingEvery is after how much silence a connection is pinged: 50 s. It is below the
	// 60 s after which proxies like to drop a silent connection.
	PingEvery time.Duration
	// Timeout is how long a ping may be unanswered, a message half there, and a full pipe
	// unmoved: 25 s.
	Timeout time.Duration
	// Linger is how long a connection that was told the reason why it is closed has to read it:
	// 2 s.
	Linger time.Duration
	// Logger gets a warning when connections are refused, for each of the bounds at most once in
	// 10 minutes. nil means none.
	Logger *slog.Logger
	// Goroutines serves every connection with a goroutine of its own, as on systems other
	// than Linux.
	Goroutines bool
}

func (c Config) withDefaults() Config {
	orDefault(&c.MaxMessage, 256<<10)
	orDefault(&c.MaxQueue, 1<<20)
	orDefault(&c.MaxBuffered, 256<<20)
	orDefault(&c.MessagesPerSecond, 200)
	orDefault(&c.Burst, 4000)
	orDefault(&c.MaxConns, 100_000)
	orDefault(&c.MaxPerAddress, 1000)
	orDefault(&c.PingEvery, 50*time.Second)
	orDefault(&c.Timeout, 25*time.Second)
	orDefault(&c.Linger, 2*time.Second)
	return c
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Stats is what a Server has and has seen.
type Stats struct {
	Open     int   // connections
	Buffered int64 // bytes of messages half read or not written yet

	Accepted    uint64 // connections, ever
	Messages    uint64 // from clients
	Full        uint64 // refused: too many connections
	PerAddress  uint64 // refused: too many from an address
	TooBig      uint64 // closed: a message longer than MaxMessage
	Malformed   uint64 // closed: not RFC 6455, or not UTF-8
	SlowReaders uint64 // dropped: did not read what was sent
	SlowWriters uint64 // dropped: a message did not become whole
	Silent      uint64 // dropped: did not answer a ping
	NoRoom      uint64 // closed: MaxBuffered
	Throttled   uint64 // pauses of connections that sent too many messages
}

// Server holds connections.
type Server struct {
	config Config
	start  time.Time

	loops   []*loop
	turn    atomic.Uint32 // which loop is next
	working sync.WaitGroup

	buffered atomic.Int64
	counts   counters

	mu        sync.Mutex
	closed    bool
	open      int
	addresses map[netip.Prefix]int
	streams   map[*Conn]struct{} // those with a goroutine
	sweeping  chan struct{}      // closed by Close; nil without streams
	warned    map[error]int64    // when each refusal was logged last, by now
}

type counters struct {
	accepted, messages, full, perAddress, tooBig, malformed atomic.Uint64
	slowReaders, slowWriters, silent, noRoom, throttled     atomic.Uint64
}

// New starts a Server.
func New(config Config) *Server {
	s := &Server{
		config:    config.withDefaults(),
		start:     time.Now(),
		addresses: make(map[netip.Prefix]int),
		streams:   make(map[*Conn]struct{}),
		warned:    make(map[error]int64),
	}
	if !s.config.Goroutines {
		s.loops = startLoops(s, runtime.GOMAXPROCS(0))
	}
	return s
}

// Stats counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := s.open
	s.mu.Unlock()
	c := &s.counts
	return Stats{
		Open: open, Buffered: s.buffered.Load(),
		Accepted: c.accepted.Load(), Messages: c.messages.Load(),
		Full: c.full.Load(), PerAddress: c.perAddress.Load(),
		TooBig: c.tooBig.Load(), Malformed: c.malformed.Load(),
		SlowReaders: c.slowReaders.Load(), SlowWriters: c.slowWriters.Load(),
		Silent: c.silent.Load(), NoRoom: c.noRoom.Load(), Throttled: c.throttled.Load(),
	}
}

// now is the time since the Server started, in milliseconds.
func (s *Server) now() int64 { return int64(time.Since(s.start) / time.Millisecond) }

var errClosed = errors.New("the server is going away")

// Why there may be no further connection.
var (
	ErrFull       = errors.New("too many connections in all")
	ErrPerAddress = errors.New("too many connections from this address")
)

// admit counts a connection in, which release counts out.
func (s *Server) admit(remote netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	network := networkOf(remote)
	switch {
	case s.closed:
		return errClosed
	case s.open >= s.config.MaxConns:
		s.counts.full.Add(1)
		s.warn(ErrFull, remote)
		return ErrFull
	case s.addresses[network] >= s.config.MaxPerAddress:
		s.counts.perAddress.Add(1)
		s.warn(ErrPerAddress, remote)
		return ErrPerAddress
	}
	s.open++
	s.addresses[network]++
	return nil
}

// warnAgain is after how long the same refusal is logged again.
const warnAgain = 10 * time.Minute

// warn logs a refusal, unless one was lately. s.mu is held.
func (s *Server) warn(err error, remote netip.Addr) {
	now := s.now()
	last, was := s.warned[err]
	if s.config.Logger == nil || was && now-last < warnAgain.Milliseconds() {
		return
	}
	s.warned[err] = now
	s.config.Logger.Warn("a WebSocket was refused; so are further ones, without a word", "reason", err, "remote", remote)
}

func (s *Server) release(remote netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	network := networkOf(remote)
	s.open--
	if s.addresses[network]--; s.addresses[network] <= 0 {
		delete(s.addresses, network)
	}
}

// networkOf is what one user has for sure: an IPv4 address, or an IPv6 /64.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for no address at all, which is a network too
	return p
}

// Close tells all connections that the server goes away, drops them, calls their
// handlers' Closed, and waits for it.
func (s *Server) Close() {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	streams := make([]*Conn, 0, len(s.streams))
	for c := range s.streams {
		streams = append(streams, c)
	}
	sweeping := s.sweeping
	s.sweeping = nil
	s.mu.Unlock()
	if !already {
		if sweeping != nil {
			close(sweeping)
		}
		for _, l := range s.loops {
			l.stop()
		}
		for _, c := range streams {
			c.farewell()
		}
	}
	s.working.Wait()
}
