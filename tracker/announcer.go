package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// Stats are the counters that an announce carries, in bytes. Left is what is
// missing; a large positive number while that is unknown, since 0 means a seed.
type Stats struct{ Uploaded, Downloaded, Left int64 }

// Status is what a tracker last answered. One whose host has IPv4 and IPv6 addresses
// is announced to over both, and OK if either works.
type Status struct {
	URL     string
	OK      bool
	Seeds   int       // complete peers, as the tracker counts them
	Leeches int       // incomplete peers
	Message string    // a warning of the tracker's when OK, else what went wrong, in words
	Next    time.Time // when it will be announced to again; zero: not at all
}

// Network is the way to the outside world: *net.Dialer's DialContext for networks tcp,
// tcp4, tcp6, udp4 and udp6, *net.Resolver's LookupNetIP, a transport whose proxy and
// TLS settings are used, and which addresses a speaker (the zero Addr: an unknown
// stranger) may send us to.
type Network = reach.Network

// Config is what an Announcer needs. Tiers, InfoHash, PeerID and Stats must
// be set; the callbacks may be nil. Callbacks are called from the announcer's
// goroutines, several at a time but one at a time for each tracker, and must return
// soon.
type Config struct {
	// Tiers are announce URLs as in BEP 12. White space around them does not matter.
	// Duplicates and WebSocket trackers are passed over; OnStatus hears of one that
	// cannot be used.
	Tiers    [][]string
	InfoHash [20]byte
	PeerID   [20]byte
	// Port is where peers can connect, TCP and UDP, over IPv4 or over IPv6. It is asked before
	// each announce: see Moved. Nil: peers cannot.
	Port func(v4 bool) uint16
	// Addr is the address of this peer in a family, as the world sees it, for HTTP trackers
	// that have the other one only (BEP 7); nil, or a zero Addr: not known.
	Addr func(v4 bool) netip.Addr
	// OnSeen is told which address a tracker sees us at (BEP 24); nil: nobody is.
	OnSeen func(tracker, seen netip.Addr)
	// Key identifies this client to a tracker when its address changes (BEP 7, BEP
	// 15). It must not follow from what is public, as the peer id is.
	Key uint32
	// OneAtATime is for private torrents (BEP 27): see Announcer.OneAtATime.
	OneAtATime bool
	// Stats is asked before each announce.
	Stats func() Stats
	// NumWant is asked before each announce for how many peers are wanted; nil
	// means 50.
	NumWant func() int
	// OnPeers receives the peers of each answer, at most 1000 of each kind of
	// address. speaker is the address of the tracker that names them; the zero Addr
	// if a proxy hides it.
	OnPeers func(url string, speaker netip.Addr, peers []netip.AddrPort)
	// OnStatus is told when what a tracker answers has changed; a change of Next
	// alone is not told.
	OnStatus func(Status)
	// Network is how trackers are reached; nil means package net, with proxies from
	// the environment.
	Network Network
	// UserAgent is sent to HTTP trackers.
	UserAgent string
	// Logger receives debug messages; nil means none.
	Logger *slog.Logger

	trip http.RoundTripper // for tests: stands in for the network of HTTP trackers
}

const (
	// defaultNumWant is what most clients ask for, and many trackers' limit.
	defaultNumWant = 50
	// maxTrackers bounds the trackers of one torrent; what a torrent file or
	// magnet link lists beyond that is passed over.
	maxTrackers = 200
)

// Announcer announces one torrent to its trackers until it is closed.
//
// Each tier is announced to on its own: the first tracker in it that answers, in
// the order of BEP 12 (shuffled once; one that works moves to the front). BEP 12
// would leave the later tiers alone while an earlier one works. Here all tiers are
// used, since magnet links and --tracker put each tracker in a tier of its own and
// their users expect every one of them to be asked. Private torrents have one tracker
// at a time.
type Announcer struct {
	outside
	cfg  Config
	wake chan struct{}

	ctx      context.Context // of the scheduling
	cancel   context.CancelFunc
	work     context.Context // of announces
	stopWork context.CancelCauseFunc
	wg       sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	completed bool
	one       bool
	lines     []*line
	known     map[string]bool
	unusable  []Status // to be told
}

// trackerSchemes are those of the trackers that an Announcer announces to.
var trackerSchemes = []string{"http", "https", "udp", "udp4", "udp6"}

// IsWebSocket says whether a tracker's URL has the scheme ws or wss. An Announcer
// passes such trackers over.
func IsWebSocket(announceURL string) bool {
	scheme, _, found := strings.Cut(reach.Trim(announceURL), ":")
	return found && (strings.EqualFold(scheme, "ws") || strings.EqualFold(scheme, "wss"))
}

