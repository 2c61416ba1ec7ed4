package client

// What may be called of a torrent at any time, from any goroutine. Calls that take their
// time run one after the other: see change.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/client/content"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/swarm"
)

// change runs f, which changes the torrent's life and may wait, alone. It returns
// early when ctx ends; what was begun is then finished all the same.
func (t *Torrent) change(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case t.changing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.ended:
		return ErrClosed
	}
	result := make(chan error, 1)
	if !t.spawn(func() {
		defer func() { <-t.changing }()
		err := errFault
		defer func() { result <- err }()
		switch {
		case t.removed.Load() || t.ctx.Err() != nil:
			err = ErrClosed
		default:
			if err = t.settled(); err == nil {
				err = f()
			}
		}
	}) {
		<-t.changing
		return ErrClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-t.ended:
		return ErrClosed
	}
}

// Start begins to download or to seed, or tries again after an error. A torrent that is
// started stays as it is.
func (t *Torrent) Start(ctx context.Context) error {
	return t.change(ctx, func() error {
		running := false
		if err := t.call(func() {
			if t.loop.run == nil {
				t.begin()
			}
			running = t.loop.run != nil
		}); err != nil || !running {
			return cmp.Or(err, ErrClosed)
		}
		return nil
	})
}

// Stop ends that: peers are let go, trackers are told so, the files are closed and
// what is known of them is saved. The error says that this failed.
func (t *Torrent) Stop(ctx context.Context) error {
	return t.change(ctx, t.stop)
}

func (t *Torrent) stop() error {
	var settle func() error
	var left []<-chan struct{}
	if err := t.call(func() {
		if t.loop.phase == phaseStopped {
			return
		}
		t.setErr(nil)
		t.readers.SetErr(errStopped)
		for _, s := range t.swarms {
			left = append(left, s.Stop())
		}
		settle = t.halt(phaseStopped, errStopped)
	}); err != nil || settle == nil {
		return err
	}
	err := settle()
	for _, l := range left {
		<-l
	}
	return err
}

// Recheck hashes all that is there, whatever is remembered of it. It returns when that
// has begun; a torrent that is not started is started.
func (t *Torrent) Recheck(ctx context.Context) error {
	if t.Info() == nil {
		return ErrNoInfo
	}
	if t.opts.MetadataOnly {
		return errors.New("nothing but what is in the torrent was wanted; there are no files to check")
	}
	return t.change(ctx, func() error {
		// What cannot be saved is found out anew.
		if err := t.pause(phaseChecking, errRecheck); errors.Is(err, ErrClosed) {
			return err
		}
		begun := false
		if err := t.call(func() {
			if begun = t.newRun(); begun {
				t.check(true)
			}
		}); err != nil || !begun {
			return cmp.Or(err, ErrClosed)
		}
		return nil
	})
}

// Select changes which files are wanted: see TorrentOptions.Select.
func (t *Torrent) Select(ctx context.Context, list string) error {
	info := t.Info()
	if info == nil {
		return ErrNoInfo
	}
	selected, err := meta.ParseSelection(list, info)
	if err != nil {
		return err
	}
	return t.change(ctx, func() error {
		result := make(chan error, 1)
		if err := t.call(func() {
			done := func(err error) {
				if err == nil {
					t.selected.Store(&selected)
					t.client.cfg.OnEvent(SelectionEvent{t.infoHash, slices.Clone(selected)})
				}
				result <- err
			}
			if t.loop.phase != phaseLive {
				done(nil)
				return
			}
			t.loop.content.Select(selected, func(err error) {
				done(err)
				t.requestAll(time.Now())
				t.wakeUp()
			})
		}); err != nil {
			return err
		}
		select {
		case err := <-result:
			return err
		case <-t.ended:
			return ErrClosed
		}
	})
}

// Limits returns the limits of the torrent.
func (t *Torrent) Limits() Limits { return *t.limits.Load() }

// SetLimits changes them.
func (t *Torrent) SetLimits(l Limits) error {
	return t.call(func() {
		t.limits.Store(&l)
		t.down.Set(l.Down)
		t.up.Set(l.Up)
		t.limitsChanged()
		t.setSlots()
		t.client.cfg.OnEvent(LimitsEvent{t.infoHash, l})
		t.wakeUp()
	})
}

// SetSwarmLimits bounds, besides the limits of the torrent and the client, what is exchanged in
// the swarm of one of the torrent's infohashes, in bytes per second; 0 none. It fails if the
// torrent has no such swarm.
func (t *Torrent) SetSwarmLimits(infoHash [20]byte, down, up int64) error {
	i := slices.IndexFunc(t.swarms, func(s *swarm.Swarm) bool { return s.InfoHash() == infoHash })
	if i < 0 {
		return fmt.Errorf("the torrent has no swarm %x", infoHash)
	}
	return t.call(func() {
		downLimit, upLimit := t.swarms[i].Limits()
		downLimit.Set(down)
		upLimit.Set(up)
		t.limitsChanged()
		t.wakeUp()
	})
}

