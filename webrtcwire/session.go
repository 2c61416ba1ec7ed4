package webrtcwire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// state is the life of a session: offered -> negotiating -> connected -> gone, or
// straight to gone from anywhere.
type state int

const (
	stateOffered     state = iota // our description is out, none came back
	stateNegotiating              // both are known, the channel is not open yet
	stateConnected                // the channel is open
	stateGone                     // being torn down, or torn down

	stateCount = int(stateGone) + 1
)

// maxChannels is how many data channels a peer may open before it is dropped;
// the first is used and the others ignored. Each costs memory until the end.
const maxChannels = 4

// pathPatience is how long a negotiation keeps its place without a path to the peer
// when others wait for one. A page that is there sends checks as soon as it has our
// answer.
const pathPatience = 5 * time.Second

// closeTimeout bounds the wait for a link to be torn down.
const closeTimeout = 5 * time.Second

// session is one connection from its description to the end of its last goroutine.
// It backs an Offer or an Answer, and then the Conn.
type session struct {
	t      *Transport
	socket *socket
	link   *link
	timer  *time.Timer // runs expire

	ctx    context.Context // ends when err is set
	cancel context.CancelFunc
	ready  chan struct{} // closed when conn is set
	gone   chan struct{} // closed when everything is released

	mu         sync.Mutex
	state      state
	since      time.Time // when the offer was made, or the negotiation began
	deadline   time.Time // of the offer, then of the negotiation
	claimed    bool      // Accept or Wait has returned conn
	conn       *Conn
	err        error
	channels   int
	maxMessage int              // that the peer takes
	claims     []netip.AddrPort // of socket, until connected; guarded by t.mu
	local      []string         // candidate types, for diagnostics
	remote     []string
}

// newSession makes a session if the bounds allow one more. claims are the
// addresses of the peer, where they are known; more are servers besides those of Config.
func (t *Transport) newSession(initial state, lifetime time.Duration, claims []netip.AddrPort, more []ICEServer) (*session, error) {
	s := &session{
		t: t, state: initial, since: time.Now(), claims: claims, deadline: time.Now().Add(lifetime),
		ready: make(chan struct{}), gone: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(t.ctx)
	s.mu.Lock() // nobody may end it before it has a link
	defer s.mu.Unlock()
	err := t.take(s)
	if errors.Is(err, ErrTooMany) && initial == stateNegotiating && t.makeRoom() {
		err = t.take(s)
	}
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.link, err = t.newLink(s, more)
	if err != nil {
		s.state, s.err = stateGone, err
		s.cancel()
		s.count(initial, err)
		s.release()
		return nil, fmt.Errorf("webrtcwire: new connection: %w", err)
	}
	s.timer = time.AfterFunc(lifetime, s.expire)
	return s, nil
}

// take counts a session in, within the bounds. Offers get half of the places at
// most, since answering is worth more: the other side is there and waits. Sessions that
// are being torn down take no place of the living, but are bounded too.
func (t *Transport) take(s *session) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	offered, negotiating := t.counts[stateOffered], t.counts[stateNegotiating]
	switch {
	case t.closed:
		return ErrClosed
	case offered+negotiating >= t.config.MaxPending,
		s.state == stateOffered && offered >= max(1, t.config.MaxPending/2),
		t.counts[stateConnected] >= t.config.MaxConns,
		t.counts[stateGone] >= t.config.MaxPending+t.config.MaxConns:
		return ErrTooMany
	}
	t.counts[s.state]++
	t.sessions[s] = struct{}{}
	s.socket = t.pickSocket(s.claims)
	s.socket.users++
	s.socket.claim(s.claims)
	t.wg.Add(1) // until released
	return nil
}

