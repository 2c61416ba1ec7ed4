package tracker

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/anacrolix/torrent/tracker/shared"
)

const (
	// A tracker's intervals are kept within these bounds: less would let a hostile
	// tracker make us flood a third party, more would make us forget it.
	minInterval = 30 * time.Second
	maxInterval = time.Hour
	// defaultInterval stands in for one that is missing.
	defaultInterval = 30 * time.Minute
	// defaultMinInterval is how soon WantMore may announce again when the tracker
	// gives no interval at all.
	defaultMinInterval = time.Minute

	// movedInterval is the least time between two announces that are made because our address
	// or port has changed.
	movedInterval = time.Minute

	// A tracker that failed is rested for firstBackoff, then for twice as long each
	// time up to maxBackoff, each plus or minus a fifth.
	firstBackoff = 15 * time.Second
	maxBackoff   = time.Hour
)

// line is trackers of which one is announced to: those of a tier, or all of them. Like
// everything here, it is guarded by Announcer.mu. Its times are differences to
// time.Now, which has a monotonic clock: what becomes of the wall clock does not matter.
type line struct {
	trackers []*trackerState // in the order to try them
	queue    []*trackerState // those that this round has still to try
	running  *trackerState   // it is being announced to
	current  *trackerState   // it answered last
	ok       bool            // the last round found a tracker that answers
	more     bool            // more peers are wanted
	moved    bool            // our address or port has changed
	told     time.Time       // when an announce was last begun because of that
	last     time.Time       // when an announce last succeeded
	soonest  time.Duration   // after last, before which wanting more has no effect
	next     time.Time       // zero: never
}

// run looks at the schedule whenever it changes or something is due.
func (a *Announcer) run() {
	const idle = 24 * time.Hour // nothing is due ever
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		a.mu.Lock()
		next := a.schedule(time.Now())
		unusable := a.unusable
		a.unusable = nil
		a.mu.Unlock()
		for _, s := range unusable {
			a.onStatus(s)
		}
		wait := idle
		if !next.IsZero() {
			wait = time.Until(next)
		}
		timer.Reset(wait)
		select {
		case <-a.wake:
		case <-timer.C:
		case <-a.ctx.Done():
			return
		}
	}
}

// schedule starts what is due and returns when to look again.
func (a *Announcer) schedule(now time.Time) (next time.Time) {
	if a.closed {
		return time.Time{}
	}
	for _, l := range a.lines {
		if l.running != nil {
			continue
		}
		if soonest := l.last.Add(l.soonest); l.more && l.ok && soonest.Before(l.next) {
			l.next = soonest
		}
		l.more = false
		l.tellMoved(now)
		if l.ok && a.owes(l.current) {
			l.next = now
		}
		if !l.next.IsZero() && !l.next.After(now) {
			l.queue = slices.Clone(l.trackers)
			a.startNext(l, now)
		}
		if l.running == nil {
			next = earlier(next, l.next)
		}
	}
	return next
}

// tellMoved plans the announce of a change of our address or port. A line whose round fails
// carries the news with the next.
func (l *line) tellMoved(now time.Time) {
	switch due := l.told.Add(movedInterval); {
	case !l.moved:
	case !l.ok || l.next.IsZero():
		l.moved = false
	case now.Before(due):
		l.next = earlier(l.next, due)
	default:
		l.moved, l.told, l.next = false, now, now
	}
}

// startNext tries the next tracker of a round; without one the round has failed.
func (a *Announcer) startNext(l *line, now time.Time) {
	for len(l.queue) > 0 && !a.closed {
		tr := l.queue[0]
		l.queue = l.queue[1:]
		if tr.mayBeAsked(now) {
			l.running = tr
			a.start(tr)
			return
		}
	}
	l.failed(now)
}

// failed plans a round for when the first tracker may be asked again.
func (l *line) failed(now time.Time) {
	l.ok, l.next = false, time.Time{}
	for _, tr := range l.trackers {
		if tr.leaving {
			l.next = earlier(l.next, now.Add(time.Second))
		} else if !tr.never {
			l.next = earlier(l.next, tr.rest)
		}
	}
}

