package webrtcwire

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/stun/v4"

	"github.com/causeway-bt/causeway/webrtcwire/turnclient"
)

const (
	// relayFresh is for how long a server that has answered is believed to be there. After it,
	// it has relayCheck to answer again before an allocation is used for another agent.
	relayFresh = 5 * time.Second
	relayCheck = 2 * time.Second

	// relayRetry is how long a server that could not be used is left alone.
	relayRetry = 10 * time.Second

	// relayIdle is how long an allocation that no agent uses is kept.
	relayIdle = time.Minute

	// relayHeadStart is how long servers are tried by UDP before those by TCP are as well, and relayMore
	// how long others are waited for once there is a relay.
	relayHeadStart = 300 * time.Millisecond
	relayMore      = 100 * time.Millisecond

	// maxRelays bounds the servers, of each family, that others than Config name: trackers do.
	maxRelays = 16
)

// ipFamilies are those of the addresses of servers. At one that has addresses of both there are two
// allocations, since an allocation relays to peers of one family alone.
var ipFamilies = [...]string{"4", "6"}

// relays are the allocations at TURN servers that all agents of one socket share, one at each and of
// each family.
type relays struct {
	t      *Transport
	socket *mux
	own    map[string]*stun.URI // of Config, by URL
	ctx    context.Context      // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // nothing is begun under it after ctx
	servers map[string]*relayServer
	old     map[*relay]struct{} // were replaced, and are still used
	changed chan struct{}       // closed, and replaced, when a server is settled
}

// relayServer is a TURN server and our allocation there. The fields are guarded by relays.mu.
type relayServer struct {
	uri     *stun.URI // with the credentials of the last attempt
	family  string
	own     bool          // of Config
	settled chan struct{} // closed when the rest is known
	at      time.Time     // of settling
	relay   *relay        // nil: none
	err     error         // relay, if there is one, is not to be relied on
}

// relay is an allocation and its mux, which shares out the relayed address among agents.
type relay struct {
	allocation *turnclient.Allocation
	mux        *mux
	shared     bool   // the server is reached by the shared socket
	leave      func() // gives the way to the server back

	users int       // links; guarded by relays.mu
	used  time.Time // when there was the last; the same
}

func newRelays(t *Transport, socket *mux) *relays {
	r := &relays{
		t: t, socket: socket, own: map[string]*stun.URI{},
		servers: map[string]*relayServer{}, old: map[*relay]struct{}{}, changed: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for _, uri := range t.servers.turn {
		r.own[uri.String()] = uri
	}
	return r
}

// take returns the relays at these servers that there are when ctx ends, or as soon as it is not
// worth while to wait. Those by TCP are for where nothing else gets through. Servers that could not
// be used before are waited for only if patient. Each relay is to be given back.
func (r *relays) take(ctx context.Context, uris []*stun.URI, patient bool) []*relay {
	var datagrams, streams []*stun.URI
	for _, uri := range uris {
		if uri.Proto == stun.ProtoTypeUDP {
			datagrams = append(datagrams, uri)
		} else {
			streams = append(streams, uri)
		}
	}
	began, found := time.Now(), time.Time{}
	for {
		r.mu.Lock()
		over, changed := ctx.Err() != nil, r.changed
		all, pending := r.find(datagrams, patient, over)
		left := relayHeadStart - time.Since(began)
		if len(all) == 0 && (!pending || left <= 0) {
			more, pendingToo := r.find(streams, patient, over)
			all, pending = more[:min(1, len(more))], pending || pendingToo
		}
		if len(all) > 0 {
			if found.IsZero() {
				found = time.Now()
			}
			left = relayMore - time.Since(found)
		}
		if over || !pending || len(all) > 0 && left <= 0 {
			for _, relay := range all {
				relay.users++
			}
			r.mu.Unlock()
			return all
		}
		r.mu.Unlock()
		wait(ctx, changed, left)
	}
}

// wait waits until something has changed or, if left is more than 0, for so long.
func wait(ctx context.Context, changed <-chan struct{}, left time.Duration) {
	var over <-chan time.Time
	if left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-changed:
	case <-over:
	case <-ctx.Done():
	}
}

// find returns the relays at these servers, also those that are being looked after if over; pending:
// there may soon be more. r.mu is held.
func (r *relays) find(uris []*stun.URI, patient, over bool) (all []*relay, pending bool) {
	for _, uri := range uris {
		for _, family := range ipFamilies {
			s := r.server(uri, family)
			switch {
			case s == nil:
			case !s.isSettled() && !over:
				pending = pending || patient || s.err == nil
			case s.relay != nil && s.relay.alive() && s.err == nil && !slices.Contains(all, s.relay):
				all = append(all, s.relay)
			}
		}
	}
	return all, pending
}

// give gives back what take has returned.
func (r *relays) give(used []*relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, relay := range used {
		relay.users--
		relay.used = time.Now()
		if _, old := r.old[relay]; old && relay.users == 0 && r.ctx.Err() == nil {
			delete(r.old, relay)
			r.wg.Go(relay.close)
		}
	}
	r.forgetLater()
}

