package portmap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Protocol is a way to talk to a gateway.
type Protocol string

const (
	PCP    Protocol = "pcp"
	NATPMP Protocol = "nat-pmp"
	UPnP   Protocol = "upnp"
)

// preference has the protocols in the order in which they are used: those that notice a
// gateway's restart and take leases first.
var preference = []Protocol{PCP, NATPMP, UPnP}

// State of a mapping.
type State string

const (
	// Searching: not known yet.
	Searching State = "searching"
	// OK: the gateway passes on what comes in at External.
	OK State = "ok"
	// Lost: it did, and forgot about it, or went away.
	Lost State = "lost"
	// Failed: there is a gateway that can, and it refused. Status.Err says why.
	Failed State = "error"
	// None: there is nothing to ask, or need to. Status.Err says why.
	None State = "none"
)

// Status is what is known of the mapping.
type Status struct {
	State    State
	Protocol Protocol
	Gateway  netip.Addr
	Internal netip.AddrPort // ours
	// External is where the gateway takes in TCP, or UDP without TCP. Its address may be a
	// private one: then there is another NAT behind the gateway.
	External netip.AddrPort
	// UDPPort is where it takes in UDP: nearly always the port of External.
	UDPPort uint16
	Lease   time.Duration // 0: until it is removed
	Err     error
}

// Reasons to be in the state None.
var (
	ErrPublic    = errors.New("this machine's own address is a public one: there is nothing to map")
	ErrOff       = errors.New("port mapping is switched off")
	ErrLoopback  = errors.New("only this machine is listened to")
	ErrNoIPv4    = errors.New("no IPv4 is used, and IPv6 needs no mapping")
	ErrNoGateway = errors.New("no gateway answers to PCP, NAT-PMP or UPnP")
)

// Network is how a Mapper reaches the gateway.
type Network interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Interfaces() ([]net.Interface, error)
	// Bound is the address that everything of a family comes from, zero if the system
	// chooses.
	Bound(v4 bool) netip.Addr
}

// Config configures a Mapper.
type Config struct {
	Network  Network
	Port     uint16 // ours, for TCP and UDP alike; the gateway is asked for the same
	TCP, UDP bool
	// OnChange is told of each change of State or of what is mapped, from one goroutine. It
	// is not told of States Searching and None.
	OnChange func(Status)
	Logger   *slog.Logger
}

// timing are the intervals of a Mapper.
type timing struct {
	lease       time.Duration // asked for
	tunnelLease time.Duration // asked for of a tunnel's gateway: what VPN providers document
	minRenew    time.Duration // between renewals, whatever lease a gateway gives
	check       time.Duration // between looks whether the gateway has restarted (PCP, NAT-PMP)
	checkUPnP   time.Duration // the same, where it is three HTTP requests
	interfaces  time.Duration // between looks whether our interfaces have changed
	retry       time.Duration // after a first failure; doubles up to maxRetry
	maxRetry    time.Duration
	probe       time.Duration // for all protocols to answer
	grace       time.Duration // for a better one than the first
	shortGrace  time.Duration // for others than the best, in case that one refuses
	exchange    time.Duration // for one request and its answer
	leave       time.Duration // for removing mappings at the end
}

var defaultTiming = timing{
	lease: time.Hour, tunnelLease: time.Minute, minRenew: 10 * time.Second,
	check: time.Minute, checkUPnP: 4 * time.Minute, interfaces: 15 * time.Second,
	retry: time.Minute, maxRetry: 30 * time.Minute,
	probe: 4 * time.Second, grace: 600 * time.Millisecond, shortGrace: 50 * time.Millisecond, exchange: 4 * time.Second, leave: time.Second,
}

// Mapper keeps one port mapped. Its methods may be called from any goroutine.
type Mapper struct {
	cfg    Config
	log    *slog.Logger
	timing timing
	way    func() (way, error) // to the gateway
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed with the next change of status
}

// New starts to look for a gateway.
func New(cfg Config) *Mapper {
	m := prepare(cfg)
	m.start()
	return m
}

