package share

import (
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/web"
)

const (
	// maxPages bounds the page loads that are known. Beyond, the one that has been silent
	// longest is forgotten.
	maxPages = 4096
	// silentPage is after what silence a page no longer counts as open; pages ask every two
	// seconds, some browsers let hidden ones do so once a minute.
	silentPage = 10 * time.Second
	// forgetPage is after what silence its id is forgotten.
	forgetPage = 10 * time.Minute
	// maxPageRate bounds what a page may say that it got or gave, in bytes per second.
	maxPageRate = 1 << 30
)

// Got is what pages say they got and from whom, in bytes since the start. It is their word;
// what is more than they could have got does not count.
type Got struct {
	Host    int64 `json:"host"`    // Causeway, over WebRTC
	Viewers int64 `json:"viewers"` // other pages
	HTTP    int64 `json:"http"`    // Causeway, over HTTP
}

// pages are the page loads, by the ids that they were given.
type pages struct {
	mu      sync.Mutex
	open    map[string]*pageLoad
	total   Got
	loads   int
	checked time.Time
}

// pageLoad is one of them.
type pageLoad struct {
	got   Got
	heard time.Time
	// before says that it had got something already when it came to be known: what it says
	// first has been counted, or is of an earlier run.
	before bool
}

func newPages() pages { return pages{open: map[string]*pageLoad{}} }

// load returns the id of a page that takes share.json: what it had, if it had one.
func (p *pages) load(r *http.Request) string {
	id, now := r.URL.Query().Get("page"), time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.open[id]; known != nil {
		known.heard = now
		return id
	}
	p.forget(now)
	before := isID(id)
	if !before {
		id = newID()
	}
	p.open[id] = &pageLoad{heard: now, before: before}
	p.loads++
	return id
}

// forget makes room. p.mu is held.
func (p *pages) forget(now time.Time) {
	if len(p.open) < maxPages && now.Sub(p.checked) < silentPage {
		return
	}
	p.checked = now
	oldest := ""
	for id, l := range p.open {
		if now.Sub(l.heard) > forgetPage {
			delete(p.open, id)
		} else if oldest == "" || l.heard.Before(p.open[oldest].heard) {
			oldest = id
		}
	}
	if len(p.open) >= maxPages {
		delete(p.open, oldest)
	}
}

// report takes what a page says with its question for status.json.
func (p *pages) report(q url.Values) {
	id := q.Get("page")
	if !isID(id) {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.open[id]
	if l == nil { // it slept for long
		p.forget(now)
		l = &pageLoad{heard: now, before: true}
		p.open[id] = l
	}
	before := l.before
	l.before = false
	most := int64(now.Sub(l.heard).Seconds() * maxPageRate)
	l.heard = now
	for _, f := range []struct {
		name       string
		old, total *int64
	}{{"host", &l.got.Host, &p.total.Host}, {"viewers", &l.got.Viewers, &p.total.Viewers}, {"http", &l.got.HTTP, &p.total.HTTP}} {
		said, err := strconv.ParseInt(q.Get(f.name), 10, 64)
		if err != nil || said <= *f.old {
			continue
		}
		if before {
			*f.old = said
			continue
		}
		more := min(said-*f.old, most)
		*f.old += more
		*f.total += more
	}
}

// figures returns how many pages are open, how many were ever loaded, and what they got.
func (p *pages) figures() (open, loads int, got Got) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.open {
		if now.Sub(l.heard) <= silentPage {
			open++
		}
	}
	return open, p.loads, p.total
}

// Figures are what a share has come to.
type Figures struct {
	Viewers int // pages that are open
	Loads   int // pages that were opened
	Views   int // with Config.Views: those that count
	Got     Got
}

// Figures returns the figures of the moment.
func (s *Server) Figures() Figures {
	open, loads, got := s.pages.figures()
	return Figures{Viewers: open, Loads: loads, Views: s.doors.counted(), Got: got}
}

// describe makes share.json, and the title of the page itself.
func (s *Server) describe(r *http.Request) web.Share {
	described := web.Share{Title: s.cfg.Title, Torrents: []web.Torrent{}, Announce: []string{s.announce(r, "ws")}}
	for _, t := range s.cfg.Torrents() {
		d := t.Describe()
		d.Magnet = t.Magnet(s.trackers(r), s.webSeeds(r, t))
		if !d.Pending {
			d.Torrent = torrentPrefix + t.InfoHash() + ".torrent"
		}
		described.Torrents = append(described.Torrents, d)
	}
	if s.cfg.Receiver != nil {
		described.Receive = s.cfg.Receiver.describe()
	}
	if r.URL.Path == "/share.json" {
		described.Page = s.pages.load(r)
		if s.cfg.ICE != nil {
			described.ICE = s.cfg.ICE(r, described.Page)
		}
	}
	return described
}

// status makes status.json.
func (s *Server) status(r *http.Request) web.Status {
	s.pages.report(r.URL.Query())
	status := web.Status{Run: s.run, Torrents: []web.TorrentStatus{}}
	for _, t := range s.cfg.Torrents() {
		status.Torrents = append(status.Torrents, t.Status())
	}
	return status
}

// announce is the tracker's URL, with the scheme "ws" or "http" or what that is over TLS.
func (s *Server) announce(r *http.Request, scheme string) string {
	if r.TLS != nil {
		scheme += "s"
	}
	return scheme + "://" + r.Host + s.AnnouncePath()
}

// EnginePath is the path of the tracker for the host itself, which has no session.
func (s *Server) EnginePath() string { return keyPrefix + s.doors.announceKey + announcePath }

// AnnouncePath is the path of the tracker: with a password, one that only those know who were
// let in.
func (s *Server) AnnouncePath() string {
	if s.doors.needsPassword {
		return s.EnginePath()
	}
	return announcePath
}

func (s *Server) trackers(r *http.Request) []string {
	return []string{s.announce(r, "http"), s.announce(r, "ws")}
}

// webSeeds are for programs that have no cookie of ours: there are none where one is needed.
func (s *Server) webSeeds(r *http.Request, t Torrent) []string {
	if s.doors.guarded() {
		return nil
	}
	return []string{base(r) + filesPrefix + t.InfoHash() + "/"}
}
