package discovery

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// lsdInterval is how often a torrent is announced on the local network (BEP 14).
	lsdInterval = 5 * time.Minute
	// lsdRate and lsdBurst bound the announces of all torrents per second.
	lsdRate  = 10
	lsdBurst = 20
	// maxTogether is how many infohashes fit into one announce. Up to lsdBurst of them
	// that are due go one by one all the same: aria2 reads only one of an announce.
	maxTogether = 25
)

// LSDConfig is what local service discovery needs; everything in it may be left out.
type LSDConfig struct {
	// Interfaces are those to announce and listen on; nil means all of Network's that are up
	// and have multicast, and loopback.
	Interfaces []net.Interface
	// Listen are the addresses that peers reach this client at; interfaces that have none of
	// them are left out, and announces come from these. Nil, or an unspecified one
	// of a family, means every address of it.
	Listen []netip.Addr
	// Network opens the sockets and lists the interfaces; nil: see Network. Announces of
	// others need none of its policy: their sender names himself alone.
	Network Network
	// Cookie tells this client's announces from others', which are ignored; empty
	// means a random one.
	Cookie string
	// Logger receives warnings and debug messages; nil means none.
	Logger *slog.Logger

	sockets []lsdSocket // for tests
}

// LSD finds peers on the local network by multicast (BEP 14).
type LSD struct {
	cfg    LSDConfig
	cookie string
	log    *slog.Logger
	guard  guard
	limit  *rate.Limiter
	wg     sync.WaitGroup
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	sockets []lsdSocket // replaced, not changed
	wanted  map[[20]byte]map[*watcher]struct{}
	due     []lsdDue // to be announced, the first first
	wake    chan struct{}
	again   chan struct{} // closed, and replaced, when all is to be announced again
}

// lsdDue is a torrent whose announce is due.
type lsdDue struct {
	infoHash [20]byte
	port     int
}

// lsdSocket is a socket that has joined one of the two groups.
type lsdSocket interface {
	// host is the group as it stands in an announce.
	host() string
	// send sends to the group on every interface.
	send(b []byte) error
	// ReadFrom and Close are those of a net.PacketConn.
	ReadFrom(b []byte) (int, net.Addr, error)
	Close() error
}

