package server

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// Config is what a Server needs. The zero Config is ready for use.
type Config struct {
	// Interval is how long peers are asked to wait between announces over HTTP and UDP,
	// with up to a tenth more by chance so that those who came together do not come back
	// together; 0 means 30 min.
	Interval time.Duration
	// MinInterval is the shortest time between announces that HTTP peers are asked to
	// keep to; 0 means half of Interval, at most 5 min.
	MinInterval time.Duration
	// WebInterval is Interval for web peers, whose offers live no longer; 0 means 2 min.
	WebInterval time.Duration
	// Expire and ExpireWeb are how long peers are kept after their last announce; 0 means
	// one and a half and five times their interval.
	Expire, ExpireWeb time.Duration
	// NumWant is how many peers are named to those who do not say, and MaxNumWant the most
	// that anyone gets, of each address family; 0 means 50 and 200.
	NumWant, MaxNumWant int
	// Limits bound the swarms.
	Limits table.Limits
	// Connections bounds the HTTP connections that Serve holds, in all and of one host; 0
	// means 50,000 and 500, a negative number no bound. WebSockets have bounds of their own.
	Connections, HostConnections int

	// Allow and Deny are files of infohashes, 40 hexadecimal digits a line; whatever
	// follows the first blank is a comment, as is a line that begins with #. With Allow,
	// only its torrents are tracked; those of Deny never. Files are read again when they
	// change, and by Reload.
	Allow, Deny string
	// TrustProxy are the networks of proxies whose X-Forwarded-For is believed: the peer's
	// address is the last one there that is not of these networks. Who is in one of them
	// and speaks for nobody else may say by ip= for whom it announces.
	TrustProxy []netip.Prefix

	// Cluster puts something before the table, through which all front ends then reach
	// swarms; nil means that this node has all of them.
	Cluster func(*table.Table) table.Swarms
	// WebSocket makes what answers WebSocket upgrades of paths that end in /announce or
	// /scrape and of /; nil means that they are refused.
	WebSocket func(*Server) http.Handler
	// WebSockets counts the open WebSockets, which Serve does not hold any more, for
	// statistics; nil means that there are none.
	WebSockets func() int
	// PeerJS makes what answers /peerjs and everything below; nil means 404.
	PeerJS func(*Server) http.Handler
	// NoHTTP refuses announces and scrapes over HTTP; the other pages stay.
	NoHTTP bool

	// Logger gets warnings; nil means none.
	Logger *slog.Logger
	// AccessLog gets a record of each announce and scrape; nil means none.
	AccessLog *slog.Logger
}

func (c Config) withDefaults() Config {
	or := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	or(&c.Interval, 30*time.Minute)
	or(&c.MinInterval, min(c.Interval/2, 5*time.Minute))
	or(&c.WebInterval, 2*time.Minute)
	or(&c.Expire, c.Interval*3/2)
	or(&c.ExpireWeb, 5*c.WebInterval)
	orInt := func(n *int, def int) {
		if *n == 0 {
			*n = def
		} else if *n < 0 {
			*n = 1 << 30
		}
	}
	orInt(&c.NumWant, 50)
	orInt(&c.MaxNumWant, 200)
	orInt(&c.Connections, 50_000)
	orInt(&c.HostConnections, 500)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server is a tracker. It is an http.Handler; see Serve and ServePacket, too.
type Server struct {
	cfg    Config
	table  *table.Table
	swarms table.Swarms // the table or a cluster, behind the access lists
	lists  lists
	ids    connectionIDs
	stats  *Stats
	mux    *http.ServeMux
	ws     http.Handler
	conns  connections
	once   logOnce
	clock  atomic.Pointer[clock]

	mu        sync.Mutex
	closed    bool
	draining  context.Context                         // Shutdown's; nil before
	open      map[interface{ Close() error }]struct{} // what Close has to end
	done      chan struct{}                           // closed by Close
	wg        sync.WaitGroup
	answering sync.WaitGroup // what Shutdown waits for
}

// New starts a tracker, which serves nothing yet. Its errors are those of the files
// of Allow and Deny.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg:  cfg,
		done: make(chan struct{}),
		open: make(map[interface{ Close() error }]struct{}),
		table: table.New(table.Config{
			Expire: cfg.Expire, ExpireWeb: cfg.ExpireWeb, Limits: cfg.Limits,
		}),
	}
	s.lists.allow.path, s.lists.deny.path = cfg.Allow, cfg.Deny
	if err := s.lists.read(true); err != nil {
		return nil, err
	}
	s.setClock(time.Now())
	s.ids.init(time.Now())
	s.conns.init(cfg.Connections, cfg.HostConnections)
	s.once.log = cfg.Logger
	var inner table.Swarms = s.table
	if cfg.Cluster != nil {
		inner = cfg.Cluster(s.table)
	}
	s.swarms = &gate{Swarms: inner, lists: &s.lists}
	s.stats = newStats(s)
	s.routes()
	s.wg.Add(1)
	go s.tick()
	return s, nil
}

