package swarm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/discovery"
	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/client/reach"
	"github.com/causeway-bt/causeway/client/source"
	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/webrtcwire"
	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

const (
	// dialsAtOnce bounds the connection attempts of one swarm.
	dialsAtOnce = 20
	// dialBurst is how many of them may be begun at once, dialsPerSecond how many more as
	// time goes by: thousands of addresses that refuse at once are no work for all of a
	// processor.
	dialBurst      = 50
	dialsPerSecond = 20
	// wantMoreInterval is how often trackers are asked for more peers while there
	// are few.
	wantMoreInterval = 30 * time.Second
	// resolveTimeout bounds looking up the name of a peer given by the user.
	resolveTimeout = 20 * time.Second
	// leaveTimeout is how long trackers have to hear that we leave.
	leaveTimeout = 3 * time.Second
	// handshakeTimeout bounds the exchange of handshakes.
	handshakeTimeout = 20 * time.Second
)

// peerIDPrefix is Causeway's mark in peer ids, in the customary form: CW and four
// digits of the version.
const peerIDPrefix = "-CW0100-"

// NewPeerID returns a peer id as of [Config.PeerID].
func NewPeerID() (id [20]byte) {
	copy(id[:], peerIDPrefix+rand.Text())
	return id
}

// Shared is what the swarms of a client share. What is nil is switched off.
type Shared struct {
	Net        *network.Network
	DHT        *discovery.DHT
	LSD        *discovery.LSD
	WS         *ws.Manager
	RTC        *webrtcwire.Transport
	Dials      *allot.Turns
	Punches    *allot.Turns // dials by which holes are punched
	Encryption transport.Encryption
	UserAgent  string
	// DialUTP connects by uTP (BEP 29).
	DialUTP func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)

	DisableTCP, DisableTrackers, DisableWebTrackers bool
	// Port is where peers of the local network reach us, and Reach knows where others do.
	Port  func() int
	Reach *reach.Reach
}

// classic reports whether the classic swarm can be reached at all: else there is no use in addresses
// of it, nor in ours.
func (s *Shared) classic() bool { return !s.DisableTCP || s.DialUTP != nil }

// Transport is how a peer is connected.
type Transport int

// The transports, the better ones first: uTP costs more of a processor than TCP and yields to
// other traffic, WebRTC costs ten times as much.
const (
	TCP Transport = iota
	UTP
	WebRTC
)

// Classic reports whether a peer is of the classic swarm, and not a browser.
func (t Transport) Classic() bool { return t != WebRTC }

// Conn is a connection whose handshakes are done.
type Conn struct {
	net.Conn
	Swarm     *Swarm // through which it came
	Kind      Transport
	Addr      netip.AddrPort
	Outgoing  bool // we dialled, or made the offer
	Handshake wire.Handshake
}

// Host is the torrent that a Swarm belongs to. Its methods may be called from any
// goroutine, but for Banned.
type Host interface {
	// Do runs f in the event loop, without waiting for it; false: it has ended.
	Do(f func()) bool
	// Go runs f in a goroutine that the torrent waits for; false: it is closing.
	Go(f func()) bool
	// Attach hands a connection over. Unless it fails, the torrent owns it.
	Attach(ctx context.Context, c Conn) error
	// MayJoin says whether a browser with a peer id would be taken, and if not, why.
	MayJoin(s *Swarm, peerID [20]byte) error
	// Connected reports whether a peer id is connected.
	Connected(peerID [20]byte) bool
	// Full reports whether there are connections enough.
	Full() bool
	// Browsers returns how many browsers are connected.
	Browsers() int
	// Private reports whether the torrent is private (BEP 27).
	Private() bool
	// Announced is what announces carry. Left is UnknownLeft while that is not known.
	Announced() tracker.Stats
	// Banned reports, in the event loop, whether a peer is kept away.
	Banned(who *source.Identity) bool
	// Unreached tells, in the event loop, that a candidate could not be connected to.
	Unreached(s *Swarm, addr netip.AddrPort)
	// Wake has the loop look at its timers.
	Wake()
	// TrackerStatus, Alone and Warn tell what happens: an announce, why no browser is
	// connected, and what the user may want to know.
	TrackerStatus(s tracker.Status)
	Alone(reason string)
	Warn(message string)
}