// Move moves the files to another folder, and goes on there.
func (t *Torrent) Move(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("finding the folder %s: %w", dir, err)
	}
	if dir == t.Dir() {
		return nil
	}
	return t.change(ctx, func() error {
		ctx, cancel := t.within(ctx)
		defer cancel()
		var live *content.Content
		done := false
		if err := t.call(func() {
			if t.loop.phase == phaseLive {
				live = t.loop.content
			}
			if t.Info() == nil {
				t.moved(dir)
				done = true
			}
		}); err != nil || done {
			return err
		}
		if live == nil {
			return t.moveStopped(ctx, dir)
		}
		if err := live.Move(ctx, dir); err != nil {
			return err
		}
		return t.call(func() { t.moved(dir) })
	})
}

// moved takes in that the files are in another folder.
func (t *Torrent) moved(dir string) {
	t.dir.Store(&dir)
	t.client.cfg.OnEvent(MovedEvent{t.infoHash, dir})
}

// moveStopped moves a torrent that is not live, and goes on with what it did.
func (t *Torrent) moveStopped(ctx context.Context, dir string) error {
	before, running := phaseStopped, false
	if err := t.call(func() { before, running = t.loop.phase, t.loop.run != nil }); err != nil {
		return err
	}
	err := t.pause(phaseMoving, errMoving)
	if err == nil {
		err = t.withFiles(ctx, func(c *content.Content) error { return c.Move(ctx, dir) })
	}
	return errors.Join(err, t.call(func() {
		if err == nil {
			t.moved(dir)
		}
		switch {
		case t.ctx.Err() != nil: // it is closing
		case running:
			t.begin()
		case before == phaseError:
			t.enter(phaseError)
		default:
			t.enter(phaseStopped)
		}
	}))
}

// withFiles opens the files of a torrent that is stopped, for f.
func (t *Torrent) withFiles(ctx context.Context, f func(*content.Content) error) error {
	c, err := content.Open(t.contentConfig(ctx, false, &contentHost{t: t}))
	if err != nil {
		return err
	}
	_, err = t.checkFiles(ctx, c)
	if err == nil {
		err = f(c)
	}
	return errors.Join(err, c.Close(nil))
}

// forget removes the part file and the state of a torrent that is stopped, and with data
// its files.
func (t *Torrent) forget(ctx context.Context, data bool) (left error) {
	if t.Info() != nil {
		left = t.removeFiles(ctx, data)
	}
	if t.client.store == nil {
		return left
	}
	return errors.Join(left, t.client.store.Delete(t.infoHash, t.Dir()))
}

// removeFiles removes the part file, and with data the torrent's own files.
func (t *Torrent) removeFiles(ctx context.Context, data bool) error {
	if t.opts.Cache > 0 {
		return nil // there are none
	}
	cfg := t.contentConfig(ctx, false, &contentHost{t: t})
	wanted := cfg.Selected
	// With none selected, files in the way that are not the torrent's do not matter.
	cfg.Selected = make([]bool, len(wanted))
	c, err := content.Open(cfg)
	if err != nil {
		return err
	}
	if data {
		_, err = t.checkFiles(ctx, c) // to know which are its own
	}
	if err == nil {
		_, err = c.Remove(ctx, data)
	}
	for file := range wanted {
		path, _ := c.OwnFile(file)
		if _, missing := os.Lstat(path); data && wanted[file] && path != "" && missing == nil {
			t.client.warn(t.infoHash, fmt.Sprintf("%s is kept: it is not only this torrent's, or was changed", path))
		}
	}
	return errors.Join(err, c.Close(nil))
}

// Remove stops the torrent, forgets what is remembered of it and takes it from the
// client; with data, its files are deleted, but for those that are not its own. The
// error says what could not be deleted; the torrent is gone all the same.
func (t *Torrent) Remove(ctx context.Context, data bool) error {
	err := t.change(ctx, func() error {
		if err := t.stop(); errors.Is(err, ErrClosed) {
			return err
		}
		err := t.forget(t.ctx, data)
		t.removed.Store(true)
		return err
	})
	if !t.removed.Load() {
		return err
	}
	err = errors.Join(err, t.Close())
	if t.removedOnce.CompareAndSwap(false, true) {
		t.client.cfg.OnEvent(RemovedEvent{t.infoHash, data})
	}
	return err
}
