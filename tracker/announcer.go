package tracker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Stats are the counters that an announce carries, in bytes. Left is what is
// missing; a large positive number while that is unknown, since 0 means a seed.
type Stats struct{ Uploaded, Downloaded, Left int64 }

// Status is what a tracker last answered.
type Status struct {
	URL     string
	OK      bool
	Seeds   int       // complete peers, as the tracker counts them
	Leeches int       // incomplete peers
	Message string    // a warning of the tracker's when OK, else what went wrong
	Next    time.Time // when it will be announced to again
}

// Config is what an Announcer needs. Tiers, InfoHash, PeerID, Port and Stats must
// be set; the callbacks may be nil. Callbacks are called from the announcer's
// goroutines, one at a time for each tier, and must return soon.
type Config struct {
	// Tiers are announce URLs as in BEP 12. Duplicates and WebSocket trackers are
	// passed over.
	Tiers    [][]string
	InfoHash [20]byte
	PeerID   [20]byte
	// Port is where peers can connect, TCP and UDP.
	Port uint16
	// Key identifies this client to a tracker when its address changes.
	Key uint32
	// Stats is asked before each announce.
	Stats func() Stats
	// NumWant is asked before each announce for how many peers are wanted; nil
	// means 50.
	NumWant func() int
	// OnPeers receives the peers of each answer, at most 1000.
	OnPeers func(url string, peers []netip.AddrPort)
	// OnStatus is told when what a tracker answers has changed; a change of Next
	// alone is not told.
	OnStatus func(Status)
	// HTTPClient replaces the default one. Its redirects are not bounded here.
	HTTPClient *http.Client
	// UserAgent is sent to HTTP trackers.
	UserAgent string
	// Logger receives debug messages; nil means none.
	Logger *slog.Logger
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
// their users expect every one of them to be asked.
type Announcer struct {
	cfg    Config
	http   *http.Client
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	completed bool
	tiers     []*tier
	known     map[string]bool
}

// IsWebSocket says whether a tracker's URL has the scheme ws or wss. An Announcer
// passes such trackers over.
func IsWebSocket(announceURL string) bool {
	u, err := url.Parse(announceURL)
	return err == nil && (strings.EqualFold(u.Scheme, "ws") || strings.EqualFold(u.Scheme, "wss"))
}

// New starts to announce at once.
func New(cfg Config) *Announcer {
	a := &Announcer{cfg: cfg, http: cfg.HTTPClient, log: cfg.Logger, known: map[string]bool{}}
	if a.http == nil {
		a.http = newHTTPClient()
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	for _, urls := range cfg.Tiers {
		urls = slices.Clone(urls)
		rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
		a.addTier(urls)
	}
	return a
}

// AddTracker adds a tracker as a tier of its own and announces to it. One that is
// known already, or a WebSocket tracker, is passed over.
func (a *Announcer) AddTracker(announceURL string) { a.addTier([]string{announceURL}) }

// Completed tells the trackers that the download has just completed. It is not for
// torrents that were complete from the start.
func (a *Announcer) Completed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.completed = true
	for _, t := range a.tiers {
		t.poke(t.completed)
	}
}

// WantMore asks for more peers: each tier announces as soon as its tracker's
// minimum interval, or 60 s if it gave none, has passed since the last time.
func (a *Announcer) WantMore() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tiers {
		t.poke(t.more)
	}
}

// Close tells the trackers that have answered that this peer is leaving, until ctx
// ends, and waits for all goroutines. Calling it again does nothing.
func (a *Announcer) Close(ctx context.Context) {
	a.mu.Lock()
	already := a.closed
	a.closed = true
	a.mu.Unlock()
	if already {
		return
	}
	a.cancel()
	a.wg.Wait()
	var wg sync.WaitGroup
	for _, t := range a.tiers {
		for _, tr := range t.trackers {
			if tr.started {
				wg.Go(func() { a.sayStopped(ctx, tr) })
			}
		}
	}
	wg.Wait()
	if a.cfg.HTTPClient == nil {
		a.http.CloseIdleConnections()
	}
}

func (a *Announcer) sayStopped(ctx context.Context, tr *trackerState) {
	if _, err := a.announce(ctx, tr, eventStopped); err != nil {
		a.log.Debug("tracker did not take our leave", "url", tr.url, "err", err)
	}
}

func (a *Announcer) addTier(urls []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	t := newTier(a)
	for _, u := range urls {
		if a.known[u] || len(a.known) >= maxTrackers || IsWebSocket(u) {
			continue
		}
		a.known[u] = true
		t.trackers = append(t.trackers, &trackerState{url: u})
	}
	if len(t.trackers) == 0 {
		return
	}
	a.tiers = append(a.tiers, t)
	a.wg.Go(t.run)
}

func (a *Announcer) isCompleted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.completed
}