// UnknownLeft is what trackers are told is left while that is not known: they take
// 0 for a seed.
const UnknownLeft = 1<<62 - 1

// Config configures a Swarm.
type Config struct {
	InfoHash [20]byte // of v1, or the first 20 bytes of v2's
	// PeerID is how this client is known in the swarm: another id in each, and in each
	// run, so that nobody can follow it.
	PeerID   [20]byte
	Trackers [][]string // by tier
	Shared   *Shared
	Host     Host
	Logger   *slog.Logger
	// Own are the Limits of this swarm alone.
	Down *allot.Rate
	Up   allot.Upload
}

// Swarm is a torrent's part in a swarm. Its methods belong to the torrent's event
// loop, unless they say otherwise.
type Swarm struct {
	cfg    Config
	shared *Shared
	host   Host
	log    *slog.Logger
	key    uint32 // tells trackers that it is still us when our address changes

	mu       sync.Mutex // guards trackers and added against Magnet
	trackers [][]string
	added    []string // WebSocket trackers that are not the torrent's own

	candidates candidates
	dialling   int
	punching   int
	mayDial    float64 // dials that may be begun
	lastDial   time.Time
	wantMoreAt time.Time
	web        *Web
	dhtNeed    discovery.Need
	running    *running // nil while stopped
}

// running is what a Swarm has between Start and Stop.
type running struct {
	ctx       context.Context
	cancel    context.CancelFunc
	announcer *tracker.Announcer // nil without
	stopDHT   context.CancelFunc // ends DHT and LSD, too
}

// New returns a swarm that is stopped. Public torrents without a WebSocket tracker get
// the default ones, so that browsers can find them.
func New(cfg Config) *Swarm {
	var key [4]byte
	rand.Read(key[:])
	s := &Swarm{
		cfg: cfg, shared: cfg.Shared, host: cfg.Host, log: cfg.Logger,
		key:      binary.BigEndian.Uint32(key[:]),
		trackers: slices.Clone(cfg.Trackers), candidates: newCandidates(),
	}
	if cfg.Shared.RTC != nil && !cfg.Shared.DisableTrackers && !cfg.Shared.DisableWebTrackers && !cfg.Host.Private() {
		own := len(s.trackers)
		s.trackers = WithWebTrackers(s.trackers)
		s.added = slices.Concat(s.trackers[own:]...)
	}
	s.web = newWeb(s)
	return s
}

// InfoHash returns what names the swarm.
func (s *Swarm) InfoHash() [20]byte { return s.cfg.InfoHash }

// PeerID returns how this client is known in the swarm.
func (s *Swarm) PeerID() [20]byte { return s.cfg.PeerID }

// Limits returns the rates of this swarm alone.
func (s *Swarm) Limits() (down *allot.Rate, up allot.Upload) { return s.cfg.Down, s.cfg.Up }

// Trackers returns the trackers that are announced to, by tier. It may be called from
// any goroutine.
func (s *Swarm) Trackers() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.trackers)
}

