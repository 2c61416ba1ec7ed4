package relay

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"
	"golang.org/x/time/rate"
)

// The ports that are relayed from by default: those that are nobody's (RFC 6335 section 6).
const (
	DefaultMinPort = 49152
	DefaultMaxPort = 65535
)

// DefaultRealm is what credentials are for, as clients are told.
const DefaultRealm = "causeway"

// Network opens the sockets that are relayed from. Nil means package net.
type Network interface {
	// ListenPacket opens a UDP socket; network is "udp4" or "udp6".
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

// Config configures a Server. The zero Config is STUN alone.
type Config struct {
	// Secret makes and checks time-limited credentials, see [Server.Credentials]. Users are
	// passwords by user name that do not end. With neither there is no TURN.
	Secret string
	Users  map[string]string
	Realm  string // DefaultRealm if empty

	// Public are the addresses that clients are told to be relayed at, at most one of each
	// family. Without one of a family it is the address at which the client reached us.
	Public []netip.Addr

	// MinPort and MaxPort are the UDP ports that are relayed from; 0 are the defaults.
	MinPort, MaxPort uint16

	// AllowPrivate relays to loopback, private and link-local addresses and to this
	// machine, too.
	AllowPrivate bool
	// OwnPort says which UDP ports of this machine are relayed to although they are no
	// client's relay: that of a peer in the same program. It may be nil.
	OwnPort func(port uint16) bool

	Limits  Limits
	Network Network
	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: silence
}

// Server answers STUN and relays for TURN. Its methods may be called from any goroutine.
type Server struct {
	config Config
	policy *policy
	quota  *quota
	relays *relays
	rate   *rate.Limiter
	flood  *flood

	relayed, refused, dropped, limited atomic.Uint64

	mu     sync.Mutex
	closed bool
	ports  map[*Port]struct{}
	conns  map[*stream]struct{}
	wg     sync.WaitGroup // readers of ports, streams and allocations
}

// New makes a Server.
func New(config Config) (*Server, error) {
	if config.Realm == "" {
		config.Realm = DefaultRealm
	}
	if config.MinPort == 0 && config.MaxPort == 0 {
		config.MinPort, config.MaxPort = DefaultMinPort, DefaultMaxPort
	}
	if config.MinPort == 0 || config.MinPort > config.MaxPort {
		return nil, fmt.Errorf("relay: no ports from %d to %d", config.MinPort, config.MaxPort)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Network == nil {
		config.Network = new(net.ListenConfig)
	}
	config.Limits.setDefaults()
	relays := newRelays()
	return &Server{
		config: config, relays: relays,
		policy: &policy{allowInner: config.AllowPrivate, public: config.Public, relays: relays, ownPort: config.OwnPort, now: config.Now},
		quota:  newQuota(config.Limits),
		rate:   limiter(config.Limits.Rate),
		flood:  newFlood(config.Now),
		ports:  map[*Port]struct{}{}, conns: map[*stream]struct{}{},
	}, nil
}

// TURN reports whether the server relays, not only tells addresses.
func (s *Server) TURN() bool { return s.config.Secret != "" || len(s.config.Users) > 0 }

// Stats counts what was done since the start.
type Stats struct {
	Allocations int    // now
	Relayed     uint64 // bytes
	Refused     uint64 // packets to or from addresses that are not allowed
	Dropped     uint64 // packets beyond a rate, or that came faster than they were handled
	Limited     uint64 // requests of addresses that ask too much
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	return Stats{
		Allocations: s.quota.allocations(), Relayed: s.relayed.Load(), Refused: s.refused.Load(),
		Dropped: s.dropped.Load(), Limited: s.limited.Load(),
	}
}

// Close ends all allocations and connections, and waits for their goroutines. The sockets that
// ports are shares of stay open.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	var closing []interface{ Close() error }
	for p := range s.ports {
		closing = append(closing, p)
	}
	for c := range s.conns {
		closing = append(closing, c)
	}
	s.mu.Unlock()
	for _, c := range closing {
		_ = c.Close() // of what is ours, none fails
	}
	s.wg.Wait()
	return nil
}

// turnServer is pion's server over one stream of packets of its own, which has one reader: what
// it allocates is made by sockets.
func (s *Server) turnServer(conn net.PacketConn, sockets *generator) (*turn.Server, error) {
	config := turn.ServerConfig{
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: sockets,
			PermissionHandler: func(_ net.Addr, peer net.IP) bool {
				a, ok := netip.AddrFromSlice(peer)
				return ok && s.policy.mayPermit(a)
			},
		}},
		Realm:         s.config.Realm,
		LoggerFactory: pionLog{logger: s.config.Logger},
		InboundMTU:    maxDatagram + 1, // pion drops what fills its buffer
		QuotaHandler: func(id, _ string, from net.Addr) bool {
			return s.quota.room(id, addrPort(from).Addr())
		},
	}
	if s.TURN() {
		config.AuthHandler = s.authorize
	}
	return turn.NewServer(config)
}