// makeRoom ends the session that is worth least, so that an offer can be answered: of
// the negotiations that found no path to the peer in pathPatience the oldest, else the oldest
// offer of ours. False: there is none of either.
func (t *Transport) makeRoom() bool {
	t.mu.Lock()
	sessions := slices.Collect(maps.Keys(t.sessions))
	t.mu.Unlock()
	var victim *session
	var least state
	var oldest time.Time
	for _, s := range sessions {
		state, since := s.standing()
		stuck := state == stateNegotiating && time.Since(since) > t.pathPatience && !s.reached()
		if !stuck && state != stateOffered {
			continue
		}
		if victim == nil || state > least || state == least && since.Before(oldest) {
			victim, least, oldest = s, state, since
		}
	}
	if victim == nil {
		return false
	}
	victim.shut(errGaveWay)
	return true
}

// reached reports whether ICE has found a path to the peer.
func (s *session) reached() bool { return s.link.reached() }

func (s *session) standing() (now state, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.since
}

// release gives the session's place back.
func (s *session) release() {
	s.t.mu.Lock()
	s.t.counts[stateGone]--
	s.unclaim()
	delete(s.t.sessions, s)
	unused := s.t.drop(s.socket)
	s.t.mu.Unlock()
	if unused != nil {
		if err := unused.Close(); err != nil {
			s.t.config.Logger.Debug("closing a UDP socket", "error", err)
		}
	}
	close(s.gone)
	s.t.wg.Done()
}

// advance moves a live session from one state to the next. If two answers race,
// one of them gets ErrAnswered.
func (s *session) advance(from, to state) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case stateGone:
		return s.err
	case from:
	default:
		return ErrAnswered
	}
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if to == stateConnected && s.t.counts[stateConnected] >= s.t.config.MaxConns {
		return ErrTooMany
	}
	s.t.counts[s.state]--
	s.t.counts[to]++
	s.state = to
	if to == stateConnected {
		s.t.totals.connected++
		s.unclaim() // its mux knows by now which address is its
	}
	return nil
}

// unclaim gives the peer's addresses back; t.mu is held.
func (s *session) unclaim() {
	s.socket.unclaim(s.claims)
	s.claims = nil
}

// expire ends an offer without answer, a negotiation without result, and a
// connection that nobody asked for.
func (s *session) expire() {
	s.mu.Lock()
	was, claimed := s.state, s.claimed
	if left := time.Until(s.deadline); left > 0 && was != stateGone {
		s.timer.Reset(left) // the timer fired while the deadline was moved
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	switch {
	case was == stateOffered:
		s.shut(ErrExpired)
	case was == stateNegotiating:
		s.shut(fmt.Errorf("no open data channel after %v: %w", s.t.config.NegotiationTimeout, context.DeadlineExceeded))
	case was == stateConnected && !claimed:
		s.shut(ErrClosed)
	}
}

var (
	errPeerSilent = errors.New("no path to the peer (ICE or DTLS failed)")
	errPeerClosed = errors.New("closed by the peer")
	errGaveWay    = errors.New("gave way to an offer to be answered")
)

// shut ends the session because of err. It returns at once; gone is closed when
// everything is released. Only the first call counts.
func (s *session) shut(err error) {
	s.mu.Lock()
	if s.state == stateGone {
		s.mu.Unlock()
		return
	}
	was := s.state
	iceState := s.link.iceState()
	if was == stateNegotiating && !errors.Is(err, ErrClosed) {
		err = &NegotiationError{ICE: iceState, Local: s.local, Remote: s.remote, Err: err}
	}
	s.state, s.err = stateGone, err
	s.timer.Stop()
	kept := s.claimed && !errors.Is(err, ErrClosed)
	s.mu.Unlock()

	s.count(was, err)
	s.cancel()
	go s.tearDown(kept)
}

func (s *session) count(was state, err error) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.t.counts[was]--
	s.t.counts[stateGone]++
	var failure *NegotiationError
	switch {
	case errors.As(err, &failure):
		s.t.totals.failed++
		s.t.totals.lastFailure = failure
	case was == stateOffered && errors.Is(err, ErrExpired):
		s.t.totals.expired++
	}
}

