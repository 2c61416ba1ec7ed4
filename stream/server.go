package stream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/stream/access"
)

// Defaults of Config.
const (
	// DefaultAhead rides out the usual gaps (a peer that leaves, an interval
	// of choking) without fetching much that a seek then makes useless.
	DefaultAhead = 30 * time.Second
	// DefaultMaxResponses is many times what a household's players open.
	DefaultMaxResponses = 256
	// DefaultClientTimeout is an hour: a paused player reads nothing for as long
	// as the pause lasts, and should go on where it was.
	DefaultClientTimeout = time.Hour
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	// maxConnsPerResponse leaves room for kept-alive connections beside those
	// that are being answered.
	maxConnsPerResponse = 2
)

// Config says what is served, and to whom. Only Torrents is required.
type Config struct {
	// Torrents returns the torrents with known metadata, in display order.
	Torrents func() []Torrent
	// Pending, if set, knows the torrents by their infohash whose metadata is still
	// being fetched: their URLs are answered with 503, to be asked for again.
	Pending func(infohash string) bool

	// Listen is the address listened on, which is then allowed as a Host.
	Listen net.Addr
	// Hosts are further names allowed as a Host.
	Hosts []string
	// Token must come with every request unless it is empty.
	Token string
	// Origins are the web origins (https://site.example) whose pages may read
	// files; nil means any, as a BEP 19 web seed needs. Other pages than files
	// are open to the named origins only.
	Origins []string

	// Ahead is how much playing time is wanted ahead of each reader.
	Ahead time.Duration
	// MaxResponses bounds the file responses open at once; more get 503.
	MaxResponses int
	// ClientTimeout ends a response whose client has accepted nothing for so long.
	ClientTimeout time.Duration
	// Logger defaults to none.
	Logger *slog.Logger
}

// Server is an http.Handler over torrents' files. Create it with New, end it
// with Close.
type Server struct {
	cfg     Config
	log     *slog.Logger
	handler http.Handler
	slots   chan struct{}
	readers readerTable
	rates   bitrates

	ctx    context.Context // ends at Close
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	serves []*http.Server
	wg     sync.WaitGroup // requests and bitrate probes
}

var _ http.Handler = (*Server)(nil)

// New returns a server; it does not listen yet.
func New(cfg Config) *Server {
	if cfg.Ahead <= 0 {
		cfg.Ahead = DefaultAhead
	}
	if cfg.MaxResponses <= 0 {
		cfg.MaxResponses = DefaultMaxResponses
	}
	if cfg.ClientTimeout <= 0 {
		cfg.ClientTimeout = DefaultClientTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Logger, slots: make(chan struct{}, cfg.MaxResponses)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.rates.start = s.probe
	guard := access.New(cfg.Listen, cfg.Token, cfg.Hosts...)
	s.handler = guard.Wrap(http.HandlerFunc(s.route))
	return s
}

// ServeHTTP answers one request, unless the server is closed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		http.Error(w, "the server is shutting down", http.StatusServiceUnavailable)
		return
	}
	defer s.wg.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	s.handler.ServeHTTP(w, r.WithContext(ctx))
}

// begin counts a goroutine that Close waits for; the caller calls wg.Done.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}

// Serve accepts connections until Close, then returns nil. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	limited := newLimitListener(ln, maxConnsPerResponse*s.cfg.MaxResponses)
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         limited.connState,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// No WriteTimeout: a film lasts for hours. See Config.ClientTimeout.
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ln.Close()
	}
	s.serves = append(s.serves, server)
	s.mu.Unlock()
	if err := server.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends all responses and waits until nothing of them is left.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	serves := s.serves
	s.serves = nil
	s.mu.Unlock()
	s.cancel()
	var errs []error
	for _, server := range serves {
		errs = append(errs, server.Close())
	}
	s.wg.Wait()
	return errors.Join(errs...)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // addresses may hold the token
	if !s.checkOrigin(w, r, isFileURL(r.URL.Path)) {
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		h.Set("Allow", allowedMethods)
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", allowedMethods)
		http.Error(w, "only "+allowedMethods+" are served", http.StatusMethodNotAllowed)
		return
	}
	switch p := r.URL.Path; {
	case p == "/":
		s.servePage(w, r, s.cfg.Torrents())
	case p == "/style.css":
		serveStyle(w, r)
	case p == "/playlist.m3u8":
		s.servePlaylist(w, r, s.cfg.Torrents())
	case strings.HasPrefix(p, torrentPrefix):
		s.routeTorrent(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) routeTorrent(w http.ResponseWriter, r *http.Request) {
	hash, tail, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, torrentPrefix), "/")
	hash, wantsPlaylist := strings.CutSuffix(hash, playlistSuffix)
	t := s.torrent(hash)
	if t == nil && s.cfg.Pending != nil && s.cfg.Pending(strings.ToLower(hash)) {
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "the metadata of this torrent is still being fetched", http.StatusServiceUnavailable)
		return
	}
	if t == nil {
		http.Error(w, "no such torrent here, or its metadata is not known yet", http.StatusNotFound)
		return
	}
	tail = strings.TrimLeft(tail, "/") // a web seed's base URL may end in a slash
	switch {
	case wantsPlaylist && tail == "":
		s.servePlaylist(w, r, []Torrent{t})
	case wantsPlaylist:
		http.NotFound(w, r)
	case tail == "":
		s.servePage(w, r, []Torrent{t})
	case tail == statsName:
		s.serveStats(w, r, t)
	default:
		found, ok := resolve(t, r.URL)
		switch {
		case !ok:
			http.Error(w, "no such file in this torrent", http.StatusNotFound)
		case found.asVTT:
			s.serveVTT(w, r, t, found.index)
		default:
			s.serveFile(w, r, t, found.index)
		}
	}
}

func (s *Server) torrent(infohash string) Torrent {
	for _, t := range s.cfg.Torrents() {
		if strings.EqualFold(t.InfoHash(), infohash) {
			return t
		}
	}
	return nil
}
