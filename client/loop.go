package client

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/content"
	"github.com/causeway-bt/causeway/client/disk"
)

// How often the loop looks at its timers: often while there are peers, and hardly
// ever on an idle torrent, of which there may be thousands.
const (
	tickBusy = 250 * time.Millisecond
	// tickThrottled is for when a limit keeps us from asking for more: less than the
	// limit's burst lasts.
	tickThrottled = 25 * time.Millisecond
	// tickStreaming is for when a player waits and late blocks are noticed soon.
	tickStreaming = 50 * time.Millisecond
	tickIdle      = 10 * time.Minute
)

const (
	// maxTurn is how long the messages of peers are read before the loop looks at what
	// else there is.
	maxTurn = 10 * time.Millisecond
	// noteDelay is above which delay of the loop a longest one is logged.
	noteDelay = 20 * time.Millisecond
)

// run is the event loop: every event that a torrent can receive is a case here.
func (t *Torrent) run() {
	if !t.opts.Stopped {
		t.guarded(t.begin)
	}
	for {
		start := time.Time{}
		select {
		case <-t.mail.wake: // messages of peers, pieces that ended
			start = time.Now()
			t.guarded(t.readMail)
		case c := <-t.joins: // connections with finished handshakes
			start = time.Now()
			t.guarded(func() { t.join(c) })
		case f := <-t.commands: // calls from outside, results of tasks
			start = time.Now()
			t.guarded(f)
			t.rest()
			t.pending.Add(-1)
			t.noteDelay(time.Since(start))
			continue
		case <-t.loop.timer.C: // all that is due at a time
			start = time.Now()
			t.noteDelay(start.Sub(t.loop.due))
			t.guarded(func() { t.setTimer(t.tick(start)) })
		case <-t.ctx.Done():
			t.shutdown()
			return
		}
		t.rest()
		t.noteDelay(time.Since(start))
	}
}

// guarded turns a bug into the torrent's failure: others of the process go on.
func (t *Torrent) guarded(f func()) {
	defer func() {
		if r := recover(); r != nil {
			t.log.Error("panic in the event loop; please report this", "panic", r, "stack", string(debug.Stack()))
			t.fail(fmt.Errorf("a fault of this program: %v", r))
		}
	}()
	f()
}

// noteDelay remembers the longest time that an event had to wait for the loop.
func (t *Torrent) noteDelay(d time.Duration) {
	if int64(d) <= t.slowest.Load() {
		return
	}
	t.slowest.Store(int64(d))
	if d > noteDelay {
		t.log.Debug("the event loop was late", "by", d)
	}
}

func (t *Torrent) setTimer(d time.Duration) {
	t.loop.due = time.Now().Add(d)
	t.loop.timer.Reset(d)
}

// wakeUp makes the next tick come at once.
func (t *Torrent) wakeUp() { t.setTimer(0) }

// rest keeps the torrent's state for Stats while nothing happens: asking a thousand event
// loops takes a while.
func (t *Torrent) rest() {
	l := &t.loop
	resting := l.phase == phaseStopped || l.phase == phaseLive && len(l.peers) == 0 && l.content.Opened() == 0
	if !resting || l.downRate.perSecond > 0 || l.upRate.perSecond > 0 {
		t.resting.Store(nil)
		return
	}
	s := t.stats()
	t.resting.Store(&s)
}

// mailbox is how the goroutines of connections and of the disk wake the loop: once
// for any number of events.
type mailbox struct {
	wake chan struct{}

	mu      sync.Mutex
	peers   []*peer // with something in their inbox
	results []pieceResult
	evicted []eviction
	streams bool // readers have moved
}

// pieceResult is the end of a piece of a content.
type pieceResult struct {
	of *content.Content
	disk.Result
}

// eviction is a peer that has to go.
type eviction struct {
	peer *peer
	why  error
}

func newMailbox() mailbox { return mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) fromPeer(p ...*peer) {
	m.mu.Lock()
	m.peers = append(m.peers, p...)
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) fromDisk(c *content.Content, r disk.Result) {
	m.mu.Lock()
	m.results = append(m.results, pieceResult{c, r})
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) evict(p *peer, why error) {
	m.mu.Lock()
	m.evicted = append(m.evicted, eviction{p, why})
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) streamsChanged() {
	m.mu.Lock()
	m.streams = true
	m.mu.Unlock()
	m.signal()
}

