package ws

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

const (
	// firstInterval is the time between announces until the tracker names its own.
	firstInterval = 30 * time.Second

	// Bounds for what the tracker names: a second would be an attack, and after
	// an hour without announce most trackers have forgotten us.
	minInterval = 10 * time.Second
	maxInterval = time.Hour

	// offersTimeout bounds the making of an announce's offers.
	offersTimeout = 5 * time.Second

	// torrentOfferRate and torrentOfferBurst bound the offers answered for one
	// torrent, per second.
	torrentOfferRate  = 5
	torrentOfferBurst = 30

	// tellInterval is the least time between two statuses of one torrent: a
	// tracker may say something new in each of its messages.
	tellInterval = time.Second
)

// Handle is one torrent at one tracker.
type Handle struct {
	s       *socket
	torrent Torrent
	url     string // as it was given
	hash    ID
	peerID  ID // ours in the torrent
	ctx     context.Context
	cancel  context.CancelFunc
	offers  *rate.Limiter // incoming
	sending chan struct{} // held while an announce is sent, so that they keep their order

	mu        sync.Mutex
	closed    bool
	busy      bool  // an announce is being prepared
	again     bool  // another is wanted after it
	startedOn *link // the connection over which "started" was sent
	completed bool  // "completed" is to be sent
	timer     *time.Timer
	interval  time.Duration
	trackerID string
	status    Status
	told      Status // the last that was passed on, at toldAt
	toldAt    time.Time
	telling   *time.Timer // passes on what came too soon after it
	ice       iceServers  // that the tracker named last
	iceRate   *rate.Limiter
	vetting   bool // they are looked up
}

func newHandle(s *socket, torrent Torrent, url string) *Handle {
	h := &Handle{
		s: s, torrent: torrent, url: url, hash: torrent.InfoHash(), peerID: torrent.PeerID(),
		sending:  make(chan struct{}, 1),
		offers:   rate.NewLimiter(torrentOfferRate, torrentOfferBurst),
		interval: firstInterval,
		iceRate:  newICERate(),
		status:   Status{URL: url},
	}
	h.ctx, h.cancel = context.WithCancel(s.ctx)
	return h
}

// URL returns the tracker's URL as it was given to Add, without white space around it.
func (h *Handle) URL() string { return h.url }

// Announce announces now, for instance because more peers are wanted.
func (h *Handle) Announce() { h.s.m.spawn(h.url, h.announce) }

// Completed tells the tracker that the download is complete. Call it only when it
// completes, not for a torrent that was complete before.
func (h *Handle) Completed() {
	h.mu.Lock()
	h.completed = true
	h.mu.Unlock()
	h.Announce()
}

// Close says "stopped", after "completed" if that has yet to be said, and ends the
// announces; it takes up to two seconds if the tracker is slow.
func (h *Handle) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	if h.timer != nil {
		h.timer.Stop()
	}
	if h.telling != nil {
		h.telling.Stop()
	}
	h.mu.Unlock()
	h.s.remove(h)
	if l, _ := h.s.current(); l != nil {
		if err := h.farewell(l); err != nil {
			h.s.m.config.Logger.Debug("stopped not sent", "url", h.url, "error", err)
		}
	}
	h.cancel()
	h.s.m.release(h.s)
	return nil
}

