package share

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/web"
)

// Torrent is what a share knows of a torrent. Its methods are called from many goroutines.
type Torrent interface {
	// InfoHash is the v1 one, in lower-case hexadecimal.
	InfoHash() string
	// Describe returns what the page is told. Torrent and Magnet are left empty, and files
	// without URL are not offered over HTTP.
	Describe() web.Torrent
	// Status returns the figures of the moment.
	Status() web.TorrentStatus
	// File returns a .torrent file with these trackers and web seeds, and Magnet a link;
	// File fails while the metadata is not known.
	File(trackers, webSeeds []string) ([]byte, error)
	Magnet(trackers, webSeeds []string) string
}

// Config says what is shared and with whom. Torrents, Files and Tracker are required.
type Config struct {
	Title    string // of the page, where there are several torrents
	Torrents func() []Torrent
	// Files answers what is below /t/.
	Files http.Handler
	// Tracker answers announces and scrapes over HTTP and WebSocket.
	Tracker http.Handler
	// ICE returns the STUN and TURN servers for a page that reached us by this request,
	// with credentials for one page load. It may be nil.
	ICE func(r *http.Request, page string) []web.ICEServer

	// Public, if set, is where others reach us, perhaps through a proxy; its host may be
	// named as Host, and so may Hosts.
	Public *url.URL
	Hosts  []string
	// RequireTLS has those who come without TLS come again with it, but from this machine.
	RequireTLS bool
	// Password, if not empty, must be given to get in.
	Password string
	// Views, if not 0, is how many browsers may open the page. Once they have and the last
	// of them has left, the share ends.
	Views int
	// Expire, if not 0, ends the share after that time.
	Expire time.Duration
	// Receiver, if not nil, takes files.
	Receiver *Receiver
	// Key keys cookies and announce URLs. The same key after a restart keeps them valid.
	Key []byte

	// Linger is for how long nobody may have asked for anything before a share whose views
	// are used up ends; 0: defaultLinger.
	Linger time.Duration
	// From returns the address that a request comes from, where that is not the
	// connection's: behind a proxy. It may be nil.
	From   func(r *http.Request) netip.Addr
	Logger *slog.Logger // nil: none
}

const (
	// defaultLinger is longer than an open page is silent: two seconds, a minute where the
	// browser lets a hidden one sleep.
	defaultLinger = 75 * time.Second
	// answerTimeout is in which a client must have taken anything but a file.
	answerTimeout = time.Minute
	// bodyTimeout is in which a request's body must have come, where nothing else is set.
	bodyTimeout = 30 * time.Second
)

const (
	filesPrefix   = "/t/"
	torrentPrefix = "/torrent/"
	keyPrefix     = "/k/"
	assetsPrefix  = "/assets/"
	receivePrefix = "/receive"
	loginPath     = "/login"
	announcePath  = "/announce"
	scrapePath    = "/scrape"
)

// Server is the http.Handler. Create it with New, end it with Close.
type Server struct {
	cfg    Config
	log    *slog.Logger
	run    string
	page   *web.Handler
	guard  guard
	doors  *doors
	pages  pages
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	ending sync.Once
	ended  chan struct{}
}

var _ http.Handler = (*Server)(nil)

// New returns a server, whose time of Config.Expire begins now.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Linger <= 0 {
		cfg.Linger = defaultLinger
	}
	s := &Server{cfg: cfg, log: cfg.Logger, run: newID(), ended: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.guard = newGuard(cfg)
	s.doors = newDoors(cfg)
	s.pages = newPages()
	s.page = web.New(web.Options{Share: s.describe, Status: s.status, Logger: cfg.Logger})
	s.wg.Go(s.watch)
	return s
}

// Ended is closed when the share has ended, by Config.Expire or Config.Views. All requests are
// then answered with 410, by which open pages know.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// end ends the share.
func (s *Server) end() { s.ending.Do(func() { close(s.ended) }) }

// Close ends what goes on by itself. Requests are their server's to end.
func (s *Server) Close() {
	s.cancel()
	s.wg.Wait()
}

// watchEvery is how often it is looked at whether the share has ended.
const watchEvery = 250 * time.Millisecond

func (s *Server) watch() {
	var expire <-chan time.Time
	if s.cfg.Expire > 0 {
		timer := time.NewTimer(s.cfg.Expire)
		defer timer.Stop()
		expire = timer.C
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-expire:
			s.end()
		case now := <-tick.C:
			if s.doors.usedUp(now, s.cfg.Linger) {
				s.end()
			}
		}
	}
}

