package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
)

const (
	// progressInterval is how often `progress` events come (and bars are drawn).
	progressInterval = time.Second

	// lonelyAfter is when a torrent without peers is worth a hint.
	lonelyAfter = 30 * time.Second

	// settleTime is how long torrents are looked at each second in any case: what is
	// missing of data to be seeded shows in it.
	settleTime = 10 * time.Second
)

// session is a run of the engine that is shown to the user.
type session struct {
	app     *app
	engine  *client.Client
	events  *eventQueue
	changes chan change
	tasks   []*task
	told    map[string]bool // trackers whose errors have been told
	started time.Time
	shown   time.Time // of the last plain lines
	failed  []error

	discards bool // what was downloaded is deleted at the end

	onComplete func(*task) // called once for each complete torrent

	// onMissing, if set, is called once for each torrent whose data turns out
	// not to be all there.
	onMissing func(*task, client.Stats)

	// status, if set, may say in other words than statusOf what a torrent is doing.
	status func(*task, client.Stats) (bar, text string, ok bool)

	// magnet, if set, makes the magnet link of a torrent that is told.
	magnet func(*task) string

	// summary, if set, is called at each report, and may return lines to be drawn below
	// the torrents, and what to say without a terminal.
	summary func() (lines []string, text string)
	said    string // of summary
}

// task is one torrent of a session.
type task struct {
	*client.Torrent
	started  time.Time
	said     string // the last plain line
	done     bool   // complete or failed
	hinted   bool
	missing  bool // onMissing was called
	infoHash string
}

// change is a step in the life of a torrent.
type change struct {
	task *task
	what func(*session, *task)
}

// open starts the engine.
func (a *app) open(f *engineFlags) (*session, error) {
	s := &session{
		app: a, events: newEventQueue(), changes: make(chan change),
		told: make(map[string]bool), started: time.Now(), shown: time.Now(),
	}
	var err error
	if s.engine, err = a.start(f, s.events.put); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *session) add(torrent *client.Torrent) {
	infoHash := torrent.InfoHash()
	s.tasks = append(s.tasks, &task{Torrent: torrent, started: time.Now(), infoHash: hex.EncodeToString(infoHash[:])})
}

// run shows what happens until all torrents are complete (or failed), or with
// forever until ctx ends, and closes the engine.
func (s *session) run(ctx context.Context, forever bool) error {
	err := s.close(s.show(ctx, forever))
	if errors.Is(err, errInterrupted) && untold(err) == nil {
		s.app.line("stopped; the same command continues where it was")
	}
	return err
}

// show is run without closing the engine.
func (s *session) show(ctx context.Context, forever bool) error {
	watch, cancel := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	for _, t := range s.tasks {
		watchers.Go(func() { s.watch(watch, t) })
	}
	err := s.loop(ctx, forever)
	cancel()
	watchers.Wait()
	s.app.draw(nil)
	return err
}

// close closes the engine. It returns err, why the session ended, and what went
// wrong since.
func (s *session) close(err error) error {
	if closeErr := s.engine.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("cannot save the state: %w", closeErr))
	}
	return err
}

// fetchInfo gets the info dictionary of a magnet link. begun is called when it has begun
// to look for it.
func (s *session) fetchInfo(ctx context.Context, src *meta.Source, options client.TorrentOptions, begun func(*client.Torrent)) (*meta.Torrent, error) {
	options.MetadataOnly = true
	torrent, err := s.engine.Add(src, options)
	if err != nil {
		return nil, err
	}
	s.app.line("fetching the metadata of %s", torrent.Name())
	begun(torrent)
	err = s.awaitInfo(ctx, torrent)
	if closeErr := torrent.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	found := &meta.Torrent{Info: torrent.Info(), WebSeeds: src.Magnet.WebSeeds}
	for _, tracker := range src.Magnet.Trackers {
		found.Trackers = append(found.Trackers, []string{tracker})
	}
	return found, nil
}

