package tracker

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// A tracker's intervals are kept within these bounds: less would let a hostile
	// tracker make us flood a third party, more would make us forget it.
	minInterval = 30 * time.Second
	maxInterval = time.Hour
	// defaultInterval stands in for one that is missing.
	defaultInterval = 30 * time.Minute
	// defaultMinInterval is how soon WantMore may announce again when the tracker
	// gives no minimum (UDP trackers cannot).
	defaultMinInterval = time.Minute

	// A tier whose trackers all failed is tried again after firstBackoff, then
	// after twice as long each time up to maxBackoff, each plus or minus a fifth.
	firstBackoff = 15 * time.Second
	maxBackoff   = 30 * time.Minute

	// announceTimeout bounds one announce to one tracker, so that one which
	// answers a byte at a time does not keep its tier from the next.
	announceTimeout = 30 * time.Second
)

// tier is the trackers of one tier and the goroutine that announces to them; that
// goroutine alone touches trackers and the fields below it.
type tier struct {
	a         *Announcer
	completed chan struct{}
	more      chan struct{}

	trackers []*trackerState // in the order to try them
	failures int             // of the whole tier, in a row
	last     time.Time       // when an announce last succeeded
	soonest  time.Duration   // after last, before which WantMore has no effect
	next     time.Time
}

// trackerState is what one tracker has been told and has said.
type trackerState struct {
	url       string
	started   bool // it has answered an announce with the event started
	completed bool // it needs no event completed, or has had it
	trackerID string
	udp       udpSession
	told      Status // the status last handed to OnStatus
}

func newTier(a *Announcer) *tier {
	return &tier{a: a, completed: make(chan struct{}, 1), more: make(chan struct{}, 1)}
}

// poke leaves a note in c, which is one of the tier's two channels.
func (t *tier) poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (t *tier) run() {
	for {
		t.announce()
		if !t.wait() {
			return
		}
	}
}

// wait returns true when it is time for the next announce, false when the
// announcer is closed.
func (t *tier) wait() bool {
	timer := time.NewTimer(time.Until(t.next))
	defer timer.Stop()
	for {
		select {
		case <-t.a.ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-t.completed:
			if t.failures == 0 {
				return true
			}
		case <-t.more:
			if soonest := t.last.Add(t.soonest); t.failures == 0 && soonest.Before(t.next) {
				t.next = soonest
				timer.Reset(time.Until(soonest))
			}
		}
	}
}

// announce tries the tier's trackers in turn until one answers, and sets when to
// do so again.
func (t *tier) announce() {
	for i, tr := range t.trackers {
		ctx, cancel := context.WithTimeoutCause(t.a.ctx, announceTimeout, errSlow)
		resp, err := t.a.announceEvent(ctx, tr)
		cancel()
		if t.a.ctx.Err() != nil {
			return
		}
		if err != nil {
			t.a.log.Debug("tracker announce failed", "url", tr.url, "err", err)
			t.a.tell(tr, Status{URL: tr.url, Message: err.Error(), Next: time.Now().Add(backoff(t.failures + 1))})
			continue
		}
		t.trackers = slices.Insert(slices.Delete(t.trackers, i, i+1), 0, tr)
		t.succeeded(tr, resp)
		return
	}
	t.failures++
	t.next = time.Now().Add(jitter(backoff(t.failures)))
}

var errSlow = errors.New("no complete answer within 30 s")

func (t *tier) succeeded(tr *trackerState, resp *response) {
	interval := bound(resp.interval, defaultInterval)
	t.failures = 0
	t.last = time.Now()
	t.soonest = min(bound(resp.minInterval, defaultMinInterval), interval)
	t.next = t.last.Add(interval)
	t.a.tell(tr, Status{
		URL: tr.url, OK: true, Seeds: resp.seeds, Leeches: resp.leeches,
		Message: resp.warning, Next: t.next,
	})
	if t.a.cfg.OnPeers != nil && len(resp.peers) > 0 {
		t.a.cfg.OnPeers(tr.url, resp.peers)
	}
}

// tell hands a status on if it says anything new.
func (a *Announcer) tell(tr *trackerState, s Status) {
	told := tr.told
	tr.told = s
	told.Next = s.Next
	if a.cfg.OnStatus != nil && told != s {
		a.cfg.OnStatus(s)
	}
}

// announceEvent announces with the event that the tracker is due, and notes that
// it has had it.
func (a *Announcer) announceEvent(ctx context.Context, tr *trackerState) (*response, error) {
	completed := a.isCompleted()
	e := eventNone
	switch {
	case !tr.started:
		e = eventStarted
	case completed && !tr.completed:
		e = eventCompleted
	}
	resp, err := a.announce(ctx, tr, e)
	if err == nil {
		tr.started = true
		tr.completed = tr.completed || completed
	}
	return resp, err
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
