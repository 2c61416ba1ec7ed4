package websocket

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

// Config is what a Server needs. Zero values take the defaults, where one is named.
type Config struct {
	// Swarms has the swarms.
	Swarms table.Swarms
	// Sockets holds the connections. Whoever made it closes it.
	Sockets *socket.Server

	// Interval is after how long a peer is to announce again: 2 min. ScrapeInterval is the
	// same of scrapes: 10 min.
	Interval, ScrapeInterval time.Duration
	// MaxOffers is how many offers of one announce are passed on: 20. The others are
	// ignored.
	MaxOffers int
	// MaxTorrents is how many torrents a socket may announce: 5000.
	MaxTorrents int
	// MaxScrape is how many torrents one scrape is answered for: 250. The others are
	// ignored.
	MaxScrape int
	// ProbeWait is how long a socket whose peer id another one announces has to show that
	// it lives: 10 s.
	ProbeWait time.Duration
	// Secret is the key of "tracker id"; the nodes of a cluster need the same. Empty
	// means a random one.
	Secret []byte

	// ICEServers says which STUN and TURN servers a peer is told in "iceServers", when it
	// announces a torrent for the first time over a socket, and each ICEEvery (1 h)
	// from then on. It may be nil, and return nothing.
	ICEServers func(peer table.ID, remote netip.Addr) []ICEServer
	ICEEvery   time.Duration
}

// ICEServer is a STUN or TURN server as WebRTC's RTCIceServer has it.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

func (c Config) withDefaults() Config {
	orDefault(&c.Interval, 2*time.Minute)
	orDefault(&c.ScrapeInterval, 10*time.Minute)
	orDefault(&c.MaxOffers, 20)
	orDefault(&c.MaxTorrents, 5000)
	orDefault(&c.MaxScrape, 250)
	orDefault(&c.ProbeWait, 10*time.Second)
	orDefault(&c.ICEEvery, time.Hour)
	if len(c.Secret) == 0 {
		c.Secret = randomSecret()
	}
	return c
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Stats is what a Server has seen. What its connections did is in socket.Stats.
type Stats struct {
	Announces, Scrapes uint64
	Offers             uint64 // passed on
	Answers            uint64 // passed on
	Lost               uint64 // offers and answers whose socket had gone
	Failures           uint64 // errors that peers were told
	Moved              uint64 // peer ids that moved to another socket by their tracker id
	Contested          uint64 // announces refused because their peer id is another socket's
}

// Server relays between web peers.
type Server struct {
	config Config
	keys   keys
	last   atomic.Uint64 // handle given
	start  time.Time
	peers  registry

	announces, scrapes, offers, answers, lost, failures, moved, contested atomic.Uint64
}

// New makes a Server.
func New(config Config) *Server {
	config = config.withDefaults()
	s := &Server{config: config, start: time.Now(), keys: newKeys(config.Secret)}
	s.peers.init()
	return s
}

// Accept serves the WebSocket that a request asks for (socket.IsUpgrade), from remote, and
// returns while it goes on. Where it cannot, the request is answered with the reason,
// which Accept returns.
func (s *Server) Accept(w http.ResponseWriter, r *http.Request, remote netip.Addr) error {
	return s.config.Sockets.Accept(w, r, remote, func(c *socket.Conn) socket.Handler {
		p := &peer{server: s, conn: c, handle: table.Handle(s.last.Add(1))}
		s.peers.add(p)
		return p
	})
}

// Handler answers requests for WebSockets. remote tells whom a request comes from, as
// server.Server's RemoteAddr does; what it says of proxies does not matter here.
func (s *Server) Handler(remote func(*http.Request) (_ netip.Addr, trusted bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addr, _ := remote(r)
		_ = s.Accept(w, r, addr) // who asks is told what is wrong
	})
}

// Deliver writes a message to a socket of this node, as what Swarms.Send of another node
// was given. It reports whether the socket is there.
func (s *Server) Deliver(to table.Handle, message []byte) bool {
	return s.deliver(nil, to, message)
}

func (s *Server) deliver(b *socket.Batch, to table.Handle, message []byte) bool {
	p := s.peers.get(to)
	if p == nil {
		return false
	}
	p.conn.Send(b, message)
	return true
}

// pass sends a message to a socket, wherever it is.
func (s *Server) pass(b *socket.Batch, to table.Handle, message []byte) bool {
	if to.Here() {
		return s.deliver(b, to, message)
	}
	s.config.Swarms.Send(to, append([]byte(nil), message...))
	return true
}

// Stats counts.
func (s *Server) Stats() Stats {
	return Stats{
		Announces: s.announces.Load(), Scrapes: s.scrapes.Load(),
		Offers: s.offers.Load(), Answers: s.answers.Load(), Lost: s.lost.Load(),
		Failures: s.failures.Load(), Moved: s.moved.Load(), Contested: s.contested.Load(),
	}
}

// registry finds the peers of this node by their handles.
type registry struct{ parts [64]registryPart }

type registryPart struct {
	mu    sync.RWMutex
	peers map[table.Handle]*peer
}

func (r *registry) init() {
	for i := range r.parts {
		r.parts[i].peers = make(map[table.Handle]*peer)
	}
}

func (r *registry) part(h table.Handle) *registryPart {
	return &r.parts[uint64(h)%uint64(len(r.parts))]
}

func (r *registry) add(p *peer) {
	part := r.part(p.handle)
	part.mu.Lock()
	defer part.mu.Unlock()
	part.peers[p.handle] = p
}

func (r *registry) remove(h table.Handle) {
	part := r.part(h)
	part.mu.Lock()
	defer part.mu.Unlock()
	delete(part.peers, h)
}

func (r *registry) get(h table.Handle) *peer {
	part := r.part(h)
	part.mu.RLock()
	defer part.mu.RUnlock()
	return part.peers[h]
}

// retryIn is when a refusal says that it makes sense to ask again; 0 where it does not say.
func retryIn(err error) time.Duration {
	var refusal *table.Refusal
	if errors.As(err, &refusal) && refusal.RetryIn > 0 {
		return refusal.RetryIn
	}
	return 0
}
