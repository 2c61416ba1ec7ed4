package tracker

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/anacrolix/torrent/tracker/shared"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

const (
	// announceTimeout bounds one announce to one tracker, so that one which
	// answers a byte at a time does not keep its tier from the next.
	announceTimeout = 30 * time.Second
	// familyGrace is how long the other address family has when one has answered.
	familyGrace = 5 * time.Second
)

var (
	errSlow = errors.New("no complete answer within 30 s")
	// errLate ends the announce over an address family that does not answer while
	// the other does.
	errLate = errors.New("no answer within 5 s of the other address family's")
	// errCut ends an announce that is not wanted any more.
	errCut = errors.New("the announce is not wanted any more")
)

// trackerState is what one tracker has been told and has said. It is guarded by
// Announcer.mu, but for told.
type trackerState struct {
	name          string   // as it was given
	url           *url.URL // never changed
	routes        map[family]*route
	wasIncomplete bool // it was asked while the download was not complete
	leaving       bool // it is being told that we leave
	failures      int  // in a row
	rest          time.Time
	never         bool // it does not want to be asked again

	cut  context.CancelCauseFunc // ends the announce in flight
	done chan struct{}           // closed at its end; nil: none is in flight
	told Status                  // last handed to OnStatus; touched by the announce in flight only
}

// family is an address family: "4", "6", or "" where a proxy decides.
type family string

// route is a tracker by one address family of its host, which is a peer of its own for
// it (BEP 7).
type route struct {
	family    family
	trackerID string     // these are touched
	udp       udpSession // by the announce in flight only
	reached   bool       // so is this: it took a connection

	// The rest is guarded by Announcer.mu.
	started   bool // it has answered an announce with the event started, or may have heard it
	completed bool // it has heard the event completed
	failures  int
	rest      time.Time
}

func (tr *trackerState) mayBeAsked(now time.Time) bool {
	return !tr.never && !tr.leaving && tr.done == nil && !tr.rest.After(now)
}

func (tr *trackerState) started() bool {
	for _, rt := range tr.routes {
		if rt.started {
			return true
		}
	}
	return false
}

// start announces to a tracker in a goroutine of its own; a.mu is held.
func (a *Announcer) start(tr *trackerState) {
	ctx, cut := context.WithCancelCause(a.work)
	tr.cut, tr.done = cut, make(chan struct{})
	tr.wasIncomplete = tr.wasIncomplete || !a.completed
	a.wg.Go(func() {
		defer cut(nil)
		ctx, cancel := context.WithTimeoutCause(ctx, announceTimeout, errSlow)
		defer cancel()
		var resp *response
		var err error
		if fault := reach.Guard(a.log, "announce", func() { resp, err = a.announce(ctx, tr) }); fault != nil {
			resp, err = nil, fault
		}
		a.finish(tr, resp, err)
	})
}