// New starts to announce at once.
func New(cfg Config) *Announcer {
	a := &Announcer{
		cfg: cfg, one: cfg.OneAtATime, known: map[string]bool{}, wake: make(chan struct{}, 1),
		outside: outside{net: cfg.Network, log: cfg.Logger, userAgent: cfg.UserAgent, trip: cfg.trip},
	}
	if a.cfg.Port == nil {
		a.cfg.Port = func(bool) uint16 { return 0 }
	}
	if a.net == nil {
		a.net = reach.System{}
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.work, a.stopWork = context.WithCancelCause(context.Background())
	for _, urls := range cfg.Tiers {
		urls = slices.Clone(urls)
		rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
		a.addTier(urls)
	}
	a.wg.Go(a.run)
	return a
}

// AddTracker adds a tracker as a tier of its own and announces to it, when its turn
// comes if there is one at a time. One that is known already, or a WebSocket tracker,
// is passed over.
func (a *Announcer) AddTracker(announceURL string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.addTier([]string{announceURL})
		a.poke()
	}
}

// parseURL reads the URL of an HTTP or UDP tracker.
func parseURL(raw string) (*url.URL, error) {
	u, err := reach.ParseURL(raw, trackerSchemes...)
	if err == nil && strings.HasPrefix(u.Scheme, "udp") && u.Port() == "" {
		return nil, errors.New("the URL of a UDP tracker needs a port")
	}
	return u, err
}

// addTier adds a tier; mu is held, or nobody else has a.
func (a *Announcer) addTier(urls []string) {
	var tier []*trackerState
	for _, raw := range urls {
		name := reach.Trim(raw)
		if a.known[name] || IsWebSocket(name) {
			continue
		}
		u, err := parseURL(name)
		if err == nil && len(a.known) >= maxTrackers {
			err = fmt.Errorf("left out: a torrent has at most %d trackers", maxTrackers)
		}
		if err != nil {
			a.log.Debug("tracker cannot be used", "url", name, "err", err)
			a.unusable = append(a.unusable, Status{URL: name, Message: err.Error()})
			continue
		}
		a.known[name] = true
		tier = append(tier, &trackerState{name: name, url: u, routes: map[family]*route{}})
	}
	if len(tier) == 0 {
		return
	}
	if a.one && len(a.lines) > 0 {
		a.lines[0].extend(tier)
		return
	}
	a.lines = append(a.lines, &line{trackers: tier, next: time.Now()})
}

// RemoveTrackers stops announcing to trackers, which hear that this peer leaves. What
// is not known is passed over.
func (a *Announcer) RemoveTrackers(urls ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	for _, raw := range urls {
		name := reach.Trim(raw)
		delete(a.known, name)
		for _, l := range a.lines {
			if tr := l.remove(name); tr != nil {
				a.leave(tr)
			}
		}
	}
	a.lines = slices.DeleteFunc(a.lines, func(l *line) bool { return len(l.trackers) == 0 })
	a.poke()
}

// OneAtATime has only one tracker of all tiers announced to from now on, and the next
// only when that one fails, as private torrents want it (BEP 27). The tracker that is
// kept is the first that has answered; the others, and later one that is switched
// from, hear that this peer leaves.
func (a *Announcer) OneAtATime() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.one {
		return
	}
	a.one = true
	if len(a.lines) == 0 {
		return
	}
	kept, rest := a.merge()
	a.lines = []*line{kept}
	for _, tr := range rest {
		a.leave(tr)
	}
	a.poke()
}

// Completed tells the trackers that the download has just completed. It is not for
// torrents that were complete from the start.
func (a *Announcer) Completed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.completed = true
	for _, l := range a.lines {
		if l.running == nil && !l.ok {
			l.trackers[0].wasIncomplete = true // its turn had not come yet
		}
	}
	a.poke()
}

// WantMore asks for more peers: each tier announces as soon as its tracker's minimum
// interval has passed since the last time, which is its interval if it gave no
// minimum, and 60 s if it gave neither.
func (a *Announcer) WantMore() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lines {
		l.more = true
	}
	a.poke()
}

// Moved has trackers told soon that Port or Addr has changed: at once, but not more often than
// each minute. Those that were not reached hear of it when they are.
func (a *Announcer) Moved() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lines {
		l.moved = true
	}
	a.poke()
}

// poke has the schedule looked at again.
func (a *Announcer) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
