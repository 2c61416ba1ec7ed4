package tracker

import (
	"context"
	"sync"
	"time"

	"github.com/anacrolix/torrent/tracker/shared"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// farewellTimeout bounds telling a tracker that we leave, when the announcer goes on
// or is closed without a deadline.
const farewellTimeout = 3 * time.Second

// Close tells the trackers that have answered that this peer is leaving, until ctx
// ends, and waits for all goroutines. Those that have yet to hear that the download is
// complete hear that first. Calling it again does nothing.
func (a *Announcer) Close(ctx context.Context) {
	a.mu.Lock()
	already := a.closed
	a.closed = true
	if !already {
		for _, tr := range a.all() {
			// What may bring, or be, "completed" has half of the time to end.
			if tr.cut != nil && (!a.completed || !tr.wasIncomplete) {
				tr.cut(errCut)
			}
		}
	}
	a.mu.Unlock()
	if already {
		return
	}
	a.cancel()
	half := time.AfterFunc(halfOf(ctx), func() { a.stopWork(errCut) })
	stop := context.AfterFunc(ctx, func() { a.stopWork(errCut) })
	a.wg.Wait()
	half.Stop()
	stop()
	a.stopWork(errCut)
	var leaving sync.WaitGroup
	for _, tr := range a.all() { // nobody else has them any more
		leaving.Go(func() { a.farewell(ctx, tr) })
	}
	leaving.Wait()
}

func (a *Announcer) all() (all []*trackerState) {
	for _, l := range a.lines {
		all = append(all, l.trackers...)
	}
	return all
}

// halfOf returns half of the time that is left until ctx ends.
func halfOf(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return farewellTimeout / 2
	}
	return max(0, time.Until(deadline)/2)
}

// leave tells a tracker, in a goroutine of its own, that it is not announced to any
// more; a.mu is held, and a is not closed.
func (a *Announcer) leave(tr *trackerState) {
	if tr.leaving {
		return
	}
	tr.leaving = true
	done := tr.done
	if tr.cut != nil {
		tr.cut(errCut)
	}
	a.wg.Go(func() {
		if done != nil {
			<-done
		}
		ctx, cancel := context.WithTimeout(a.work, farewellTimeout)
		defer cancel()
		a.farewell(ctx, tr)
		a.mu.Lock()
		defer a.mu.Unlock()
		tr.leaving = false
		a.poke()
	})
}

// farewell tells a tracker "completed", if it has yet to hear that, and "stopped", over
// each route by which it counts us.
func (a *Announcer) farewell(ctx context.Context, tr *trackerState) {
	a.mu.Lock()
	var visits []visit
	for _, rt := range tr.routes {
		if rt.started {
			visits = append(visits, visit{route: rt, event: a.event(tr, rt)})
			rt.started = false
			rt.completed = rt.completed || a.completed
		}
	}
	a.mu.Unlock()
	var telling sync.WaitGroup
	for _, v := range visits {
		telling.Go(func() {
			if v.event == eventCompleted {
				half, cancel := context.WithTimeout(ctx, halfOf(ctx))
				a.say(half, tr, v.route, eventCompleted)
				cancel()
			}
			a.say(ctx, tr, v.route, eventStopped)
		})
	}
	telling.Wait()
}

func (a *Announcer) say(ctx context.Context, tr *trackerState, rt *route, e shared.AnnounceEvent) {
	var err error
	if fault := reach.Guard(a.log, "announce", func() { _, err = a.announceOver(ctx, tr.url, visit{route: rt, event: e}) }); fault != nil {
		err = fault
	}
	if err != nil {
		a.log.Debug("tracker did not hear an event", "url", tr.name, "event", e.String(), "err", err)
	}
}