// finish notes what came of an announce.
func (a *Announcer) finish(tr *trackerState, resp *response, err error) {
	if !errors.Is(err, errCut) {
		a.mu.Lock()
		status := a.record(tr, resp, err)
		a.mu.Unlock()
		a.tell(tr, status)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	close(tr.done)
	tr.done, tr.cut = nil, nil
	if l := a.lineOf(tr); l != nil && l.running == tr {
		l.running = nil
		if l.current != tr || !l.ok {
			a.startNext(l, time.Now())
		}
	}
	a.poke()
}

// record plans by what came of an announce; a.mu is held.
func (a *Announcer) record(tr *trackerState, resp *response, err error) Status {
	now, l := time.Now(), a.lineOf(tr)
	if err != nil {
		a.log.Debug("tracker announce failed", "url", tr.name, "err", err)
		tr.failures++
		rest, never := restAfter(err, tr.failures)
		tr.rest, tr.never = now.Add(rest), never
		if l != nil && l.current == tr {
			l.ok = false
		}
		status := Status{URL: tr.name, Message: err.Error(), Next: tr.rest}
		if never {
			status.Message, status.Next = status.Message+" (and wants not to be asked again)", time.Time{}
		}
		return status
	}
	tr.failures, tr.rest = 0, time.Time{}
	status := Status{URL: tr.name, OK: true, Seeds: resp.seeds, Leeches: resp.leeches, Message: resp.warning}
	if l == nil {
		return status
	}
	l.succeeded(tr, resp, now)
	status.Next = l.next
	if a.one && !a.closed {
		for _, other := range l.trackers {
			if other != tr && other.started() {
				a.leave(other)
			}
		}
	}
	return status
}

// restAfter is how long a tracker that failed is left alone: longer each time, and as
// long as it asks for.
func restAfter(err error, failures int) (rest time.Duration, never bool) {
	rest = jitter(backoff(failures))
	var refused refusal
	var status statusError
	switch {
	case errors.As(err, &refused):
		return max(rest, refused.retry), refused.never
	case errors.As(err, &status):
		return max(rest, status.retry), false
	}
	return rest, false
}

// tell hands a status on if it says anything new.
func (a *Announcer) tell(tr *trackerState, s Status) {
	told := tr.told
	tr.told = s
	told.Next = s.Next
	if told != s {
		a.onStatus(s)
	}
}

func (a *Announcer) onStatus(s Status) {
	if a.cfg.OnStatus != nil {
		_ = reach.Guard(a.log, "the status of a tracker", func() { a.cfg.OnStatus(s) }) // which is logged
	}
}

// announce announces to a tracker over each address family of its host, side by side.
// It has failed when all have.
func (a *Announcer) announce(ctx context.Context, tr *trackerState) (*response, error) {
	families, err := a.families(ctx, tr.url)
	if err != nil {
		return nil, err
	}
	type outcome struct {
		visit visit
		resp  *response
		err   error
	}
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	visits := a.visits(tr, families)
	outcomes := make(chan outcome, len(visits))
	for _, v := range visits {
		go func() {
			o := outcome{visit: v}
			if fault := reach.Guard(a.log, "announce", func() { o.resp, o.err = a.announceOver(ctx, tr.url, v) }); fault != nil {
				o.err = fault
			}
			outcomes <- o
		}()
	}
	var best *response
	var failed error
	for range visits {
		o := <-outcomes
		a.noteVisit(tr, o.visit, o.err)
		if o.err != nil {
			a.log.Debug("tracker announce failed", "url", tr.name, "family", o.visit.route.family, "err", o.err)
			failed = clearer(failed, o.err)
			continue
		}
		if best == nil && len(visits) > 1 {
			defer time.AfterFunc(familyGrace, func() { cut(errLate) }).Stop()
		}
		best = o.resp.combine(best)
		if a.cfg.OnSeen != nil && o.resp.seen.IsValid() {
			a.cfg.OnSeen(o.resp.speaker, o.resp.seen)
		}
		if a.cfg.OnPeers != nil && len(o.resp.peers) > 0 {
			a.cfg.OnPeers(tr.name, o.resp.speaker, o.resp.peers)
		}
	}
	if best == nil {
		return nil, failed
	}
	return best, nil
}

// families lists the address families that a tracker's host has.
func (o *outside) families(ctx context.Context, u *url.URL) ([]family, error) {
	switch u.Scheme {
	case "udp4":
		return []family{"4"}, nil
	case "udp6":
		return []family{"6"}, nil
	case "http", "https":
		if o.trip != nil || o.proxied(ctx, u) {
			return []family{""}, nil // its name is the proxy's to look up
		}
	}
	addrs, err := reach.Lookup(ctx, o.net, "ip", u.Hostname())
	if err != nil {
		return nil, inWords(ctx, err)
	}
	var families []family
	for _, f := range []family{"4", "6"} {
		for _, addr := range addrs {
			if addr.Is4() == (f == "4") {
				families = append(families, f)
				break
			}
		}
	}
	return families, nil
}

func (o *outside) proxied(ctx context.Context, u *url.URL) bool {
	transport := o.net.HTTPTransport()
	if transport.Proxy == nil {
		return false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false
	}
	proxy, err := transport.Proxy(req)
	return proxy != nil || err != nil // the request itself fails then
}

// visit is an announce over one route.
type visit struct {
	route *route
	event shared.AnnounceEvent
	alone bool // the tracker has no address of the other family
}

// visits picks the routes to announce over: those of families that did not fail a
// while ago, or all if that leaves none.
func (a *Announcer) visits(tr *trackerState, families []family) []visit {
	a.mu.Lock()
	defer a.mu.Unlock()
	var due, all []visit
	now := time.Now()
	for _, f := range families {
		rt := tr.routes[f]
		if rt == nil {
			rt = &route{family: f}
			tr.routes[f] = rt
		}
		v := visit{rt, a.event(tr, rt), len(families) == 1 && f != ""}
		all = append(all, v)
		if !rt.rest.After(now) {
			due = append(due, v)
		}
	}
	if len(due) == 0 {
		return all
	}
	return due
}

// noteVisit notes what a tracker has heard over a route.
func (a *Announcer) noteVisit(tr *trackerState, v visit, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		v.route.started, v.route.failures, v.route.rest = true, 0, time.Time{}
		v.route.completed = v.route.completed || v.event == eventCompleted
	case errors.Is(err, errCut):
		// It may well have heard what it had no time to answer, and "completed" twice
		// would count twice.
		v.route.completed = v.route.completed || v.event == eventCompleted
		v.route.started = v.route.started || v.route.reached || v.route.udp.heard
	default:
		v.route.failures++
		v.route.rest = time.Now().Add(jitter(backoff(v.route.failures)))
	}
}

// announceOver announces over one route.
func (a *Announcer) announceOver(ctx context.Context, u *url.URL, v visit) (*response, error) {
	if u.Scheme == "http" || u.Scheme == "https" {
		r := a.request(v.event, v.route.family)
		if v.alone && a.cfg.Addr != nil {
			r.other = a.cfg.Addr(v.route.family == "6")
		}
		return a.announceHTTP(ctx, u, v.route, r)
	}
	return v.route.udp.announce(ctx, a.net, "udp"+string(v.route.family), u, a.request(v.event, v.route.family))
}

// combine makes one answer of those over two address families: of one tracker, which
// counts the same peers, or almost.
func (r *response) combine(other *response) *response {
	if other == nil {
		return r
	}
	both := *r
	both.interval, both.minInterval = max(r.interval, other.interval), max(r.minInterval, other.minInterval)
	both.seeds, both.leeches = max(r.seeds, other.seeds), max(r.leeches, other.leeches)
	if both.warning == "" {
		both.warning = other.warning
	}
	both.peers, both.speaker = nil, netip.Addr{}
	return &both
}

// clearer picks, of what went wrong over two address families, what says more: a
// tracker's own words over that it was not reached, and either over that this system
// has no such addresses.
func clearer(a, b error) error {
	switch {
	case a == nil || reach.IsNoNetwork(a):
		return b
	case errors.As(b, new(refusal)):
		return b
	}
	return a
}