// tearDown closes the link and waits for its goroutines. kept is that of link.close.
func (s *session) tearDown(kept bool) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if err := s.guard("close", func() error { return s.link.close(kept) }); err != nil {
			s.t.config.Logger.Debug("closing a connection", "error", err)
		}
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
		s.t.config.Logger.Debug("a connection takes long to close", "waited", closeTimeout)
		<-closed
	}
	s.release()
}

// awaitGone waits until everything is released, within reason: a TCP connection that
// stands still holds the farewell up.
func (s *session) awaitGone() {
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-s.gone:
	case <-timer.C: // tearDown goes on
	}
}

// guard runs f, which calls pion with bytes from outside, and turns a panic into
// an error, so that a hostile description ends its own session and nothing else.
func (s *session) guard(doing string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.t.config.Logger.Error("panic in webrtcwire",
				"doing", doing, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("webrtcwire: %s: panic: %v", doing, r)
		}
	}()
	return f()
}

// describe gathers candidates and returns our description with them inside.
func (s *session) describe(parent context.Context, setup, mid string) (string, error) {
	timeout := s.t.config.GatherTimeout
	if s.t.config.RelayOnly {
		timeout *= relayGatherFactor
	}
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	began, gathered := time.Now(), s.link.gathered
	relays, err := s.link.gather(ctx)
	if err != nil {
		return "", fmt.Errorf("webrtcwire: gather candidates: %w", err)
	}
	reflexive := s.t.reflexive(ctx, relays)
	select {
	case <-gathered:
	case <-ctx.Done(): // whatever was found by now
		s.await(parent, s.link.first, gathered, leastGather-time.Since(began))
	case <-s.ctx.Done():
		return "", s.cause()
	}
	sdp := s.link.description(setup, mid, reflexive)
	types := localTypes(sdp)
	if len(types) == 0 && parent.Err() != nil {
		return "", fmt.Errorf("webrtcwire: gather candidates: %w", context.Cause(parent))
	}
	if len(types) == 0 {
		return "", fmt.Errorf("webrtcwire: no local candidates after %v: "+
			"no usable network interface, or no TURN server answered as it should", time.Since(began).Round(time.Millisecond))
	}
	s.mu.Lock()
	s.local = types
	s.mu.Unlock()
	return sdp, nil
}

// await waits a while longer for a first candidate: on a busy machine even our own
// addresses can take more than GatherTimeout.
func (s *session) await(ctx context.Context, first, gathered <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-first:
	case <-gathered:
	case <-timer.C:
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
}

// connect begins to connect to whom a description is of.
func (s *session) connect(remote remoteDescription, to parameters, offered, client bool) error {
	s.mu.Lock()
	s.remote, s.maxMessage = remote.types, to.maxMessage
	s.mu.Unlock()
	if err := s.link.start(to, offered, client); err != nil {
		return err
	}
	for _, name := range remote.mdns {
		s.t.mu.Lock()
		if !s.t.closed {
			s.t.wg.Go(func() { s.addMDNS(name) })
		}
		s.t.mu.Unlock()
	}
	return nil
}

// addMDNS resolves a hidden candidate and gives it to the agent. Failing is common
// (the peer is on another network) and harmless.
func (s *session) addMDNS(name mdnsName) {
	var addr netip.Addr
	err := s.guard("look up an mDNS name", func() (err error) {
		addr, err = s.t.resolver.resolve(s.ctx, name.name)
		return err
	})
	if err != nil {
		s.t.config.Logger.Debug("mDNS candidate not resolved", "error", err)
		return
	}
	fields := slices.Clone(name.candidate)
	fields[4] = addr.String()
	line := strings.Join(fields, " ")
	err = s.guard("add an mDNS candidate", func() error { return s.link.add(line) })
	if err != nil {
		s.t.config.Logger.Debug("mDNS candidate not accepted", "candidate", line, "error", err)
	}
}

func (s *session) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	return ErrClosed
}