type secureKey struct{}

// SecureContext marks the context of a connection that came over TLS, where net/http cannot see
// that (http.Server.ConnContext).
func SecureContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, secureKey{}, true)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(answerTimeout))
	if r.ContentLength != 0 {
		_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // also for what nobody reads
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.TLS == nil && (r.Context().Value(secureKey{}) != nil || s.guard.secureAt(r)) {
		r.TLS = &tls.ConnectionState{} // what is below asks for no more than whether there is TLS
	}
	switch {
	case !s.guard.hostAllowed(r):
		http.Error(w, "this Host name is not served here; add it with --allow-host", http.StatusForbidden)
	case s.over():
		s.serveEnded(w, r)
	case s.cfg.RequireTLS && r.TLS == nil && !s.from(r).IsLoopback() && !strings.HasPrefix(r.URL.Path, keyPrefix):
		http.Redirect(w, r, "https://"+r.Host+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	default:
		s.route(w, r)
	}
}

func (s *Server) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if rest, keyed := strings.CutPrefix(path, keyPrefix); keyed {
		key, name, _ := strings.Cut(rest, "/")
		if !s.doors.isKey(key) || !isTracker("/"+name) {
			http.NotFound(w, r)
			return
		}
		s.cfg.Tracker.ServeHTTP(w, r)
		return
	}
	if path == loginPath {
		s.serveLogin(w, r)
		return
	}
	if strings.HasPrefix(path, assetsPrefix) { // of the page that asks for the password, too
		s.page.ServeHTTP(w, r)
		return
	}
	session, ok := s.enter(w, r)
	if !ok {
		return
	}
	switch {
	case isTracker(path) || path == "/" && isUpgrade(r):
		s.cfg.Tracker.ServeHTTP(w, r)
	case strings.HasPrefix(path, filesPrefix):
		// Who else reads what, and from where, is nobody's business here.
		if _, name, _ := strings.Cut(strings.TrimPrefix(path, filesPrefix), "/"); name == "stats.json" {
			http.NotFound(w, r)
		} else if s.view(w, r, session) {
			defer s.doors.visit()()
			s.cfg.Files.ServeHTTP(w, r)
		}
	case strings.HasPrefix(path, torrentPrefix):
		if s.view(w, r, session) {
			s.serveTorrent(w, r)
		}
	case strings.HasPrefix(path, receivePrefix+"/") && s.cfg.Receiver != nil:
		if s.guard.ownPage(w, r) && s.view(w, r, session) {
			defer s.doors.visit()()
			s.cfg.Receiver.serve(w, r, strings.TrimPrefix(path, receivePrefix), networkOf(s.from(r)))
		}
	case path == "/share.json":
		if s.view(w, r, session) {
			s.page.ServeHTTP(w, r)
		}
	default:
		s.page.ServeHTTP(w, r)
	}
}

func isTracker(path string) bool { return path == announcePath || path == scrapePath }

func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// serveTorrent answers with a .torrent file that leads back here.
func (s *Server) serveTorrent(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are answered here", http.StatusMethodNotAllowed)
		return
	}
	hash, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, torrentPrefix), ".torrent")
	for _, t := range s.cfg.Torrents() {
		if !ok || t.InfoHash() != strings.ToLower(hash) {
			continue
		}
		content, err := t.File(s.trackers(r), s.webSeeds(r, t))
		if err != nil {
			w.Header().Set("Retry-After", "2")
			http.Error(w, "the metadata of this torrent is still being fetched", http.StatusServiceUnavailable)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/x-bittorrent")
		h.Set("Content-Disposition", `attachment; filename="`+t.InfoHash()+`.torrent"`)
		h.Set("Cache-Control", "no-store")
		_, _ = w.Write(content)
		return
	}
	http.Error(w, "no such torrent here", http.StatusNotFound)
}

// from is the address that a request comes from; the zero Addr: it cannot be told.
func (s *Server) from(r *http.Request) netip.Addr {
	if s.cfg.From != nil {
		return s.cfg.From(r)
	}
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// networkOf is what counts as one address: one of IPv6 is easily another.
func networkOf(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	network, _ := a.Prefix(bits) // fits
	return network
}