// Swarms is how front ends of other packages reach the swarms: as Config.Cluster has
// it, with the access lists before it.
func (s *Server) Swarms() table.Swarms { return s.swarms }

// Table is this node's own swarms.
func (s *Server) Table() *table.Table { return s.table }

// Reload reads the access lists again. If one cannot be read, what it held before
// stays.
func (s *Server) Reload() error { return s.lists.read(true) }

// Shutdown takes no further connections and packets, lets requests that are being
// answered be answered, and then is Close, once there are no connections but WebSockets, or
// once ctx ends. Its error is ctx's if that was first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.draining == nil {
		s.draining = ctx
	}
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, c := range open {
		switch c := c.(type) {
		case *counted:
			c.drain()
		default:
			_ = c.Close()
		}
	}
	answered := make(chan struct{})
	go func() {
		s.answering.Wait()
		close(answered)
	}()
	select {
	case <-answered:
		return s.Close()
	case <-ctx.Done():
		_ = s.Close()
		<-answered
		return ctx.Err()
	}
}

// Close ends all that Serve and ServePacket serve, at once, and waits for it.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	open := slices.Collect(maps.Keys(s.open)) // they forget themselves
	s.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	s.wg.Wait()
	return nil
}

// track has Close end something; false: the server is closed already, or about to be.
func (s *Server) track(c interface{ Close() error }) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.draining != nil {
		return false
	}
	s.open[c] = struct{}{}
	s.wg.Add(1)
	return true
}

// forget undoes track.
func (s *Server) forget(c interface{ Close() error }) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	s.wg.Done()
}

// listsEvery is how often the files of access lists are looked at.
const listsEvery = 5 * time.Second

// tick moves the clocks until Close.
func (s *Server) tick() {
	defer s.wg.Done()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	lists := time.NewTicker(listsEvery)
	defer lists.Stop()
	for {
		select {
		case now := <-second.C:
			s.setClock(now)
			s.table.Tick(now)
			s.ids.tick(now)
			s.stats.tick()
			s.once.tick()
		case <-lists.C:
			if err := s.lists.read(false); err != nil {
				s.cfg.Logger.Warn("access list not read again; what it held before stays", "error", err)
			}
		case <-s.done:
			return
		}
	}
}

// logOnce logs something about a host once in a while, however often it happens.
type logOnce struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[onceKey]struct{}
	age  int // seconds
}

type onceKey struct {
	what string
	host netip.Addr
}

const (
	onceAgain = 600  // seconds after which the same may be logged again
	onceMost  = 1000 // different things in that time; further ones are not logged
)

func (o *logOnce) warn(what string, host netip.Addr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := onceKey{what, host}
	if _, is := o.seen[key]; is || len(o.seen) >= onceMost {
		return
	}
	if o.seen == nil {
		o.seen = make(map[onceKey]struct{})
	}
	o.seen[key] = struct{}{}
	o.log.Warn(what, "host", host)
}

func (o *logOnce) tick() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.age++; o.age >= onceAgain {
		o.age, o.seen = 0, nil
	}
}

var errClosed = fmt.Errorf("tracker: %w", net.ErrClosed)
