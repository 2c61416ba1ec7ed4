package portmap

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Network is how a Mapper reaches the gateway.
type Network interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Interfaces() ([]net.Interface, error)
	// Bound is the address that everything of a family comes from, zero if the system
	// chooses.
	Bound(v4 bool) netip.Addr
	// Outgoing is the address by which the world would be reached in a family.
	Outgoing(v4 bool) (netip.Addr, error)
}

// Config configures a Mapper.
type Config struct {
	Network Network
	Port    uint16 // ours; the gateway is asked for the same
	TCP     bool   // it is mapped for TCP, too, beside UDP
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
	nonce  nonce
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
		cfg: cfg, log: cfg.Logger, timing: defaultTiming, nonce: newNonce(), done: make(chan struct{}),
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

// failed tells why there is no mapping. A mapping that was lost stays lost where no gateway
// answers any more, but not where none is needed.
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
	case before.State != Lost || !errors.Is(err, ErrNoGateway):
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