// prepare makes a Mapper that does nothing yet.
func prepare(cfg Config) *Mapper {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(Status) {}
	}
	m := &Mapper{
		cfg: cfg, log: cfg.Logger, timing: defaultTiming, done: make(chan struct{}),
		status: Status{State: Searching}, changed: make(chan struct{}),
	}
	m.way = func() (way, error) { return findWay(cfg.Network) }
	return m
}

func (m *Mapper) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		m.run(ctx)
	}()
}

// Status returns what is known now, and a channel that is closed when that changes.
func (m *Mapper) Status() (Status, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status, m.changed
}

// Close has the mapping removed, which takes a second at most.
func (m *Mapper) Close() {
	m.cancel()
	<-m.done
}

// tell makes a status known, unless it is the same as before.
func (m *Mapper) tell(s Status) {
	m.mu.Lock()
	if same(m.status, s) {
		m.mu.Unlock()
		return
	}
	m.status = s
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	if s.State != None && s.State != Searching {
		m.cfg.OnChange(s)
	}
}

// same compares what is told.
func same(a, b Status) bool {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	aErr, bErr := text(a.Err), text(b.Err)
	a.Err, b.Err = nil, nil
	return a == b && aErr == bErr
}

// run looks for a gateway, keeps what it gives, and begins again.
func (m *Mapper) run(ctx context.Context) {
	wait := m.timing.retry
	for {
		w, err := m.way()
		var held *held
		if err == nil {
			held, err = m.acquire(ctx, w)
		}
		if held != nil {
			wait = m.timing.retry
			m.keep(ctx, held, w)
		}
		if ctx.Err() != nil {
			return
		}
		if held != nil {
			continue
		}
		m.failed(w, err)
		if m.pause(ctx, wait, w) {
			wait = m.timing.retry
		} else {
			wait = min(2*wait, m.timing.maxRetry)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// failed tells why there is no mapping. A mapping that was lost stays lost where nobody
// answers any more.
func (m *Mapper) failed(w way, err error) {
	m.log.Debug("no port is mapped", "err", err)
	before, _ := m.Status()
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		m.tell(Status{
			State: Failed, Protocol: refused.protocol, Gateway: refused.gateway,
			Internal: netip.AddrPortFrom(w.local, m.cfg.Port), Err: err,
		})
	case before.State != Lost:
		m.tell(Status{State: None, Internal: netip.AddrPortFrom(w.local, m.cfg.Port), Err: err})
	}
}

// pause waits, and returns true early when our interfaces have changed.
func (m *Mapper) pause(ctx context.Context, wait time.Duration, w way) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	look := time.NewTicker(m.timing.interfaces)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		case <-look.C:
			if m.moved(w) {
				return true
			}
		}
	}
}

// moved reports whether there is another way to the gateway than w.
func (m *Mapper) moved(w way) bool {
	now, _ := m.way()
	return !now.same(w)
}

// want is a mapping to be asked for.
type want struct {
	tcp       bool
	internal  uint16
	suggested uint16 // external
	lease     time.Duration
}

func (w want) String() string { return fmt.Sprintf("%s port %d", transportName(w.tcp), w.internal) }

func transportName(tcp bool) string {
	if tcp {
		return "TCP"
	}
	return "UDP"
}

// grant is what a gateway gave.
type grant struct {
	want     want
	external netip.AddrPort
	lease    time.Duration // 0: for ever
}

// gateway is one that answered, by one protocol. Its methods are called from one goroutine.
type gateway interface {
	protocol() Protocol
	address() netip.Addr
	// open maps a port, or renews that. The gateway may have chosen another than was
	// suggested.
	open(ctx context.Context, w want) (grant, error)
	// close removes the mapping.
	close(ctx context.Context, g grant) error
	// intact reports whether the gateway still has what it gave, and which external address
	// it has now.
	intact(ctx context.Context, grants []grant) (external netip.Addr, ok bool, err error)
}

