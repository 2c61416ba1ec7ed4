package stream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/stream/access"
	"github.com/causeway-bt/causeway/stream/window"
)

// Defaults of Config.
const (
	// DefaultAhead rides out the usual gaps (a peer that leaves, an interval
	// of choking) without fetching much that a seek then makes useless.
	DefaultAhead = window.Ahead
	// DefaultMaxResponses is many times what a household's players open.
	DefaultMaxResponses = 256
	// DefaultClientTimeout is an hour: a paused player reads nothing for as long
	// as the pause lasts, and should go on where it was.
	DefaultClientTimeout = time.Hour
)

const (
	readHeaderTimeout = 10 * time.Second
	// answerTimeout is in which a client must have accepted anything but a file.
	answerTimeout = time.Minute
	// bodyTimeout is how long a request's body, which nobody wants, is taken in, so that
	// a client that sends one gets to read the answer.
	bodyTimeout    = 500 * time.Millisecond
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
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
	// HostChecked says that whoever calls ServeHTTP has looked at the Host already.
	HostChecked bool
	// Token must come with every request unless it is empty.
	Token string
	// Origins are the web origins whose pages may read what is served, beside the
	// server's own, as browsers need that take it for a web seed (BEP 19). AnyOrigin
	// opens the files only: what tells which there are is for those that are named.
	Origins access.Origins

	// Style is the style sheet of the pages; without one they are plain.
	Style []byte

	// Ahead is how much playing time is wanted ahead of each reader.
	Ahead time.Duration
	// MaxResponses bounds the file responses open at once. For one more, that is ended
	// which is worth least: which the client has stopped reading, or read least of; 503
	// is the answer where others than the client's own address would lose by that.
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
	seats   seatTable
	pages   turns     // at making pages and playlists
	convert turns     // at converting subtitles
	held    heldBytes // of subtitles
	readers readerTable
	rates   bitrates
	sent    atomic.Int64 // bytes of files, of all responses

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
	s := &Server{cfg: cfg, log: cfg.Logger, seats: seatTable{limit: cfg.MaxResponses}, pages: newTurns(), convert: newTurns()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.rates.start = s.probe
	s.handler = http.HandlerFunc(s.route)
	if !cfg.HostChecked {
		s.handler = access.New(cfg.Listen, cfg.Token, cfg.Hosts...).Wrap(s.handler)
	}
	return s
}

// ServeHTTP answers one request, unless the server is closed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limitAnswer(w)
	w.Header().Set("Connection", "close") // until the request is let in
	if r.ContentLength != 0 {
		// Unless told otherwise, net/http waits for the body without end, and only then
		// for the next request.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		enterState(r, connRefused)
	}
	if !s.begin() {
		http.Error(w, "the server is shutting down", http.StatusServiceUnavailable)
		return
	}
	defer s.wg.Done()
	defer s.logPanic(r)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	s.handler.ServeHTTP(w, r.WithContext(ctx))
}

// limitAnswer gives the client answerTimeout from now on; net/http ends that with the
// request.
func limitAnswer(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
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
func (s *Server) Serve(ln net.Listener) error { return s.ServeAll(ln, s, nil) }

// ServeAll is Serve for a handler that has s for a part of what it serves: connections are
// bounded and give way as those of s. inContext, if not nil, is as http.Server.ConnContext.
func (s *Server) ServeAll(ln net.Listener, handler http.Handler, inContext func(context.Context, net.Conn) context.Context) error {
	conns := newConnTable(ln, maxConnsPerResponse*s.cfg.MaxResponses)
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         conns.changed,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			if inContext != nil {
				ctx = inContext(ctx, nc)
			}
			return conns.inContext(ctx, nc)
		},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// The general one waits for bodies.
		DisableGeneralOptionsHandler: true,
		// No WriteTimeout: a film lasts for hours. See Config.ClientTimeout.
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ln.Close()
	}
	s.serves = append(s.serves, server)
	s.mu.Unlock()
	if err := server.Serve(conns); !errors.Is(err, http.ErrServerClosed) {
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
	if !s.checkOrigin(w, r, isFileURL(r.URL.Path)) || !checkMethod(w, r) {
		return
	}
	h.Del("Connection") // it may be kept for the next request
	switch p := r.URL.Path; {
	case p == "/":
		s.servePage(w, r, s.cfg.Torrents())
	case p == "/style.css":
		s.serveStyle(w, r)
	case p == "/playlist.m3u8":
		s.servePlaylist(w, r, s.cfg.Torrents())
	case strings.HasPrefix(p, torrentPrefix):
		s.routeTorrent(w, r)
	default:
		http.NotFound(w, r)
	}
}

// checkMethod answers what asks for no content of ours, and reports whether the request
// may go on.
func checkMethod(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.ContentLength != 0:
		http.Error(w, "no request may have a body here", http.StatusRequestEntityTooLarge)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return true
	case r.Method == http.MethodOptions:
		w.Header().Del("Connection")
		w.Header().Set("Allow", allowedMethods)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", allowedMethods)
		http.Error(w, "only "+allowedMethods+" are served", http.StatusMethodNotAllowed)
	}
	return false
}

func (s *Server) routeTorrent(w http.ResponseWriter, r *http.Request) {
	hash, tail, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, torrentPrefix), "/")
	hash, wantsPlaylist := strings.CutSuffix(hash, playlistSuffix)
	t := s.torrent(hash)
	if t == nil && s.cfg.Pending != nil && s.cfg.Pending(strings.ToLower(hash)) {
		busy(w, "the metadata of this torrent is still being fetched")
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