// awaitInfo shows what happens until the metadata of a torrent is there.
func (s *session) awaitInfo(ctx context.Context, torrent *client.Torrent) error {
	s.add(torrent)
	defer func() {
		s.tasks = nil
		s.app.draw(nil)
	}()
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-torrent.GotInfo():
			return nil
		case <-torrent.Failed():
			return torrent.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.events.ready:
			s.tellAll()
		case <-ticker.C:
			s.report()
		}
	}
}

func (s *session) loop(ctx context.Context, forever bool) error {
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		pending := 0
		for _, t := range s.tasks {
			if !t.done {
				pending++
			}
		}
		if len(s.failed) == len(s.tasks) && len(s.tasks) > 0 || pending == 0 && !forever {
			return errors.Join(s.failed...)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-s.changes:
			c.what(s, c.task)
		case <-s.events.ready:
			s.tellAll()
		case <-ticker.C:
			s.report()
		}
	}
}

// watch sends the changes of one torrent to the loop.
func (s *session) watch(ctx context.Context, t *task) {
	for _, step := range []struct {
		reached <-chan struct{}
		what    func(*session, *task)
	}{
		{t.GotInfo(), (*session).gotInfo},
		{t.Complete(), (*session).complete},
		{nil, nil}, // then only failure is left
	} {
		c, failed := change{t, step.what}, false
		select {
		case <-step.reached:
		case <-t.Failed():
			c.what, failed = (*session).fail, true
		case <-ctx.Done():
			return
		}
		select {
		case s.changes <- c:
		case <-ctx.Done():
			return
		}
		if failed {
			return
		}
	}
}

func (s *session) gotInfo(t *task) {
	event := newTorrentEvent(t.Info(), s.magnetOf(t), t.Selected())
	s.app.event("torrent", event)
	selected := 0
	for _, file := range event.Files {
		if file.Selected {
			selected++
		}
	}
	s.app.line("%s: %s, %d of %d files", event.Name, formatBytes(event.Length), selected, len(event.Files))
}

func (s *session) magnetOf(t *task) string {
	if s.magnet != nil {
		return s.magnet(t)
	}
	return t.Magnet()
}

func (s *session) complete(t *task) {
	t.done = true
	stats := t.Stats()
	s.app.event("progress", newProgressEvent(t.infoHash, stats))
	path := filepath.Join(t.Dir(), t.Info().Name)
	elapsed := time.Since(t.started)
	s.app.event("complete", completeEvent{t.infoHash, path, elapsed.Seconds(), stats.Downloaded})
	if stats.Downloaded > 0 {
		s.app.line("%s: complete, %s in %s (%s), in %s", t.Name(), formatBytes(stats.Downloaded),
			formatDuration(elapsed), formatRate(float64(stats.Downloaded)/elapsed.Seconds()), path)
	} else {
		s.app.line("%s: all of it is in %s", t.Name(), path)
	}
	s.onComplete(t)
}

// fail tells at once: the others may go on for days.
func (s *session) fail(t *task) {
	t.done = true
	err := fmt.Errorf("%s: %w", t.Name(), t.Err())
	if disk.IsFull(err) && !s.discards {
		err = fmt.Errorf("%w; what was verified is kept", err)
	}
	s.app.fail(t.infoHash, err)
	s.failed = append(s.failed, toldError{err})
}

// tellAll prints the events of the engine that wait.
func (s *session) tellAll() {
	for _, event := range s.events.take() {
		s.tell(event)
	}
}

// tell prints an event of the engine.
func (s *session) tell(event client.Event) {
	switch e := event.(type) {
	case client.TrackerEvent:
		body := trackerEvent{URL: e.URL, State: "ok", Seeds: e.Seeds, Leeches: e.Leeches, Message: e.Message, InfoHash: hex.EncodeToString(e.InfoHash[:])}
		if !e.OK {
			body.State = "error"
			if !s.told[e.URL] {
				s.told[e.URL] = true
				s.app.line("tracker %s: %s", e.URL, e.Message)
			}
		}
		s.app.event("tracker", body)
	case client.CheckingEvent:
		s.app.event("checking", checkingEvent{hex.EncodeToString(e.InfoHash[:]), e.Checked, e.Length})
	case client.NoBrowserEvent:
		infoHash, message := hex.EncodeToString(e.InfoHash[:]), "no browser is connected: "+e.Reason
		s.app.event("warning", messageEvent{Message: message, InfoHash: infoHash})
		if s.app.verbose {
			s.app.line("%s: %s", infoHash, message)
		}
	case client.PortMapEvent:
		s.app.event("portmap", newPortMapEvent(e.Status))
		if s.app.verbose {
			s.app.line("%s", portMapWords(e.Status))
		}
	case client.WarningEvent:
		infoHash := ""
		if e.InfoHash != [20]byte{} {
			infoHash = hex.EncodeToString(e.InfoHash[:])
		}
		s.app.warn(infoHash, e.Message)
	}
}

