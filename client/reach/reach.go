package reach

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/network"
)

const (
	// keepInterval is how often a NAT is shown that its mapping is used, by asking STUN
	// servers: with the 3 s that one may take to answer below the 25 s after which
	// what they said is asked again anyway. NATs forget after 30 s or more.
	keepInterval = 20 * time.Second
	// restInterval is how often they are asked where there is no NAT to remind.
	restInterval = 5 * time.Minute
	// silentInterval is how often they are asked while none answers.
	silentInterval = time.Minute
	// lookInterval is how often the interfaces are looked at: a list of addresses, less
	// than a millisecond.
	lookInterval = 5 * time.Second
)

// Config is what a Reach needs. All but Port may be left out.
type Config struct {
	Port     uint16 // ours, for TCP and UDP alike
	TCP, UTP bool   // what peers may connect by
	// Ask has the STUN servers asked; what they answer is to be told to Reflected. It must not
	// block. Nil: there are none.
	Ask func()
	// Interfaces lists those of this machine; nil: net.Interfaces.
	Interfaces func() ([]net.Interface, error)
	// OnNetwork is called, from one goroutine, when addresses of this machine came or went.
	OnNetwork func()
	// Logger receives debug messages; nil: none.
	Logger *slog.Logger
}

// Reach collects what others tell of how they see us. Its methods may be called from any
// goroutine, and do not block.
type Reach struct {
	cfg  Config
	log  *slog.Logger
	done chan struct{}
	wg   sync.WaitGroup

	mu        sync.Mutex
	v4, v6    family
	local     []netip.Addr
	announced Announced
	changed   chan struct{} // closed, and replaced, when announced changes
}

// New starts to watch the interfaces, and to keep the mapping of a NAT.
func New(cfg Config) *Reach {
	if cfg.Interfaces == nil {
		cfg.Interfaces = net.Interfaces
	}
	if cfg.OnNetwork == nil {
		cfg.OnNetwork = func() {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Reach{cfg: cfg, log: cfg.Logger, done: make(chan struct{}), changed: make(chan struct{})}
	r.announced = Announced{Port4: cfg.Port, Port6: cfg.Port}
	r.local, _ = localAddrs(cfg.Interfaces) // none: they come later
	r.wg.Go(r.watch)
	return r
}

// Close waits for the end of its goroutine.
func (r *Reach) Close() {
	close(r.done)
	r.wg.Wait()
}

// Announced returns what others are to be told, and a channel that is closed when that
// changes.
func (r *Reach) Announced() (Announced, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.announced, r.changed
}

// Entries returns where NATs are known to let the world in to our port.
func (r *Reach) Entries() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	return slices.Concat(
		r.v4.entries(&r.cfg, r.v4.votes.winner(now)),
		r.v6.entries(&r.cfg, r.v6.votes.winner(now)),
	)
}

// Heard takes in that voter sees us at an address. Nobody is believed alone.
func (r *Reach) Heard(kind Kind, voter, seen netip.Addr) {
	seen = seen.Unmap()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of(seen).votes.add(kind, voter, seen, time.Now()) {
		r.update()
	}
}

// Reflected takes in a round of answers of STUN servers that the user trusts.
func (r *Reach) Reflected(answers []Reflection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var v4, v6 []Reflection
	for _, a := range answers {
		if a.Mapped.Addr().Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
		r.of(a.Mapped.Addr()).votes.add(STUN, a.Server.Addr(), a.Mapped.Addr(), time.Now())
	}
	r.v4.stun.take(v4)
	r.v6.stun.take(v6)
	r.update()
}

// Mapped takes in what a gateway passes on to us of IPv4, or of IPv6.
func (r *Reach) Mapped(v4 bool, m Mapping) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v4 {
		r.v4.gateway = m
	} else {
		r.v6.gateway = m
	}
	r.update()
}

// Came takes in that a peer connected to us by TCP. One from the world shows that our own port
// leads to us through a NAT, unless it may have come by the port that a gateway maps.
func (r *Reach) Came(from netip.Addr) {
	if from = from.Unmap(); !network.IsGlobal(from) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.of(from); !f.forwarded && f.gateway.TCP == 0 {
		f.forwarded = true
		r.update()
	}
}

func (r *Reach) of(a netip.Addr) *family {
	if a.Is4() {
		return &r.v4
	}
	return &r.v6
}

// update makes known what has changed. mu is held.
func (r *Reach) update() {
	now := time.Now()
	next := Announced{
		IP4: r.v4.address(r.v4.votes.winner(now)), IP6: r.v6.address(r.v6.votes.winner(now)),
	}
	next.Port4, next.Known4 = r.v4.port(&r.cfg)
	next.Port6, next.Known6 = r.v6.port(&r.cfg)
	if next == r.announced {
		return
	}
	r.log.Debug("where the world reaches us", "ipv4", netip.AddrPortFrom(next.IP4, next.Port4), "ipv6", netip.AddrPortFrom(next.IP6, next.Port6))
	r.announced = next
	close(r.changed)
	r.changed = make(chan struct{})
}

// watch looks at the interfaces, and has the STUN servers asked.
func (r *Reach) watch() {
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for asked := time.Now(); ; {
		select {
		case <-r.done:
			return
		case <-look.C:
		}
		switch moved := r.look(); {
		case moved:
			r.cfg.OnNetwork()
		case time.Since(asked) < r.interval()-lookInterval/2: // another tick is nearer
			continue
		}
		if r.cfg.Ask != nil {
			r.cfg.Ask()
		}
		asked = time.Now()
	}
}

// look reports whether addresses of this machine have come or gone. What was known of the
// network may not hold any more, then.
func (r *Reach) look() (moved bool) {
	local, err := localAddrs(r.cfg.Interfaces)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Equal(local, r.local) {
		return false
	}
	r.log.Debug("the addresses of this machine have changed", "addresses", local)
	for _, f := range []*family{&r.v4, &r.v6} {
		f.votes.clear()
		f.forwarded = false
	}
	r.local = local
	r.update()
	return true
}

// interval is how often STUN servers are asked.
func (r *Reach) interval() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	silent := true
	for _, f := range []*family{&r.v4, &r.v6} {
		seen := f.stun.any
		if seen.IsValid() && !slices.Contains(r.local, seen.Addr()) {
			return keepInterval
		}
		silent = silent && !seen.IsValid()
	}
	if silent {
		return silentInterval
	}
	return restInterval
}
