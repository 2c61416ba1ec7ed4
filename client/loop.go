package client

import (
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
)

// How often the loop looks at its timers: often while there are peers, and hardly
// ever on an idle torrent, of which there may be thousands.
const (
	tickBusy = 250 * time.Millisecond
	// tickStreaming is for when a player waits and late blocks are noticed soon.
	tickStreaming = 50 * time.Millisecond
	tickIdle      = 10 * time.Minute
)

// run is the event loop: every event that a torrent can receive is a case here.
func (t *Torrent) run() {
	t.start()
	for {
		select {
		case <-t.mail.wake: // messages of peers, pieces that ended
			t.readMail()
		case c := <-t.joins: // connections with finished handshakes
			t.join(c)
		case f := <-t.commands: // calls from outside, results of tasks
			f()
			t.rest()
			t.pending.Add(-1)
			continue
		case <-t.loop.timer.C: // all that is due at a time
			t.loop.timer.Reset(t.tick(time.Now()))
		case <-t.ctx.Done():
			t.shutdown()
			return
		}
		t.rest()
	}
}

// rest keeps the torrent's state for Stats while nothing happens: asking a thousand event
// loops takes a while.
func (t *Torrent) rest() {
	l := &t.loop
	if l.phase != phaseLive || len(l.peers) > 0 || len(l.pieces) > 0 || l.downRate.perSecond > 0 || l.upRate.perSecond > 0 {
		t.resting.Store(nil)
		return
	}
	s := t.stats()
	t.resting.Store(&s)
}

// start begins with what is known: files to check, or metadata to fetch.
func (t *Torrent) start() {
	switch {
	case t.loop.phase != phaseChecking:
		t.startDiscovery()
	case !t.opts.MetadataOnly:
		t.openFiles()
	}
}

// mailbox is how the goroutines of connections and of the disk wake the loop: once
// for any number of events.
type mailbox struct {
	wake chan struct{}

	mu      sync.Mutex
	peers   []*peer // with something in their inbox
	results []disk.Result
	streams bool // readers have moved
}

func newMailbox() mailbox { return mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) fromPeer(p *peer) {
	m.mu.Lock()
	m.peers = append(m.peers, p)
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) fromDisk(r disk.Result) {
	m.mu.Lock()
	m.results = append(m.results, r)
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) streamsChanged() {
	m.mu.Lock()
	m.streams = true
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) take() (peers []*peer, results []disk.Result, streams bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	peers, results, streams = m.peers, m.results, m.streams
	m.peers, m.results, m.streams = nil, nil, false
	return peers, results, streams
}

func (t *Torrent) readMail() {
	now := time.Now()
	peers, results, streams := t.mail.take()
	for _, p := range peers {
		t.readInbox(p, now)
	}
	for _, r := range results {
		t.pieceEnded(r)
	}
	if len(results) > 0 {
		t.wakeReaders()
	}
	if t.loop.fillSoon {
		t.fillSlots()
	}
	switch {
	case streams || len(results) > 0 && t.loop.streaming:
		t.schedule(now, streams)
	case len(results) > 0:
		t.requestAll(now) // memory was freed, and pieces may be open again
	}
}

// tick does what is due, and returns how long nothing will be.
func (t *Torrent) tick(now time.Time) time.Duration {
	l := &t.loop
	if l.phase == phaseFailed {
		return tickIdle
	}
	for p := range l.peers {
		t.tickPeer(p, now)
	}
	t.updateRates(now)
	if l.phase == phaseMetadata {
		t.fetchMetadata(now)
	}
	if l.phase == phaseLive {
		t.abandonIfAlone(now)
		t.requestAll(now)
		if l.fillSoon {
			t.fillSlots()
		}
		if !now.Before(l.nextRechoke) {
			l.nextRechoke = now.Add(rechokeInterval)
			t.rechoke(now)
		}
		t.exchangePeers(now)
		t.saveIfDue(now)
	}
	if l.discovered {
		t.web.tellIfAlone(now)
	}
	again := t.dialCandidates(now)
	switch {
	case l.streaming && len(l.peers) > 0:
		return tickStreaming
	case len(l.peers) > 0 || len(l.pieces) > 0 || l.phase == phaseMetadata || l.state.dirty || l.state.syncNext:
		return tickBusy
	case !again.IsZero():
		return max(again.Sub(now), tickBusy)
	case now.Before(t.web.nextTold):
		return t.web.nextTold.Sub(now)
	default:
		return tickIdle
	}
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
	if now.Sub(l.lastPeer) < aloneFor {
		return
	}
	for index := range l.pieces {
		t.abandon(index)
	}
}

// wakeUp makes the next tick come at once.
func (t *Torrent) wakeUp() { t.loop.timer.Reset(0) }

func (t *Torrent) updateRates(now time.Time) {
	l := &t.loop
	if now.Sub(l.lastRates) < rateInterval {
		return
	}
	l.lastRates = now
	l.downRate.update(now, t.downloaded.Load())
	l.upRate.update(now, t.uploaded.Load())
}

// shutdown ends everything that the torrent started, and saves its state.
func (t *Torrent) shutdown() {
	l := &t.loop
	l.timer.Stop()
	for p := range l.peers {
		t.drop(p, ErrClosed)
	}
	t.dropPieces()
	t.leave()
	t.drainCommands()
	t.closeFiles()
	t.client.remove(t)
	close(t.ended)
}

// drainCommands waits for the torrent's tasks, whose results go nowhere now.
func (t *Torrent) drainCommands() {
	t.spawning.Lock()
	t.closing = true
	t.spawning.Unlock()
	done := make(chan struct{})
	go func() {
		t.tasks.Wait()
		close(done)
	}()
	for {
		select {
		case <-t.commands:
		case c := <-t.joins:
			c.Close()
		case <-done:
			return
		}
	}
}
