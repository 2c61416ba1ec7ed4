package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/client/content"
	"github.com/causeway-bt/causeway/client/disk"
)

// phase is where a torrent stands in its life.
//
//	stopped ──Start──► metadata ──► layers ──► checking ──► live
//	   ▲                  │            │         ▲  │         │
//	   │                  └────────────┴─────────┼──┴────┬────┤
//	   ├──────────────────── Stop ───────────────┼───────┘    │
//	   │                                      Recheck ◄───────┤
//	   └── Stop ── error ◄── a fault of the disk or the data ─┤
//	                 └──Start──► metadata, checking           │
//	moving ◄──────────── Move, from any of them ──────────────┘
//	   └──► checking, if it was started; else stopped
//
// What is known already is passed over: a .torrent file begins with checking. Only
// enter changes the phase, in the event loop.
type phase int

const (
	phaseStopped  phase = iota // nobody knows of us, nothing is open
	phaseMetadata              // the info dictionary is being fetched from peers
	phaseLayers                // the piece layers are: for verifiers that need them (BEP 52)
	phaseChecking              // files are compared with the resume state, and hashed where needed
	phaseLive                  // downloading or seeding
	phaseMoving                // the files are being moved to another folder
	phaseError                 // it cannot go on before Start; Err says why
)

// transitions lists, for each phase, those that may follow.
var transitions = map[phase][]phase{
	phaseStopped:  {phaseMetadata, phaseChecking, phaseMoving},
	phaseMetadata: {phaseLayers, phaseChecking, phaseStopped, phaseMoving, phaseError},
	phaseLayers:   {phaseChecking, phaseStopped, phaseMoving, phaseError},
	phaseChecking: {phaseLive, phaseChecking, phaseStopped, phaseMoving, phaseError},
	phaseLive:     {phaseChecking, phaseStopped, phaseMoving, phaseError},
	phaseMoving:   {phaseMetadata, phaseChecking, phaseStopped, phaseError},
	phaseError:    {phaseMetadata, phaseChecking, phaseStopped, phaseMoving},
}

// run is what a torrent has from Start to Stop, or from one check to the next.
type run struct {
	ctx     context.Context
	cancel  context.CancelFunc
	checked chan struct{} // closed when the check of the files has ended; nil: none was begun
	// content is what was opened for it, for who has waited for checked.
	content *content.Content
}

// ErrNoInfo is returned by what needs to know what is in the torrent, before GotInfo.
var ErrNoInfo = errors.New("what is in the torrent is not known yet")

var (
	errStopped = errors.New("the torrent was stopped")
	errRecheck = errors.New("the files are being checked anew")
	errMoving  = errors.New("the files are being moved")
)

// enter changes the phase.
func (t *Torrent) enter(next phase) {
	l := &t.loop
	if !slices.Contains(transitions[l.phase], next) {
		panic(fmt.Sprintf("a torrent cannot go from phase %d to %d", l.phase, next))
	}
	l.phase = next
	t.tellState()
}

// tellState reports the state, if it is another than before.
func (t *Torrent) tellState() {
	state := t.state()
	if state == t.loop.told {
		return
	}
	t.loop.told = state
	t.client.cfg.OnEvent(StateEvent{InfoHash: t.infoHash, State: state, Err: t.Err()})
}

// begin goes to the first phase of a torrent that is to run, unless it is closing.
func (t *Torrent) begin() {
	if !t.newRun() {
		return
	}
	switch {
	case t.Info() == nil:
		t.enter(phaseMetadata)
		t.fetchSources()
		t.startSwarms()
	case t.opts.MetadataOnly:
		t.enter(phaseChecking)
	default:
		t.check(false)
	}
	t.wakeUp()
}

// newRun reports false if the torrent is closing: nothing is begun then.
func (t *Torrent) newRun() bool {
	if t.ctx.Err() != nil {
		return false
	}
	t.setErr(nil)
	r := &run{}
	r.ctx, r.cancel = context.WithCancel(t.ctx)
	t.loop.run = r
	return true
}

func (t *Torrent) startSwarms() {
	for _, s := range t.swarms {
		s.Start()
	}
}

