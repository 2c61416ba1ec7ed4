package ws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

const (
	// MaxOffers is the most offers sent in one announce; aquatic takes no more.
	MaxOffers = 10

	// maxAnnouncing bounds the announces that are prepared at the same time: each
	// may make MaxOffers offers.
	maxAnnouncing = 8

	// maxAnswering bounds the offers that are answered at the same time.
	maxAnswering = 32

	// offerRate and offerBurst bound the offers answered per second, for all
	// torrents together. In a swarm in balance a torrent receives about as many
	// as it sends: 5 to 10 in two minutes.
	offerRate  = 50
	offerBurst = 100

	// stopTimeout bounds the wait for "stopped" to leave when a handle closes.
	stopTimeout = 2 * time.Second
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("tracker/ws: closed")

// Config configures a Manager. Nothing in it is required.
type Config struct {
	// Network is how trackers are reached. Nil: package net, with proxies from the
	// environment.
	Network tracker.Network

	// UserAgent is sent when connecting, if not empty.
	UserAgent string

	// Dial replaces the way connections are made, for tests.
	Dial func(ctx context.Context, url string) (Conn, error)

	// Logger hears of connections made and lost. Nil: silence.
	Logger *slog.Logger
}

// Conn is a WebSocket connection as this package needs it. Methods except Close
// may block until ctx ends; Write and Ping are called while Read blocks.
type Conn interface {
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, message []byte) error
	Ping(ctx context.Context) error
	Close() error
}

// Offer is a WebRTC offer of ours.
type Offer struct {
	ID  ID
	SDP string
}

// Progress is what an announce says about us, in bytes.
type Progress struct {
	Uploaded, Downloaded int64
	Left                 int64 // negative: not known, there is no metadata yet
}

// Torrent is what a Manager must know of a torrent. Its methods are called from
// several goroutines, and those without a context must not block.
type Torrent interface {
	InfoHash() ID
	Progress() Progress

	// PeerID is ours in this torrent. It stays the same while the torrent is added,
	// and should be another for each torrent, so that it does not tell a tracker or
	// browsers which torrents are one client's.
	PeerID() ID

	// WantOffers says how many offers to send with an announce: 5 to MaxOffers
	// while peers are wanted, 0 when there are enough.
	WantOffers() int

	// Offers returns up to n offers, before ctx ends. Offers that nobody has
	// answered yet may be returned again, also for another tracker: whoever
	// answers first has it.
	Offers(ctx context.Context, n int) []Offer

	// Answer returns the answer to a peer's offer, before ctx ends, which is also
	// when the torrent is removed. An error only means that none is sent.
	Answer(ctx context.Context, peer, offer ID, sdp string) (string, error)

	// Answered delivers a peer's answer to an offer of ours. There may be none
	// with that id, or it may have been answered before.
	Answered(peer, offer ID, sdp string)

	// Status reports what became of an announce, when that is not what was reported
	// before, and at most once a second.
	Status(Status)
}

// Status is a tracker's state for one torrent.
type Status struct {
	URL string

	// Err says why there is no contact, or what the tracker refused; nil: ok.
	Err error

	// Warning is the tracker's own words, with Err nil.
	Warning string

	// Seeds and Leeches are what the tracker counts, ourselves included;
	// Interval is its time between announces.
	Seeds, Leeches int
	Interval       time.Duration

	// Offers is how many offers the last announce carried.
	Offers int
}

// equal compares errors by their text: each attempt to connect makes a new one.
func (s Status) equal(other Status) bool {
	if (s.Err == nil) != (other.Err == nil) || s.Err != nil && s.Err.Error() != other.Err.Error() {
		return false
	}
	s.Err, other.Err = nil, nil
	return s == other
}

// Manager holds one connection for each tracker URL. Its methods may be used from
// any goroutine.
type Manager struct {
	config Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	announcing chan struct{} // slots
	answering  chan struct{} // slots
	offers     *rate.Limiter

	mu      sync.Mutex
	closed  bool
	sockets map[string]*socket // by normalized URL
}

// New starts a Manager; nothing is connected until a torrent is added.
func New(config Config) *Manager {
	if config.Network == nil {
		config.Network = reach.System{}
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{
		config:     config,
		announcing: make(chan struct{}, maxAnnouncing),
		answering:  make(chan struct{}, maxAnswering),
		offers:     rate.NewLimiter(offerRate, offerBurst),
		sockets:    map[string]*socket{},
	}
	if m.config.Dial == nil {
		m.config.Dial = m.dial
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// Add announces torrent to the tracker at rawURL (ws:// or wss://), now and at the
// tracker's interval, until the handle is closed. White space around rawURL does not
// matter. A torrent may be added once for each tracker.
func (m *Manager) Add(rawURL string, torrent Torrent) (*Handle, error) {
	key, err := normalize(rawURL)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.socket(key)
	if err != nil {
		return nil, err
	}
	h := newHandle(s, torrent, reach.Trim(rawURL))
	if !s.add(h) {
		s.users--
		h.cancel()
		return nil, fmt.Errorf("tracker/ws: %x is announced to %s already", h.hash, key)
	}
	return h, nil
}

// socket returns the socket of a URL with one more user; m.mu is held.
func (m *Manager) socket(key string) (*socket, error) {
	if m.closed {
		return nil, ErrClosed
	}
	s := m.sockets[key]
	if s == nil {
		s = newSocket(m, key)
		m.sockets[key] = s
		m.wg.Go(s.run)
	}
	s.users++
	return s, nil
}

// release ends one use of a socket, and the socket with its last.
func (m *Manager) release(s *socket) {
	m.mu.Lock()
	s.users--
	last := s.users == 0
	if last && m.sockets[s.url] == s {
		delete(m.sockets, s.url)
	}
	m.mu.Unlock()
	if last {
		s.cancel()
	}
}

// Close says "stopped" for every torrent, closes all connections and waits for
// all goroutines.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	var handles []*Handle
	for _, s := range m.sockets {
		handles = append(handles, s.list()...)
	}
	m.mu.Unlock()
	var wg sync.WaitGroup
	for _, h := range handles {
		wg.Go(func() { _ = h.Close() }) // never fails
	}
	wg.Wait()
	m.cancel()
	m.wg.Wait()
	return nil
}

// spawn runs f, which is about what the tracker at url sends, in a goroutine that Close
// waits for. A panic ends f.
func (m *Manager) spawn(url string, f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.wg.Go(func() { _ = reach.Guard(m.config.Logger, url, f) }) // which is logged
	}
}

// normalize makes the spellings of one tracker's URL equal: only the host's case, and
// whether an empty path is written, do not matter.
func normalize(raw string) (string, error) {
	u, err := reach.ParseURL(raw, "ws", "wss")
	if err != nil {
		return "", fmt.Errorf("tracker %s: %w", reach.Words(raw), err)
	}
	u.Host = strings.ToLower(u.Host)
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String(), nil
}

// jitter returns between 80 and 100 % of d, so that peers that lost a tracker at
// the same moment do not return together.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Float64()*float64(d)/5)
}