// report shows how far everything is.
func (s *session) report() {
	lines := make([]string, 0, len(s.tasks))
	plain := !s.app.bars() && !s.app.quiet && time.Since(s.shown) >= lineInterval
	if plain {
		s.shown = time.Now()
	}
	if !plain && !s.app.bars() && !s.app.json && time.Since(s.started) > settleTime {
		return // nobody would see it, and a thousand torrents take a while to ask
	}
	for _, t := range s.tasks {
		stats := t.Stats()
		s.app.event("progress", newProgressEvent(t.infoHash, stats))
		s.hint(t, stats)
		if s.onMissing != nil && !t.missing && stats.State == client.StateDownloading {
			t.missing = true
			s.onMissing(t, stats)
		}
		bar, text := s.statusOf(t, stats)
		lines = append(lines, bar)
		if plain && stats.State != client.StateFailed && text != t.said {
			t.said = text
			s.app.line("%s: %s", t.Name(), text)
		}
	}
	if s.summary != nil {
		below, text := s.summary()
		lines = append(lines, below...)
		if plain && text != s.said {
			s.said = text
			s.app.line("%s", text)
		}
	}
	s.app.draw(lines)
}

// statusOf is what a torrent is doing, as a bar and as text.
func (s *session) statusOf(t *task, stats client.Stats) (bar, text string) {
	if s.status != nil {
		if bar, text, ok := s.status(t, stats); ok {
			return bar, text
		}
	}
	details := statusItems(stats)
	text = strings.Join(details, ", ")
	done := stats.Wanted - stats.Left
	amount := amountOf(done, stats.Wanted)
	switch stats.State {
	case client.StateMetadata:
		return shorten(t.Name(), mostName) + "  " + text, text
	case client.StateChecking:
		return s.app.bar(t.Name(), percentBar(stats.Checked, stats.ToCheck), "checking", amountOf(stats.Checked, stats.Length)), text
	case client.StateDownloading:
		text = percentOf(done, stats.Wanted) + ", " + text
	}
	return s.app.bar(t.Name(), percentBar(done, stats.Wanted), append(details, amount)...), text
}

func (s *session) hint(t *task, stats client.Stats) {
	peers := stats.Peers.TCP + stats.Peers.UTP + stats.Peers.WebRTC + stats.Peers.WebSeed
	searching := stats.State == client.StateMetadata || stats.State == client.StateDownloading
	if t.hinted || peers > 0 || !searching || time.Since(t.started) < lonelyAfter {
		return
	}
	t.hinted = true
	s.app.line("%s: no peers yet; still looking. A tracker (--tracker) or a peer's address (--peer) may help", t.Name())
}

// statusItems is what a torrent is doing, in words, the most important first.
func statusItems(stats client.Stats) []string {
	peers := fmt.Sprintf("%d peers", stats.Peers.TCP+stats.Peers.UTP+stats.Peers.WebRTC+stats.Peers.WebSeed)
	up := "up " + formatRate(stats.UpRate)
	switch stats.State {
	case client.StateMetadata:
		return []string{"fetching the metadata", peers}
	case client.StateChecking:
		return []string{"checking " + percentOf(stats.Checked, stats.ToCheck)}
	case client.StateSeeding:
		return []string{"seeding", up, formatBytes(stats.Uploaded) + " sent", peers}
	case client.StateFailed:
		return []string{"failed"}
	}
	items := []string{"down " + formatRate(stats.DownRate)}
	if stats.ETA >= 0 {
		items = append(items, formatDuration(stats.ETA)+" left")
	}
	return append(items, peers, up)
}
