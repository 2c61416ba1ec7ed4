package peerjs

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

// Config is what a Server needs. Zero values take the defaults, where one is named.
type Config struct {
	// Sockets holds the connections. Whoever made it closes it, after the Server.
	Sockets *socket.Server
	// Key is what clients have to say: "peerjs".
	Key string
	// Expire is how long a message to a name that nobody has waits: 5 s.
	Expire time.Duration
	// Alive is how long a client may be without a HEARTBEAT or anything else: 90 s. Clients send
	// one each 5 s.
	Alive time.Duration
	// MaxClients is how many names there may be: 5000 as in peer.
	MaxClients int
	// Messages that wait are bounded in number for a name: 50, from a sender: 200; and
	// in bytes, all of them together: 16 MiB. One too many expires at once.
	MaxWaitingFor, MaxWaitingFrom int
	MaxWaitingBytes               int
}

func (c Config) withDefaults() Config {
	orDefault(&c.Key, "peerjs")
	orDefault(&c.Expire, 5*time.Second)
	orDefault(&c.Alive, 90*time.Second)
	orDefault(&c.MaxClients, 5000)
	orDefault(&c.MaxWaitingFor, 50)
	orDefault(&c.MaxWaitingFrom, 200)
	orDefault(&c.MaxWaitingBytes, 16<<20)
	return c
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Bounds of what clients choose. Names of the npm packages have up to 36 characters, tokens 11.
const (
	maxName  = 128
	maxToken = 128
)

// Stats is what a Server has and has seen.
type Stats struct {
	Clients int // names in use
	Waiting int // messages to names that nobody has

	Passed  uint64 // messages passed on
	Expired uint64 // messages whose name nobody came with
	Taken   uint64 // clients that wanted a name of another
}

// Server introduces clients to each other by their names.
type Server struct {
	config Config
	stop   chan struct{}
	done   chan struct{}
	once   sync.Once

	mu      sync.Mutex
	clients map[string]*client
	waiting waiting
	stats   Stats
}

// New starts a Server.
func New(config Config) *Server {
	s := &Server{
		config: config.withDefaults(), clients: make(map[string]*client),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.waiting.init(&s.config)
	go s.tick()
	return s
}

// Close ends what runs by itself. Sockets are closed by who made them.
func (s *Server) Close() {
	s.once.Do(func() { close(s.stop) })
	<-s.done
}

// Stats counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Clients, st.Waiting = len(s.clients), s.waiting.count
	return st
}

// Handler answers requests for /peerjs and what is below. remote tells whom a request comes
// from, as server.Server's RemoteAddr does.
func (s *Server) Handler(remote func(*http.Request) (_ netip.Addr, trusted bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addr, _ := remote(r)
		s.Serve(w, r, addr)
	})
}

// Serve answers a request for a path that begins with /peerjs.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, remote netip.Addr) {
	rest, _ := strings.CutPrefix(strings.TrimSuffix(r.URL.Path, "/"), "/peerjs")
	if socket.IsUpgrade(r) {
		if rest != "" && rest != "/peerjs" {
			http.NotFound(w, r)
			return
		}
		_ = s.config.Sockets.Accept(w, r, remote, func(c *socket.Conn) socket.Handler { return s.open(c, r) })
		return
	}
	allowAnyOrigin(w, r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "GET, HEAD or OPTIONS", http.StatusMethodNotAllowed)
		return
	}
	s.page(w, r, rest)
}

// allowAnyOrigin lets pages of other sites ask (CORS), as peer does.
func allowAnyOrigin(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		origin = "*"
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Vary", "Origin")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
			h.Set("Access-Control-Allow-Headers", asked)
		}
	}
}

func (s *Server) page(w http.ResponseWriter, r *http.Request, rest string) {
	rest = strings.TrimPrefix(rest, "/"+s.config.Key+"/") // of /peerjs/peerjs/id
	switch strings.TrimPrefix(rest, "/") {
	case "id":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = fmt.Fprint(w, s.newName())
	case "peers": // the list of all names, which peer keeps to itself too unless told otherwise
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case "":
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = fmt.Fprint(w, `{"name":"PeerJS Server","description":"A server side element to broker connections between PeerJS clients.","website":"https://peerjs.com/"}`)
	default:
		http.NotFound(w, r)
	}
}

// newName is a random name that nobody has: a UUID (RFC 9562, version 4), as peer gives.
func (s *Server) newName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0F | 0x40
	b[8] = b[8]&0x3F | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// tickEvery is how often it is looked whose time is over.
const tickEvery = 250 * time.Millisecond

func (s *Server) tick() {
	defer close(s.done)
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-ticker.C:
			s.expire(now)
			s.dropSilent(now)
		}
	}
}