// mail is what was in the mailbox.
type mail struct {
	peers   []*peer
	results []pieceResult
	evicted []eviction
	streams bool
}

func (m *mailbox) take() mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := mail{m.peers, m.results, m.evicted, m.streams}
	m.peers, m.results, m.evicted, m.streams = nil, nil, nil, false
	return taken
}

func (t *Torrent) readMail() {
	now := time.Now()
	m := t.mail.take()
	for _, e := range m.evicted {
		t.drop(e.peer, e.why)
	}
	for i, p := range m.peers {
		if i > 0 && time.Since(now) > maxTurn {
			t.mail.fromPeer(m.peers[i:]...) // the rest has its turn soon
			break
		}
		if err := t.guardTask("handling messages", func() error { t.readInbox(p, now); return nil }); err != nil {
			t.drop(p, err)
		}
	}
	for _, r := range m.results {
		if r.of != t.loop.content || t.loop.phase != phaseLive {
			r.of.Late(r.Result)
			continue
		}
		r.of.Ended(r.Result)
	}
	if len(m.results) > 0 {
		t.readers.Wake()
	}
	if t.loop.fillSoon {
		t.fillSlots()
	}
	if t.loop.phase != phaseLive {
		return
	}
	switch {
	case m.streams || len(m.results) > 0 && t.loop.content.Streaming():
		t.loop.content.Schedule(now, m.streams)
	case len(m.results) > 0:
		t.requestAll(now) // memory was freed, and pieces may be open again
	}
}

// tick does what is due, and returns how long nothing will be.
func (t *Torrent) tick(now time.Time) time.Duration {
	l := &t.loop
	if l.run == nil {
		t.updateRates(now)
		if l.downRate.perSecond > 0 || l.upRate.perSecond > 0 {
			return rateInterval
		}
		return tickIdle
	}
	for p := range l.peers {
		t.tickPeer(p, now)
	}
	t.updateRates(now)
	t.tickPunches(now)
	if l.phase == phaseMetadata {
		t.fetchMetadata(now)
	}
	if l.phase == phaseLive {
		t.abandonIfAlone(now)
		t.requestAll(now)
		if l.fillSoon {
			t.fillSlots()
		}
		t.hurryRechoke(now)
		if !now.Before(l.nextRechoke) {
			l.nextRechoke = now.Add(rechokeInterval)
			t.rechoke(now)
		}
		t.exchangePeers(now)
		l.content.SaveIfDue(now)
	}
	if l.run == nil {
		return tickIdle // it failed
	}
	next := tickIdle
	for _, s := range t.swarms {
		for _, again := range []time.Time{s.Tick(now), s.Dial(now, t.need(s, now))} {
			if !again.IsZero() {
				next = min(next, max(again.Sub(now), tickBusy))
			}
		}
	}
	busy := len(l.peers) > 0 || l.phase == phaseMetadata || l.phase == phaseLive && l.content.Busy()
	switch {
	case l.throttled:
		return tickThrottled
	case l.phase == phaseLive && l.content.Streaming() && len(l.peers) > 0:
		return tickStreaming
	case busy:
		return tickBusy
	}
	return next
}

// aloneFor is how long a torrent without peers keeps what it has of open pieces: its
// memory is for those that have some.
const aloneFor = 30 * time.Second

func (t *Torrent) abandonIfAlone(now time.Time) {
	l := &t.loop
	if len(l.peers) > 0 {
		l.lastPeer = now
		return
	}
	if now.Sub(l.lastPeer) >= aloneFor {
		l.content.AbandonAll()
	}
}

func (t *Torrent) updateRates(now time.Time) {
	l := &t.loop
	if now.Sub(l.lastRates) < rateInterval {
		return
	}
	l.lastRates = now
	l.downRate.update(now, t.downloaded.Load())
	l.upRate.update(now, t.uploaded.Load())
}
