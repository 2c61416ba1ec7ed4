package webrtcwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Errors of Transport's methods.
var (
	// ErrClosed means that the Transport, offer or answer was closed.
	ErrClosed = fmt.Errorf("webrtcwire: %w", net.ErrClosed)

	// ErrTooMany means that Config.MaxPending (for offers: half of it) or
	// Config.MaxConns is reached; try again when an offer has expired or a connection
	// has closed.
	ErrTooMany = errors.New("webrtcwire: too many offers, negotiations or connections")

	// ErrExpired means that nobody answered an offer in Config.OfferLifetime.
	ErrExpired = errors.New("webrtcwire: offer expired unanswered")
)

// Timings of ICE. A peer that fell silent is disconnected, which is tolerated
// (a phone changing cells), and closed after 10 + 20 s.
const (
	iceDisconnected = 10 * time.Second
	iceFailed       = 20 * time.Second
	iceKeepalive    = 3 * time.Second // consent, RFC 7675: at most every 5 s

	// How long a pair of this kind waits for a better one before it is used.
	// pion's defaults (0.5, 1, 2 s) would be most of a connection's set-up time;
	// a browser behind mDNS often shows up as peer reflexive first.
	srflxWait = 100 * time.Millisecond
	prflxWait = 100 * time.Millisecond
	relayWait = 500 * time.Millisecond
)

// Transport makes connections. Its methods may be used from any goroutine.
type Transport struct {
	config   Config
	servers  iceServers
	stun     *Mirror
	resolver *resolver
	hosts    *hosts
	tcp      *tcpMux // nil: none

	pathPatience time.Duration // the constant, except in tests

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup // everything that the sessions started

	mu          sync.Mutex
	closed      bool
	sockets     []*socket // the shared one, and those that alike peers needed
	front       *front    // nil: no agent has a relay yet
	sessions    map[*session]struct{}
	counts      [stateCount]int // live sessions by state
	totals      totals
	certificate *certificate
}

// New starts a Transport. It owns config.PacketConns from here on.
func New(config Config) (*Transport, error) {
	config.setDefaults()
	servers, err := parseICEServers(config.ICEServers)
	if err != nil {
		return nil, fmt.Errorf("webrtcwire: %w", err)
	}
	if config.RelayOnly && len(servers.turn) == 0 {
		return nil, errors.New("webrtcwire: relay only, but no TURN server is configured")
	}
	if len(config.PacketConns) == 0 {
		udp, err := config.Network.ListenPacket(context.Background(), "udp", ":0")
		if err != nil {
			return nil, fmt.Errorf("webrtcwire: %w", err)
		}
		config.PacketConns = []net.PacketConn{udp}
	}
	if bound, ok := config.PacketConns[0].LocalAddr().(*net.UDPAddr); ok && bound.IP.IsLoopback() {
		config.IncludeLoopback = true
	}
	t := &Transport{
		config: config, servers: servers, pathPatience: pathPatience,
		hosts:    newHosts(config.IncludeLoopback, config.Network),
		resolver: newResolver(config.IncludeLoopback, config.Network, config.Logger),
		sessions: map[*session]struct{}{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if t.stun = config.Mirror; t.stun == nil {
		own := MirrorConfig{Write: writer(config.PacketConns[0]), Network: config.Network, Logger: config.Logger}
		if !config.RelayOnly {
			own.Servers = servers.stun
		}
		t.stun = NewMirror(own)
	}
	if config.TCPPort != 0 {
		t.tcp = newTCPMux(config.TCPPort, config.Logger)
	}
	shared := t.newSocket(config.PacketConns, t.stun)
	if t.tcp != nil {
		t.tcp.local = shared.mux.GetListenAddresses
	}
	t.sockets = []*socket{shared}
	if config.Mirror == nil {
		t.stun.Ask()
	}
	return t, nil
}

// LocalAddr is the address of the shared socket.
func (t *Transport) LocalAddr() net.Addr { return t.config.PacketConns[0].LocalAddr() }

// NetworkChanged has the next descriptions made of the interfaces as they are now, and not as
// they were up to 10 s ago. Each is made of new candidates anyway.
func (t *Transport) NetworkChanged() { t.hosts.forget() }

// TakeTCP takes a connection to Config.TCPPort that is one of ICE, and finds out by its
// first packet whose it is, within a few seconds. Unless it fails, the connection is the
// Transport's.
func (t *Transport) TakeTCP(conn net.Conn) error {
	if t.tcp == nil {
		return fmt.Errorf("webrtcwire: ICE over TCP: %w", errNotListening)
	}
	if err := t.tcp.take(conn); err != nil {
		return fmt.Errorf("webrtcwire: ICE over TCP: %w", err)
	}
	return nil
}

// Close closes every offer, answer and connection and the shared socket, and
// waits until all of their goroutines have ended.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	sessions := make([]*session, 0, len(t.sessions))
	for s := range t.sessions {
		sessions = append(sessions, s)
	}
	t.mu.Unlock()
	t.cancel()
	for _, s := range sessions {
		s.shut(ErrClosed)
	}
	t.wg.Wait()
	if t.config.Mirror == nil {
		t.stun.Close()
	}
	t.resolver.close()
	t.mu.Lock()
	sockets, front := t.sockets, t.front
	t.mu.Unlock()
	var errs []error
	if t.tcp != nil {
		errs = append(errs, t.tcp.Close())
	}
	for _, socket := range sockets {
		errs = append(errs, socket.Close())
	}
	if front != nil {
		errs = append(errs, front.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("webrtcwire: close: %w", err)
	}
	return nil
}