// check opens the torrent's files and finds out which pieces are there: as remembered,
// or with again by hashing all there is.
func (t *Torrent) check(again bool) {
	t.enter(phaseChecking)
	r := t.loop.run
	r.checked = make(chan struct{})
	host := &contentHost{t: t}
	cfg := t.contentConfig(r.ctx, again, host)
	if !t.spawn(func() {
		defer close(r.checked)
		c, err := content.Open(cfg)
		var found content.Found
		if err == nil {
			host.content.Store(c)
			r.content = c
			t.do(func() {
				if t.loop.run == r {
					t.loop.content = c
				}
			})
			found, err = t.checkFiles(r.ctx, c)
		}
		t.do(func() { t.filesChecked(r, c, found, err) })
	}) {
		close(r.checked)
	}
}

// contentConfig says how the files are opened. ctx ends when the torrent stops.
func (t *Torrent) contentConfig(ctx context.Context, again bool, host content.Host) content.Config {
	info := t.Info()
	cfg := content.Config{
		Info: info, Verifier: disk.Pieces(info), Key: t.infoHash, Dir: t.Dir(), Selected: t.Selected(),
		Allocation: t.client.cfg.Allocation, Cache: t.opts.Cache,
		Trusted: t.opts.Trusted, KeepLonger: t.opts.KeepLonger, Sequential: t.opts.Sequential,
		OnDemand: t.opts.OnDemand, Overwrite: t.opts.Overwrite, Recheck: again, Ended: ctx.Done(),
		Memory: t.client.memory, Pool: t.client.pool, Handles: t.client.handles, Owners: t.client.owners, Store: t.client.store,
		Host: host, Readers: t.readers, Logger: t.log,
	}
	if cfg.Cache > 0 {
		cfg.Cache = content.BoundCache(info, cfg.Selected, cfg.Cache)
		if asked := t.opts.Cache; asked < cfg.Cache && asked < info.Length {
			t.client.warn(t.infoHash, fmt.Sprintf("the cache takes %.1f MiB instead of %.1f, which the head and the tail of the file and what is played next need",
				float64(cfg.Cache)/(1<<20), float64(asked)/(1<<20)))
		}
	}
	return cfg
}

// checkEventInterval is how often progress of a check is reported.
const checkEventInterval = 200 * time.Millisecond

// checkFiles hashes what has to be, and reports how far that is.
func (t *Torrent) checkFiles(ctx context.Context, c *content.Content) (content.Found, error) {
	return c.Check(ctx, func(ctx context.Context) (func(), error) {
		if err := t.client.checks.Take(ctx); err != nil {
			return nil, err
		}
		checked, told := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(told)
			ticker := time.NewTicker(checkEventInterval)
			defer ticker.Stop()
			for ended := false; ; {
				if done, all := c.Checked(); all > 0 {
					t.client.cfg.OnEvent(CheckingEvent{t.infoHash, done, all})
				}
				if ended {
					return
				}
				select {
				case <-ticker.C:
				case <-checked:
					ended = true
				}
			}
		}()
		return func() {
			close(checked)
			<-told
			t.client.checks.Done()
		}, nil
	})
}

// filesChecked takes in the end of a check, and goes live.
func (t *Torrent) filesChecked(r *run, c *content.Content, found content.Found, err error) {
	l := &t.loop
	switch {
	case r != l.run || r.ctx.Err() != nil:
		return // it was stopped meanwhile, and whoever did that has the content
	case err != nil:
		t.fail(err)
		return
	}
	if selected := *t.selected.Load(); !slices.Equal(selected, c.Selected()) { // changed meanwhile
		c.Reselect(selected, func(err error) { t.filesChecked(r, c, found, err) })
		return
	}
	if dir := c.Dir(); dir != t.Dir() { // a move of an earlier run was finished
		t.moved(dir)
	}
	t.content.Store(c)
	t.lastContent.Store(c)
	t.enter(phaseLive)
	c.Begin(found)
	if l.phase != phaseLive {
		return // beginning failed
	}
	t.tellState() // it may be seeding already
	t.tellPeers()
	t.startSwarms()
	t.readers.Use(c)
	c.Schedule(time.Now(), true)
	t.wakeUp()
}