// forgetLater has forget called when what is unused now is so for long enough. r.mu is held.
func (r *relays) forgetLater() {
	if r.ctx.Err() == nil {
		time.AfterFunc(relayIdle+time.Second, r.forget)
	}
}

// forget ends the allocations that nobody uses any more.
func (r *relays) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, s := range r.servers {
		if s.isSettled() && s.relay != nil && s.relay.users == 0 && time.Since(s.relay.used) > relayIdle {
			r.end(name, s)
		}
	}
}

// end ends a server's allocation, and then forgets the server. r.mu is held.
func (r *relays) end(name string, s *relayServer) {
	if r.ctx.Err() != nil {
		return
	}
	relay := s.relay
	s.relay, s.settled = nil, make(chan struct{})
	r.wg.Go(func() {
		if relay != nil {
			relay.close()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.servers, name)
		r.settled(s)
	})
}

// settled tells those who wait that something is known of a server. r.mu is held.
func (r *relays) settled(s *relayServer) {
	close(s.settled)
	close(r.changed)
	r.changed = make(chan struct{})
}

// server finds a server, and has its allocation made, or looked after, if need be; nil: it cannot be used.
// r.mu is held.
func (r *relays) server(uri *stun.URI, family string) *relayServer {
	name := uri.String() + " " + family
	own := r.own[uri.String()]
	if own != nil {
		uri = own // others' credentials for it may be wrong
	}
	s := r.servers[name]
	switch {
	case r.ctx.Err() != nil:
		return nil
	case s == nil && own == nil && !r.room():
		return nil
	case s == nil:
		s = &relayServer{family: family, own: own != nil}
		r.servers[name] = s
	case !s.isSettled(), s.err != nil && *s.uri == *uri && time.Since(s.at) < relayRetry:
		return s
	case s.relay != nil && s.relay.alive():
		s.relay.allocation.SetCredentials(uri.Username, uri.Password)
		if s.relay.allocation.Fresh(relayFresh) {
			return s
		}
	}
	s.uri, s.settled = uri, make(chan struct{})
	before := s.relay
	r.wg.Go(func() { r.settle(s, uri, before) })
	return s
}

// room sees to it that there is room for one more server of others. r.mu is held.
func (r *relays) room() bool {
	const bound = len(ipFamilies) * maxRelays
	count := 0
	for _, s := range r.servers {
		if !s.own {
			count++
		}
	}
	for name, s := range r.servers {
		if count < bound {
			break
		}
		if !s.own && s.isSettled() && s.relay == nil {
			delete(r.servers, name)
			count--
		}
	}
	return count < bound
}

func (s *relayServer) isSettled() bool {
	select {
	case <-s.settled:
		return true
	default:
		return false
	}
}

// settle sees to it that there is an allocation, if the server is there. before is what was there.
func (r *relays) settle(s *relayServer, uri *stun.URI, before *relay) {
	relay, err := before, error(nil)
	if relay != nil {
		ctx, cancel := context.WithTimeout(r.ctx, relayCheck)
		err = relay.allocation.Check(ctx)
		cancel()
		if err != nil && r.replace(s) {
			relay = nil
		}
	}
	if relay == nil {
		relay, err = r.open(r.ctx, uri, s.family)
	}
	if err != nil {
		r.t.config.Logger.Debug("no relay", "server", uri.String(), "family", s.family, "error", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if relay != nil && relay != before {
		relay.used = time.Now()
		r.forgetLater()
	}
	s.relay, s.err, s.at = relay, err, time.Now()
	r.settled(s)
}

// replace gives up a server's relay so that there can be another. False: it is in use, and the server, which
// does not answer now, would take another for the same.
func (r *relays) replace(s *relayServer) bool {
	r.mu.Lock()
	relay := s.relay
	used := relay.users > 0 && relay.alive()
	if used && relay.shared {
		r.mu.Unlock()
		return false
	}
	s.relay = nil
	if used {
		r.old[relay] = struct{}{}
		r.mu.Unlock()
		return true
	}
	r.mu.Unlock()
	relay.close()
	return true
}

// busy reports whether addr belongs to a live connection by a relay.
func (r *relays) busy(addr netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.servers {
		if s.relay != nil && s.relay.mux.busy(addr) {
			return true
		}
	}
	return false
}

// Close ends all allocations.
func (r *relays) Close() {
	r.mu.Lock()
	r.cancel()
	r.mu.Unlock()
	r.wg.Wait()
	for _, s := range r.servers { // of a closed one nobody changes them
		if s.relay != nil {
			r.wg.Go(s.relay.close)
		}
	}
	for relay := range r.old {
		r.wg.Go(relay.close)
	}
	r.wg.Wait()
}

func (r *relay) alive() bool {
	select {
	case <-r.allocation.Done():
		return false
	default:
		return true
	}
}

func (r *relay) close() {
	_ = r.allocation.Close() // never fails
	r.leave()
	_ = r.mux.Close() // the same
}