// farewell tells the tracker what it has yet to hear, waits until it has read that,
// and comes after any announce that is being sent.
func (h *Handle) farewell(l *link) error {
	ctx, cancel := context.WithTimeout(l.ctx, stopTimeout)
	defer cancel()
	select {
	case h.sending <- struct{}{}:
		defer func() { <-h.sending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	h.mu.Lock()
	started, completed := h.startedOn == l, h.completed
	h.mu.Unlock()
	var events []string
	if !started && completed {
		events = append(events, eventStarted) // so that it counts the download
	}
	if completed {
		events = append(events, eventCompleted)
	}
	if started || completed {
		events = append(events, eventStopped)
	}
	for _, event := range events {
		if err := h.s.send(ctx, l, h.message(l, event, nil)); err != nil {
			return err
		}
	}
	if len(events) == 0 {
		return nil
	}
	// A connection that is closed while the tracker writes may take what it was sent
	// along; the answer to a ping means that all before it was read.
	return l.conn.Ping(ctx)
}

// announce sends one announce with its offers. Calls while it runs become one more
// run.
func (h *Handle) announce() {
	h.mu.Lock()
	if h.busy {
		h.again = true
		h.mu.Unlock()
		return
	}
	h.busy = true
	h.mu.Unlock()
	for {
		_ = reach.Guard(h.s.m.config.Logger, h.url, h.announceOnce) // which is logged
		h.mu.Lock()
		if !h.again {
			h.busy = false
			h.mu.Unlock()
			return
		}
		h.again = false
		h.mu.Unlock()
	}
}

func (h *Handle) announceOnce() {
	select {
	case h.s.m.announcing <- struct{}{}:
		defer func() { <-h.s.m.announcing }()
	case <-h.ctx.Done():
		return
	}
	l, _ := h.s.current()
	if l == nil {
		return // the next connection announces every torrent
	}
	event, again := h.nextEvent(l)
	var offers []Offer
	if event != eventCompleted {
		if n := min(h.torrent.WantOffers(), MaxOffers); n > 0 {
			ctx, cancel := context.WithTimeout(h.ctx, offersTimeout)
			offers = h.torrent.Offers(ctx, n)
			cancel()
			offers = offers[:min(len(offers), MaxOffers)]
		}
	}
	select {
	case h.sending <- struct{}{}:
		defer func() { <-h.sending }()
	case <-h.ctx.Done():
		return
	}
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return
	}
	h.s.mu.Lock()
	h.s.announced = h
	h.s.mu.Unlock()
	var err error
	if again {
		err = h.s.send(h.ctx, l, h.message(l, eventStopped, nil))
	}
	if err == nil {
		err = h.s.send(h.ctx, l, h.message(l, event, offers))
	}
	if err != nil {
		h.s.m.config.Logger.Debug("announce not sent", "url", h.url, "error", err)
		return // the connection is broken, and the next announces again
	}
	h.sent(l, event, len(offers))
}

// nextEvent is what the tracker is to be told over a connection. again says that it was
// told "started" over another one: trackers go on sending peers' offers to that if it
// ended unnoticed, or if it was shared with another peer id, until they hear "stopped".
func (h *Handle) nextEvent(l *link) (event string, again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.startedOn != l:
		return eventStarted, h.startedOn != nil
	case h.completed:
		return eventCompleted, false
	}
	return eventUpdate, false
}

// sent notes a sent announce and plans the next.
func (h *Handle) sent(l *link, event string, offers int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status.Offers = offers
	switch event {
	case eventStarted:
		h.startedOn = l
		if h.completed {
			h.again = true
		}
	case eventCompleted:
		h.completed = false
	}
	h.plan()
}

// plan sets the timer for the next announce; h.mu is held.
func (h *Handle) plan() {
	if h.closed {
		return
	}
	if h.timer == nil {
		h.timer = time.AfterFunc(jitter(h.interval), h.Announce)
		return
	}
	h.timer.Reset(jitter(h.interval))
}

// message is an announce over a connection as it stands now.
func (h *Handle) message(l *link, event string, offers []Offer) announceMessage {
	progress := h.torrent.Progress()
	if progress.Left < 0 {
		progress.Left = unknownLeft
	}
	m := announceMessage{
		Action: actionAnnounce, InfoHash: h.hash, PeerID: l.announceAs(h.peerID), Event: event,
		Uploaded: progress.Uploaded, Downloaded: progress.Downloaded, Left: progress.Left,
		NumWant: len(offers),
	}
	h.mu.Lock()
	m.TrackerID = h.trackerID
	h.mu.Unlock()
	for _, offer := range offers {
		m.Offers = append(m.Offers, offerMessage{
			OfferID: offer.ID, Offer: description{Type: "offer", SDP: offer.SDP},
		})
	}
	return m
}

// replied takes the reply to an announce.
func (h *Handle) replied(m message) {
	h.report(func(status *Status) {
		status.Err = nil
		status.Warning = clip(m.Warning)
		if m.Complete != nil {
			status.Seeds = count(*m.Complete)
		}
		if m.Incomplete != nil {
			status.Leeches = count(*m.Incomplete)
		}
		if named := max(m.Interval, m.MinInterval); named > 0 {
			interval := seconds(named, minInterval, maxInterval)
			status.Interval = interval
			if interval != h.interval {
				h.interval = interval
				h.plan()
			}
		}
		if m.TrackerID != "" && len(m.TrackerID) <= maxTrackerID {
			h.trackerID = m.TrackerID
		}
	})
}

// report changes the status and passes it on.
func (h *Handle) report(change func(*Status)) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	change(&h.status)
	h.mu.Unlock()
	h.tell()
}

// tell passes the status on if it says anything new, and later if the last was
// passed on a moment ago; then the latest counts.
func (h *Handle) tell() {
	h.mu.Lock()
	if h.closed || h.status.equal(h.told) {
		h.mu.Unlock()
		return
	}
	if wait := tellInterval - time.Since(h.toldAt); wait > 0 {
		if h.telling == nil {
			h.telling = time.AfterFunc(wait, func() { h.s.m.spawn(h.url, h.tell) })
		} else {
			h.telling.Reset(wait)
		}
		h.mu.Unlock()
		return
	}
	h.told, h.toldAt = h.status, time.Now()
	status := h.status
	h.mu.Unlock()
	h.torrent.Status(status)
}