// refusedError says that a gateway refused, which is worth telling.
type refusedError struct {
	protocol Protocol
	gateway  netip.Addr
	what     string
	err      error
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the gateway %v does not map %s (%s): %v", e.gateway, e.what, e.protocol, e.err)
}

func (e *refusedError) Unwrap() error { return e.err }

// held is what a gateway maps for us.
type held struct {
	gateway gateway
	local   netip.Addr
	lease   time.Duration // to ask for
	grants  []grant       // TCP first
	expires time.Time     // zero: never
}

// acquire finds the gateway and has it map the port.
func (m *Mapper) acquire(ctx context.Context, w way) (*held, error) {
	found := m.probe(ctx, w)
	if len(found) == 0 {
		return nil, ErrNoGateway
	}
	lease := m.timing.lease
	if w.tunnel {
		lease = m.timing.tunnelLease
	}
	var first error // the most preferred protocol's
	for _, g := range found {
		h := &held{gateway: g, local: w.local, lease: lease}
		err := m.open(ctx, h)
		if err == nil {
			m.told(h)
			return h, nil
		}
		m.release(h)
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// open maps or renews what h holds. Where the gateway gives TCP and UDP different ports, it is
// asked once more for the same one.
func (m *Mapper) open(ctx context.Context, h *held) error {
	suggested := m.cfg.Port
	if len(h.grants) > 0 {
		suggested = h.grants[0].external.Port()
	}
	var grants []grant
	ask := func(tcp bool) error {
		w := want{tcp, m.cfg.Port, suggested, h.lease}
		exchange, cancel := context.WithTimeout(ctx, m.timing.exchange)
		defer cancel()
		g, err := h.gateway.open(exchange, w)
		if err != nil {
			return &refusedError{h.gateway.protocol(), h.gateway.address(), w.String(), err}
		}
		suggested = g.external.Port()
		grants = append(grants, g)
		return nil
	}
	var err error
	for _, tcp := range []bool{true, false} {
		if err == nil && (tcp && m.cfg.TCP || !tcp && m.cfg.UDP) {
			err = ask(tcp)
		}
	}
	if err == nil && len(h.grants) == 0 && len(grants) == 2 && grants[0].external.Port() != grants[1].external.Port() {
		// TCP has another port than UDP: it is moved to that of UDP, if it can be.
		exchange, cancel := context.WithTimeout(ctx, m.timing.exchange)
		if h.gateway.close(exchange, grants[0]) == nil {
			w := grants[0].want
			w.suggested = grants[1].external.Port()
			if g, againErr := h.gateway.open(exchange, w); againErr == nil {
				grants[0] = g
			} else {
				err = &refusedError{h.gateway.protocol(), h.gateway.address(), w.String(), againErr}
			}
		}
		cancel()
	}
	if err != nil {
		if len(h.grants) == 0 {
			h.grants = grants // to be released
		}
		return err
	}
	h.grants = grants
	h.expires = time.Time{}
	for _, g := range grants {
		if g.lease > 0 {
			ends := time.Now().Add(g.lease)
			if h.expires.IsZero() || ends.Before(h.expires) {
				h.expires = ends
			}
		}
	}
	return nil
}

// told makes known what h holds.
func (m *Mapper) told(h *held) {
	first, last := h.grants[0], h.grants[len(h.grants)-1]
	m.tell(Status{
		State: OK, Protocol: h.gateway.protocol(), Gateway: h.gateway.address(),
		Internal: netip.AddrPortFrom(h.local, m.cfg.Port), External: first.external, UDPPort: last.external.Port(),
		Lease: first.lease,
	})
}

// lost makes known that it is gone.
func (m *Mapper) lost(why error) {
	s, _ := m.Status()
	s.State, s.Err = Lost, why
	m.tell(s)
}

// release removes what h holds, in a bounded time.
func (m *Mapper) release(h *held) {
	if len(h.grants) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.timing.leave)
	defer cancel()
	for _, g := range h.grants {
		if err := h.gateway.close(ctx, g); err != nil {
			m.log.Debug("a mapping could not be removed", "of", g.want, "err", err)
		}
	}
	h.grants = nil
}

// errForgotten is why a mapping is lost that the gateway has no more.
var errForgotten = errors.New("the gateway has forgotten the mapping; it is asked again")

// keep renews and checks what h holds, until it is lost, the way to the gateway is another, or
// ctx ends.
func (m *Mapper) keep(ctx context.Context, h *held, w way) {
	defer func() { m.release(h) }()
	check := m.timing.check
	if h.gateway.protocol() == UPnP {
		check = m.timing.checkUPnP
	}
	renew := time.NewTimer(m.untilRenewal(h))
	defer renew.Stop()
	look, move := time.NewTicker(check), time.NewTicker(m.timing.interfaces)
	defer look.Stop()
	defer move.Stop()
	for {
		again := false // ask for the ports again
		select {
		case <-ctx.Done():
			return
		case <-move.C:
			if m.moved(w) {
				m.lost(errors.New("the way to the gateway has changed"))
				return
			}
			continue
		case <-look.C:
			again = !m.intact(ctx, h)
		case <-renew.C:
			again = true
		}
		if again {
			if err := m.open(ctx, h); err != nil {
				m.log.Debug("a mapping was not renewed", "err", err)
				if before, _ := m.Status(); before.State == Lost || !h.expires.IsZero() && time.Now().After(h.expires) {
					if ctx.Err() == nil {
						m.lost(err)
					}
					return
				}
			} else {
				m.told(h)
			}
			renew.Reset(m.untilRenewal(h))
		}
	}
}

// untilRenewal is half of what is left of the lease.
func (m *Mapper) untilRenewal(h *held) time.Duration {
	if h.expires.IsZero() {
		return m.timing.lease
	}
	return max(time.Until(h.expires)/2, m.timing.minRenew)
}

// intact asks the gateway whether it still has what it gave, and tells when it has not. One
// that does not answer is given until the lease ends.
func (m *Mapper) intact(ctx context.Context, h *held) bool {
	exchange, cancel := context.WithTimeout(ctx, m.timing.exchange)
	defer cancel()
	external, ok, err := h.gateway.intact(exchange, h.grants)
	switch {
	case err != nil:
		m.log.Debug("the gateway does not answer", "gateway", h.gateway.address(), "err", err)
	case !ok:
		m.lost(errForgotten)
		return false
	case external.IsValid() && external != h.grants[0].external.Addr():
		// The gateway got another address, with which mappings may or may not have stayed.
		return false
	}
	return true
}

// probe asks by all protocols at once which of them the gateway speaks. The best is waited
// for a little.
func (m *Mapper) probe(ctx context.Context, w way) []gateway {
	ctx, cancel := context.WithTimeout(ctx, m.timing.probe)
	defer cancel()
	answers := make(chan gateway)
	var asking sync.WaitGroup
	answer := func(g gateway) {
		select {
		case answers <- g:
		case <-ctx.Done():
		}
	}
	for _, address := range w.gateways {
		asking.Go(func() {
			if g, err := probePCP(ctx, m.cfg.Network, address); err == nil {
				answer(g)
			}
		})
		asking.Go(func() {
			if g, err := probeNATPMP(ctx, m.cfg.Network, address); err == nil {
				answer(g)
			}
		})
	}
	asking.Go(func() { searchUPnP(ctx, m.cfg.Network, w, answer) })
	go func() {
		asking.Wait()
		close(answers)
	}()
	var found []gateway
	for g := range answers {
		found = append(found, g)
		if g.protocol() == preference[0] {
			defer time.AfterFunc(m.timing.shortGrace, cancel).Stop()
		} else if len(found) == 1 {
			defer time.AfterFunc(m.timing.grace, cancel).Stop()
		}
	}
	slices.SortStableFunc(found, func(a, b gateway) int {
		return slices.Index(preference, a.protocol()) - slices.Index(preference, b.protocol())
	})
	return found
}