// halt ends what a torrent does with its files and peers, and enters another phase. It
// returns what is left to be done, outside of the loop: to wait for the disk, and to
// save the state.
func (t *Torrent) halt(next phase, why error) (settle func() error) {
	l := &t.loop
	for p := range l.peers {
		t.drop(p, why)
	}
	r, c := l.run, l.content
	l.run, l.content = nil, nil
	t.content.Store(nil)
	t.readers.Use(nil)
	if r != nil {
		r.cancel()
	}
	if c != nil {
		c.Drop()
	}
	l.metadata = metadataFetch{}
	l.throttled = false
	t.complete.reset()
	t.enter(next)
	return func() error { return t.settle(r, c) }
}

// settle waits for the disk and saves the state of a content that was given up. It is
// for a goroutine of the torrent, or the loop when that has ended.
func (t *Torrent) settle(r *run, c *content.Content) error {
	if r != nil && r.checked != nil {
		<-r.checked
		c = r.content // it may have been opened only just now
	}
	if c == nil {
		return nil
	}
	c.Wait()
	var last *disk.State
	if err := t.call(func() {
		t.readMail() // the last pieces
		last = c.Last()
	}); err != nil {
		return err
	}
	return c.Close(last)
}

// fail ends the torrent's work until Start.
func (t *Torrent) fail(err error) {
	l := &t.loop
	if l.run == nil || t.ctx.Err() != nil {
		return
	}
	t.log.Error("torrent failed", "err", err)
	t.setErr(err)
	settle := t.halt(phaseError, fmt.Errorf("the torrent failed: %w", err))
	var left []<-chan struct{}
	for _, s := range t.swarms {
		left = append(left, s.Stop())
	}
	settled := make(chan struct{})
	l.settling = settled
	t.spawn(func() {
		defer close(settled)
		if err := settle(); err != nil && !errors.Is(err, disk.ErrClosed) {
			t.log.Debug("saving the state of a torrent that failed", "err", err)
		}
		for _, l := range left {
			<-l
		}
	})
}

// settled waits until a torrent that has failed is done with its files.
func (t *Torrent) settled() error {
	var settling <-chan struct{}
	if err := t.call(func() { settling = t.loop.settling }); err != nil || settling == nil {
		return err
	}
	select {
	case <-settling:
		return nil
	case <-t.ended:
		return ErrClosed
	}
}

// pause halts a torrent, and waits for its disk; what it has failed with is waited for
// as well.
func (t *Torrent) pause(next phase, why error) error {
	var settle func() error
	if err := t.call(func() { settle = t.halt(next, why) }); err != nil {
		return err
	}
	return errors.Join(settle(), t.settled())
}

// within returns a context that ends with ctx, and with the torrent.
func (t *Torrent) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(t.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

var errFault = errors.New("a fault of this program; its log says more")

// Close ends the torrent, saves its state and takes it from the client; the error says
// that this failed. Its files stay where they are.
func (t *Torrent) Close() error {
	t.cancel()
	<-t.ended
	return t.closeErr
}

// shutdown ends everything that the torrent started, and saves its state.
func (t *Torrent) shutdown() {
	l := &t.loop
	l.timer.Stop()
	var left []<-chan struct{}
	for _, s := range t.swarms {
		left = append(left, s.Stop())
	}
	t.readers.SetErr(ErrClosed)
	if l.phase != phaseStopped {
		settle := t.halt(phaseStopped, ErrClosed)
		t.spawn(func() {
			err := settle()
			t.do(func() {
				if t.Err() == nil {
					t.closeErr = err
				}
			})
		})
	}
	t.spawn(func() {
		for _, l := range left {
			<-l
		}
	})
	t.drain()
	t.client.remove(t)
	close(t.ended)
}

// drain waits for the torrent's goroutines, and does what they still want of the loop.
func (t *Torrent) drain() {
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
		case f := <-t.commands:
			t.guarded(f)
			t.pending.Add(-1)
		case c := <-t.joins:
			c.Close()
		case <-t.mail.wake:
			t.guarded(t.readMail)
		case <-done:
			return
		}
	}
}