// NewLSD joins the groups for IPv4 and IPv6. It fails only when it can join neither on any
// interface, which is worth a warning but no reason to stop: there may be no network.
func NewLSD(cfg LSDConfig) (*LSD, error) {
	l := &LSD{
		cfg:     cfg,
		cookie:  cfg.Cookie,
		log:     cfg.Logger,
		sockets: cfg.sockets,
		limit:   rate.NewLimiter(lsdRate, lsdBurst),
		wanted:  map[[20]byte]map[*watcher]struct{}{},
		wake:    make(chan struct{}, 1),
		again:   make(chan struct{}),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.guard = guard{l.log}
	if l.cookie == "" {
		l.cookie = rand.Text()
	}
	if l.sockets == nil {
		var err error
		if l.sockets, err = l.join(cfg); err != nil {
			return nil, err
		}
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, s := range l.sockets {
		l.wg.Go(func() { l.receive(s) })
	}
	l.wg.Go(l.announce)
	return l, nil
}

// join opens the sockets of both groups.
func (l *LSD) join(cfg LSDConfig) (sockets []lsdSocket, err error) {
	network, interfaces := orPlain(cfg.Network), cfg.Interfaces
	if interfaces == nil {
		interfaces = multicastInterfaces(network)
	}
	var errs []error
	for _, group := range []netip.AddrPort{lsdGroup4, lsdGroup6} {
		s, err := joinGroup(network, group, interfaces, cfg.Listen)
		if err != nil {
			l.log.Debug("cannot join a group for local peers", "group", group, "err", err)
			errs = append(errs, err)
			continue
		}
		sockets = append(sockets, s)
	}
	if len(sockets) == 0 {
		return nil, errors.Join(errs...)
	}
	return sockets, nil
}

// Rejoin joins the groups on the interfaces that there are now, and announces all torrents
// again there. It is for when addresses of this machine have come or gone.
func (l *LSD) Rejoin() {
	sockets, err := l.join(l.cfg)
	if err != nil {
		l.log.Debug("no group for local peers can be joined any more", "err", err)
		return // the old ones may serve again
	}
	l.mu.Lock()
	old := sockets
	if !l.closed {
		old, l.sockets = l.sockets, sockets
		for _, s := range sockets {
			l.wg.Go(func() { l.receive(s) })
		}
		close(l.again)
		l.again = make(chan struct{})
	}
	l.mu.Unlock()
	for _, s := range old {
		s.Close()
	}
}

// joined returns the sockets, and a channel that is closed when there are others.
func (l *LSD) joined() ([]lsdSocket, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sockets, l.again
}

// Announce makes this peer known on the local network at once and then every five
// minutes, and hands the peers that do the same to found, until ctx ends or the LSD
// is closed. The same peer may come again.
func (l *LSD) Announce(ctx context.Context, infoHash [20]byte, port int, found func([]netip.AddrPort)) {
	defer l.watch(infoHash, found)()
	ticker := time.NewTicker(lsdInterval)
	defer ticker.Stop()
	for {
		_, again := l.joined()
		l.enqueue(lsdDue{infoHash, port})
		select {
		case <-ctx.Done():
			return
		case <-l.ctx.Done():
			return
		case <-again:
		case <-ticker.C:
		}
	}
}

func (l *LSD) enqueue(d lsdDue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = append(l.due, d)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// announce sends what is due, no faster than lsdRate.
func (l *LSD) announce() {
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.wake:
		}
		for more := true; more && l.limit.Wait(l.ctx) == nil; {
			var port int
			var infoHashes [][20]byte
			port, infoHashes, more = l.next()
			if len(infoHashes) == 0 {
				break
			}
			sockets, _ := l.joined()
			for _, s := range sockets {
				if err := s.send(lsdAnnounce{host: s.host(), port: port, infoHashes: infoHashes, cookie: l.cookie}.encode()); err != nil {
					l.log.Debug("cannot announce on the local network", "group", s.host(), "err", err)
				}
			}
		}
	}
}

// next takes what goes into one announce from those that are due, and forgets those
// that nobody wants any more. It tells whether more are due.
func (l *LSD) next() (port int, infoHashes [][20]byte, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = slices.DeleteFunc(l.due, func(d lsdDue) bool { return l.wanted[d.infoHash] == nil })
	n := 0
	for n < len(l.due) && n < maxTogether && l.due[n].port == l.due[0].port {
		n++
	}
	if len(l.due) <= lsdBurst {
		n = min(n, 1)
	}
	for _, d := range l.due[:n] {
		port, infoHashes = d.port, append(infoHashes, d.infoHash)
	}
	l.due = slices.Delete(l.due, 0, n)
	return port, infoHashes, len(l.due) > 0
}

// Close leaves the groups and waits for the goroutines.
func (l *LSD) Close() {
	l.mu.Lock()
	l.closed = true
	sockets := l.sockets
	l.mu.Unlock()
	l.cancel()
	for _, s := range sockets {
		s.Close()
	}
	l.wg.Wait()
}

func (l *LSD) watch(infoHash [20]byte, found func([]netip.AddrPort)) (stop func()) {
	w := &watcher{found}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wanted[infoHash] == nil {
		l.wanted[infoHash] = map[*watcher]struct{}{}
	}
	l.wanted[infoHash][w] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.wanted[infoHash], w)
		if len(l.wanted[infoHash]) == 0 {
			delete(l.wanted, infoHash)
		}
	}
}

func (l *LSD) receive(s lsdSocket) {
	b := make([]byte, maxLSDMessage+1)
	for {
		n, from, err := s.ReadFrom(b)
		if l.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-l.ctx.Done():
				return
			case <-time.After(readErrorPause):
			}
			continue
		}
		if addr, ok := from.(*net.UDPAddr); ok {
			l.guard.run("reading an announce of a local peer", func() {
				l.handle(b[:n], addr.AddrPort().Addr().Unmap())
			})
		}
	}
}

func (l *LSD) handle(b []byte, from netip.Addr) {
	a, err := parseLSDAnnounce(b)
	if err != nil {
		l.log.Debug("not an announce of a local peer", "from", from, "err", err)
		return
	}
	if a.cookie == l.cookie {
		return
	}
	peer := []netip.AddrPort{netip.AddrPortFrom(from, uint16(a.port))}
	for _, infoHash := range a.infoHashes {
		for _, w := range l.watchersOf(infoHash) {
			w.found(peer)
		}
	}
}

func (l *LSD) watchersOf(infoHash [20]byte) (watchers []*watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.wanted[infoHash] {
		watchers = append(watchers, w)
	}
	return watchers
}