// succeeded takes a tracker's answer; it moves to the front.
func (l *line) succeeded(tr *trackerState, resp *response, now time.Time) {
	i := slices.Index(l.trackers, tr)
	l.trackers = slices.Insert(slices.Delete(l.trackers, i, i+1), 0, tr)
	l.queue, l.current, l.ok, l.last = nil, tr, true, now
	interval, least := bound(resp.interval, defaultInterval), bound(resp.minInterval, 0)
	l.next = now.Add(max(interval, least))
	switch {
	case least > 0:
		l.soonest = least
	case resp.interval > 0:
		l.soonest = interval
	default:
		l.soonest = defaultMinInterval
	}
}

// extend appends trackers, which are tried at once if the others fail.
func (l *line) extend(tier []*trackerState) {
	l.trackers = append(l.trackers, tier...)
	if !l.ok && l.running == nil {
		l.next = time.Now()
	}
}

// remove takes a tracker out and returns it, or nil.
func (l *line) remove(name string) *trackerState {
	i := slices.IndexFunc(l.trackers, func(tr *trackerState) bool { return tr.name == name })
	if i < 0 {
		return nil
	}
	tr := l.trackers[i]
	l.trackers = slices.Delete(slices.Clone(l.trackers), i, i+1)
	l.queue = slices.DeleteFunc(slices.Clone(l.queue), func(other *trackerState) bool { return other == tr })
	if l.running == tr || l.current == tr {
		l.next = time.Now() // another takes its place
	}
	if l.running == tr {
		l.running = nil
	}
	if l.current == tr {
		l.current, l.ok = nil, false
	}
	return tr
}

// merge makes one line of all, with one tracker in use, and returns the trackers that
// are not in use any more.
func (a *Announcer) merge() (merged *line, rest []*trackerState) {
	keep := slices.IndexFunc(a.lines, func(l *line) bool { return l.ok })
	if keep < 0 {
		keep = max(0, slices.IndexFunc(a.lines, func(l *line) bool { return l.running != nil }))
	}
	merged = a.lines[keep]
	for i, l := range a.lines {
		if i != keep {
			merged.trackers = append(merged.trackers, l.trackers...)
		}
	}
	merged.queue = nil
	if merged.running != nil && !merged.ok {
		merged.queue = slices.DeleteFunc(slices.Clone(merged.trackers), func(tr *trackerState) bool { return tr == merged.running })
	}
	for _, tr := range merged.trackers {
		inUse := tr == merged.running || merged.running == nil && tr == merged.current
		if !inUse && (tr.done != nil || tr.started()) {
			rest = append(rest, tr)
		}
	}
	return merged, rest
}

// lineOf returns the line of a tracker, nil if it was removed.
func (a *Announcer) lineOf(tr *trackerState) *line {
	for _, l := range a.lines {
		if slices.Contains(l.trackers, tr) {
			return l
		}
	}
	return nil
}

// owes says whether a tracker that is in use has yet to hear that the download is
// complete.
func (a *Announcer) owes(tr *trackerState) bool {
	if tr == nil {
		return false
	}
	for _, rt := range tr.routes {
		if rt.started && a.event(tr, rt) == eventCompleted {
			return true
		}
	}
	return false
}

// event is what a tracker is due to be told over a route. One that was first asked when
// the download was complete has nothing to be told of that.
func (a *Announcer) event(tr *trackerState, rt *route) shared.AnnounceEvent {
	switch {
	case !rt.started:
		return eventStarted
	case a.completed && tr.wasIncomplete && !rt.completed:
		return eventCompleted
	}
	return eventNone
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// bound keeps an interval of a tracker's, in seconds, within reason.
func bound(seconds int64, missing time.Duration) time.Duration {
	if seconds <= 0 {
		return missing
	}
	seconds = min(seconds, int64(maxInterval/time.Second)) // so that the product cannot overflow
	return max(time.Duration(seconds)*time.Second, minInterval)
}

func backoff(failures int) time.Duration {
	d := firstBackoff
	for range failures - 1 {
		if d *= 2; d >= maxBackoff {
			return maxBackoff
		}
	}
	return d
}

func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(d*2/5)
}
