package ws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

const (
	// pingInterval keeps the connection from being closed as idle (some trackers
	// do after 100 s) and finds out when it is dead.
	pingInterval = 25 * time.Second
	pingTimeout  = 15 * time.Second

	dialTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second

	// messageRate and messageBurst bound how fast a tracker's messages are read.
	// What is beyond waits in its own socket.
	messageRate  = 500
	messageBurst = 1000
)

var errSilent = errors.New("the tracker does not answer pings")

// socket is the connection to one tracker, made again whenever it breaks.
type socket struct {
	m      *Manager
	url    string
	users  int // handles and scrapes; guarded by m.mu
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	handles   map[ID]*Handle
	link      *link         // nil: not connected
	linked    chan struct{} // closed while link is set, and when a connection could not be made
	failure   error         // why not
	announced *Handle       // the last to announce: errors without infohash are about it
	scrape    *scrape       // the one that waits for its answer

	scraping chan struct{} // held by the scrape in flight
	retry    chan struct{} // has something in it when a torrent was added meanwhile
	identity identity      // of what the tracker is told; touched by run only
}

func newSocket(m *Manager, url string) *socket {
	s := &socket{m: m, url: url, handles: map[ID]*Handle{}, linked: make(chan struct{}), scraping: make(chan struct{}, 1), retry: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(m.ctx)
	return s
}

// add registers a handle, and announces it if the connection is there.
func (s *socket) add(h *Handle) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handles[h.hash] != nil {
		return false
	}
	s.handles[h.hash] = h
	if s.link != nil {
		s.m.wg.Go(h.announce) // m.mu is held and m is not closed; it guards itself
	}
	select {
	case s.retry <- struct{}{}:
	default:
	}
	return true
}

func (s *socket) remove(h *Handle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handles[h.hash] == h {
		delete(s.handles, h.hash)
	}
	if s.announced == h {
		s.announced = nil
	}
}

func (s *socket) list() []*Handle {
	s.mu.Lock()
	defer s.mu.Unlock()
	handles := make([]*Handle, 0, len(s.handles))
	for _, h := range s.handles {
		handles = append(handles, h)
	}
	return handles
}

func (s *socket) handle(hash ID) *Handle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handles[hash]
}

// current returns the connection, or nil and why there is none.
func (s *socket) current() (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return nil, s.failure
	}
	return s.link, nil
}

// awaitLink waits for a connection, or for what keeps it from being made.
func (s *socket) awaitLink(ctx context.Context) (*link, error) {
	for {
		s.mu.Lock()
		l, linked, failure := s.link, s.linked, s.failure
		s.mu.Unlock()
		switch {
		case l != nil:
			return l, nil
		case failure != nil:
			return nil, failure
		}
		select {
		case <-linked:
		case <-ctx.Done():
			return nil, reach.Explain(ctx.Err())
		case <-s.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// run keeps the socket connected until its context ends.
func (s *socket) run() {
	waits := waits{since: time.Now()}
	for s.ctx.Err() == nil {
		begun := time.Now()
		var contact bool
		var err error
		if fault := reach.Guard(s.m.config.Logger, s.url, func() { contact, err = s.session() }); fault != nil {
			err = fault
		}
		if s.ctx.Err() != nil {
			return
		}
		s.down(err)
		now := time.Now()
		wait := waits.next(contact, now.Sub(begun), now)
		s.m.config.Logger.Debug("tracker lost", "url", s.url, "error", err, "retry", wait)
		s.rest(now, wait)
	}
}

// rest waits. A torrent that is added has no need to wait for longer than maxFirstWait.
func (s *socket) rest(since time.Time, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select { // of a torrent that was added before
	case <-s.retry:
	default:
	}
	select {
	case <-timer.C:
		return
	case <-s.ctx.Done():
		return
	case <-s.retry:
	}
	timer.Reset(min(wait, maxFirstWait) - time.Since(since))
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// session is one connection from dialling to its end. contact says whether the
// tracker sent anything that made sense.
func (s *socket) session() (contact bool, err error) {
	dialling, cancelDial := context.WithTimeout(s.ctx, dialTimeout)
	conn, err := s.m.config.Dial(dialling, s.url)
	cancelDial()
	if err != nil {
		return false, fmt.Errorf("cannot connect: %w", reach.Explain(err))
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	l := &link{conn: conn, ctx: ctx, shared: s.identity.shared}
	var wg sync.WaitGroup
	defer func() {
		cancel(nil)
		_ = conn.Close() // err says what happened
		wg.Wait()
		s.identity.learn(l)
	}()
	wg.Go(func() { s.keepAlive(l, cancel) })
	s.up(l)
	limiter := rate.NewLimiter(messageRate, messageBurst)
	for {
		if err := limiter.Wait(ctx); err != nil {
			return contact, fmt.Errorf("lost: %w", context.Cause(ctx))
		}
		b, err := conn.Read(ctx)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return contact, fmt.Errorf("lost: %w", err)
		}
		m, err := parseMessage(b)
		if err != nil {
			s.warn(err.Error())
			continue
		}
		contact = true
		s.handleMessage(l, m)
	}
}

// keepAlive pings until the connection ends or does not answer.
func (s *socket) keepAlive(l *link, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-ticker.C:
		}
		ctx, done := context.WithTimeout(l.ctx, pingTimeout)
		err := l.conn.Ping(ctx)
		done()
		if err != nil {
			cancel(errSilent)
			return
		}
	}
}

// up announces every torrent over a new connection.
func (s *socket) up(l *link) {
	s.mu.Lock()
	s.link, s.failure = l, nil
	close(s.linked)
	s.mu.Unlock()
	s.m.config.Logger.Debug("tracker connected", "url", s.url)
	for _, h := range s.list() {
		s.m.spawn(h.url, h.announce)
	}
}

// down tells every torrent that the tracker is gone.
func (s *socket) down(err error) {
	s.mu.Lock()
	if s.link == nil {
		close(s.linked) // for who waits
	}
	s.linked = make(chan struct{})
	s.link, s.failure = nil, err
	waiting := s.scrape
	s.scrape = nil
	s.mu.Unlock()
	if waiting != nil {
		waiting.fail(err)
	}
	for _, h := range s.list() {
		h.report(func(status *Status) { status.Err = err })
	}
}

// send sends a message over a connection.
func (s *socket) send(ctx context.Context, l *link, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode for %s: %w", s.url, err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := l.conn.Write(ctx, b); err != nil {
		return fmt.Errorf("send to %s: %w", s.url, err)
	}
	return nil
}