// Start announces the torrent, and looks for peers. Started already, it does nothing.
func (s *Swarm) Start() {
	if s.running != nil {
		return
	}
	r := &running{}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	s.running = r
	if !s.shared.DisableTrackers {
		r.announcer = tracker.New(tracker.Config{
			Tiers: s.trackers, InfoHash: s.cfg.InfoHash, PeerID: s.cfg.PeerID,
			Port: s.shared.announcedPort, Addr: s.shared.announcedAddr, Key: s.key,
			OnSeen:   func(tracker, seen netip.Addr) { s.shared.Reach.Heard(reach.Tracker, tracker, seen) },
			Stats:    s.host.Announced,
			OnPeers:  func(_ string, speaker netip.Addr, addrs []netip.AddrPort) { s.found(speaker, addrs) },
			OnStatus: s.host.TrackerStatus,
			Network:  s.shared.Net, OneAtATime: s.host.Private(),
			UserAgent: s.shared.UserAgent,
			Logger:    s.log,
		})
	}
	s.web.start(r.ctx)
	if s.host.Private() || !s.shared.classic() {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	r.stopDHT = cancel
	if dht := s.shared.DHT; dht != nil {
		s.host.Go(func() {
			dht.Announce(ctx, s.cfg.InfoHash, s.shared.dhtPort, &s.dhtNeed, s.foundChecked)
		})
	}
	if lsd := s.shared.LSD; lsd != nil {
		s.host.Go(func() {
			lsd.Announce(ctx, s.cfg.InfoHash, s.shared.Port(), s.foundChecked)
		})
	}
}

// Moved has trackers told soon that we are reached elsewhere.
func (s *Swarm) Moved() {
	if s.running != nil && s.running.announcer != nil {
		s.running.announcer.Moved()
	}
}

// Stop ends that: trackers are told that we leave, offers are withdrawn. The channel
// is closed when that is done, after a few seconds at most. Stopped already, it does
// nothing.
func (s *Swarm) Stop() <-chan struct{} {
	left := make(chan struct{})
	r := s.running
	if r == nil {
		close(left)
		return left
	}
	s.running = nil
	web := s.web.stop()
	go func() {
		defer close(left)
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		var leaving sync.WaitGroup
		leaving.Go(web)
		if r.announcer != nil {
			leaving.Go(func() { r.announcer.Close(ctx) })
		}
		leaving.Wait()
	}()
	r.cancel()
	return left
}

// Completed tells the trackers that the download is complete.
func (s *Swarm) Completed() {
	if s.running == nil {
		return
	}
	if s.running.announcer != nil {
		s.running.announcer.Completed()
	}
	s.web.completed()
}

// TurnPrivate leaves a torrent, which was not known to be private, to its own trackers
// (BEP 27): what was found by other ways is forgotten.
func (s *Swarm) TurnPrivate() {
	for _, c := range s.candidates.byAddr {
		if !c.Invited() && !c.dialling && !c.punching && !c.connected {
			s.candidates.forget(c)
		}
	}
	s.removeWebTrackers()
	if s.running == nil {
		return
	}
	if s.shared.WS != nil {
		_, rest := ofOneTracker(s.trackers)
		s.web.leave(rest)
		s.web.warnLeftOut(rest)
	}
	if s.running.stopDHT != nil {
		s.running.stopDHT()
	}
	if s.running.announcer != nil {
		s.running.announcer.OneAtATime()
		s.running.announcer.WantMore()
	}
}

// foundChecked takes in addresses of peers that whoever named them may name. It may be
// called from any goroutine.
func (s *Swarm) foundChecked(addrs []netip.AddrPort) {
	s.host.Do(func() {
		for _, a := range addrs {
			if c, added := s.candidates.add(a, netip.Addr{}, false); added {
				c.origin = discovered
			}
		}
		s.host.Wake()
	})
}

// found takes in addresses of peers that speaker named. It may be called from any
// goroutine.
func (s *Swarm) found(speaker netip.Addr, addrs []netip.AddrPort) {
	s.host.Do(func() {
		added := false
		for _, a := range addrs {
			if c := s.Add(speaker, a); c != nil {
				c.origin, added = tracked, true
			}
		}
		if added {
			s.host.Wake()
		}
	})
}

// Add makes an address known that speaker named. It returns the candidate if that is
// new, and nil for what speaker may not name.
func (s *Swarm) Add(speaker netip.Addr, addr netip.AddrPort) *Candidate {
	if !s.shared.Net.MayName(speaker, addr.Addr()) {
		return nil
	}
	c, added := s.candidates.add(addr, speaker, false)
	if !added {
		return nil
	}
	return c
}

// IsSelf reports whether an address turned out to be our own.
func (s *Swarm) IsSelf(addr netip.AddrPort) bool {
	c := s.candidates.byAddr[addr]
	return c != nil && c.self
}

// Candidate returns what is known of an address, nil if nothing is.
func (s *Swarm) Candidate(addr netip.AddrPort) *Candidate { return s.candidates.byAddr[addr] }

// Tick does what is due, and returns when to look again, zero if nothing will be.
func (s *Swarm) Tick(now time.Time) (again time.Time) {
	if s.running == nil {
		return time.Time{}
	}
	s.web.tellIfAlone(now)
	return s.web.nextTold
}

// AddrPort returns the address of a connection, or the zero one if it has none of the
// kind.
func AddrPort(a net.Addr) netip.AddrPort {
	has, ok := a.(interface{ AddrPort() netip.AddrPort }) // net.TCPAddr, net.UDPAddr
	if !ok {
		return netip.AddrPort{}
	}
	ap := has.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
