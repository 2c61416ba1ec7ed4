package webrtcwire

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/webrtcwire/sctp"
	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// link is the stack of one connection: an ICE agent finds the path, pion/dtls makes the handshake over
// it, and records and sctp carry the data. Packets come from the mux straight to receive where they
// are DTLS records of the connection, on the goroutine that reads the socket, and else by the agent.
type link struct {
	s           *session
	agent       *ice.Agent
	certificate *certificate
	ufrag       string
	password    string
	servers     []*stun.URI // TURN

	state    atomic.Int32 // ice.ConnectionState
	selected atomic.Pointer[selected]

	gathered chan struct{} // closed when there are all candidates
	first    chan struct{} // closed when there is one

	mu         sync.Mutex
	candidates []string
	relays     []*relay
	grants     []*stun.URI // at the front, for relays
	flights    *flights
	conn       *dtls.Conn
	closing    bool

	wg     sync.WaitGroup // what the link started
	ice    *ice.Conn
	detour *detour

	up atomic.Pointer[upper] // once the handshake is made
}

// upper is what is above DTLS.
type upper struct {
	records *records
	sctp    *sctp.Association
}

// selected is the pair of candidates that ICE has settled on.
type selected struct {
	local, remote ice.Candidate
	to            netip.AddrPort
	via           *mux // by which packets go: the socket's or a relay's; nil: by the agent
}

func (t *Transport) newLink(s *session, more []ICEServer) (*link, error) {
	certificate, err := t.currentCertificate()
	if err != nil {
		return nil, err
	}
	servers := t.servers.turn
	if !t.config.RelayOnly && len(more) > 0 {
		turn, questions := forPeer(more)
		servers = slices.Concat(servers, turn)
		t.stun.add(questions)
	}
	agent, err := ice.NewAgentWithOptions(t.agentOptions(s.socket.mux)...)
	if err != nil {
		return nil, err
	}
	l := &link{s: s, agent: agent, certificate: certificate, servers: servers, gathered: make(chan struct{}), first: make(chan struct{})}
	l.state.Store(int32(ice.ConnectionStateNew))
	l.ufrag, l.password, err = agent.GetLocalUserCredentials()
	err = errors.Join(err, agent.OnConnectionStateChange(l.onState),
		agent.OnSelectedCandidatePairChange(l.onSelected), agent.OnCandidate(l.onCandidate))
	if err != nil {
		return nil, errors.Join(err, agent.GracefulClose())
	}
	return l, nil
}

func (t *Transport) agentOptions(mux *mux) []ice.AgentOption {
	networks := []ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}
	if t.tcp != nil {
		networks = append(networks, ice.NetworkTypeTCP4, ice.NetworkTypeTCP6)
	}
	options := []ice.AgentOption{
		ice.WithLoggerFactory(pionLog{logger: t.config.Logger}),
		ice.WithNet(pionNet{t}),
		ice.WithUDPMux(mux),
		ice.WithNetworkTypes(networks),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), // see resolver
		ice.WithDisableActiveTCP(),
		ice.WithDisconnectedTimeout(iceDisconnected),
		ice.WithFailedTimeout(iceFailed),
		ice.WithKeepaliveInterval(iceKeepalive),
		ice.WithSrflxAcceptanceMinWait(srflxWait),
		ice.WithPrflxAcceptanceMinWait(prflxWait),
		ice.WithRelayAcceptanceMinWait(relayWait),
	}
	if t.tcp != nil {
		options = append(options, ice.WithTCPMux(t.tcp))
	}
	if t.config.IncludeLoopback {
		options = append(options, ice.WithIncludeLoopback())
	}
	types := []ice.CandidateType{ice.CandidateTypeHost, ice.CandidateTypeRelay} // for the rest see addReflexive
	if t.config.RelayOnly {
		types = types[1:]
	}
	return append(options, ice.WithCandidateTypes(types))
}

// gather begins to gather candidates, once the relays are known or ctx ends. It returns the relays.
func (l *link) gather(ctx context.Context) ([]*relay, error) {
	relays, grants, err := l.takeRelays(ctx)
	if err != nil {
		return nil, err
	}
	if len(grants) > 0 {
		if err := l.agent.UpdateOptions(ice.WithUrls(grants)); err != nil {
			return nil, err
		}
	}
	return relays, l.agent.GatherCandidates()
}

// takeRelays takes relays until giveRelays, and URLs that stand for them.
func (l *link) takeRelays(ctx context.Context) ([]*relay, []*stun.URI, error) {
	if end, ok := ctx.Deadline(); ok { // some time is needed with what is found
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)*3/4)
		defer cancel()
	}
	relays := l.s.socket.relays.take(ctx, l.servers, l.s.t.config.RelayOnly)
	if len(relays) == 0 {
		return nil, nil, nil
	}
	front, err := l.s.t.ensureFront()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		err = net.ErrClosed
	}
	if err != nil {
		l.s.socket.relays.give(relays)
		return nil, nil, err
	}
	l.relays = relays
	for _, r := range relays {
		l.grants = append(l.grants, front.grant(l, r))
	}
	return relays, l.grants, nil
}

// giveRelays gives the relays back.
func (l *link) giveRelays() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.relays) > 0 {
		l.s.t.front.revoke(l.grants)
		l.s.socket.relays.give(l.relays)
		l.relays, l.grants = nil, nil
	}
}

// via is the mux by which packets go from a candidate of ours; nil: none.
func (l *link) via(local ice.Candidate) *mux {
	if local.Type() != ice.CandidateTypeRelay {
		return l.s.socket.mux
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.relays {
		if addr := r.allocation.Relayed(); addr.Addr().String() == local.Address() && int(addr.Port()) == local.Port() {
			return r.mux
		}
	}
	return nil
}

// direct reports whether packets go from the socket to the peer, not by a relay or TCP.
func (l *link) direct(pair *selected) bool { return pair != nil && pair.via == l.s.socket.mux }

func (l *link) onState(state ice.ConnectionState) {
	l.state.Store(int32(state))
	if state == ice.ConnectionStateFailed {
		l.s.shut(errPeerSilent)
	}
}

// iceState names what ICE has reached.
func (l *link) iceState() string {
	return strings.ToLower(ice.ConnectionState(l.state.Load()).String())
}

// reached reports whether ICE has found a path to the peer.
func (l *link) reached() bool {
	switch ice.ConnectionState(l.state.Load()) {
	case ice.ConnectionStateConnected, ice.ConnectionStateCompleted:
		return true
	default:
		return false
	}
}

func (l *link) onCandidate(c ice.Candidate) {
	if c == nil {
		close(l.gathered)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.candidates = append(l.candidates, c.Marshal()); len(l.candidates) == 1 {
		close(l.first)
	}
}

func (l *link) onSelected(local, remote ice.Candidate) {
	to, _ := netip.ParseAddr(remote.Address())
	now := &selected{local: local, remote: remote, to: netip.AddrPortFrom(to.Unmap(), uint16(remote.Port()))}
	if to.IsValid() && local.NetworkType().IsUDP() {
		now.via = l.via(local)
	}
	was := l.selected.Swap(now)
	if up := l.up.Load(); up != nil && (was == nil || was.to != now.to || was.via != now.via) {
		up.sctp.Moved()
	}
}

// nearWindow is how much may be under way to a peer on this machine, 0 if it is not.
func (l *link) nearWindow(own bool) int {
	pair := l.selected.Load()
	switch {
	case !l.direct(pair) || !pair.to.Addr().IsLoopback() && pair.local.Address() != pair.remote.Address():
		return 0
	case own:
		return sctp.OwnWindow
	}
	return sctp.ShortWindow
}

// description is our side, with the candidates that there are and those of NATs' ports.
func (l *link) description(setup, mid string, reflexive []Mapped) string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	o := ours{
		session: binary.BigEndian.Uint64(id[:]) >> 1, ufrag: l.ufrag, password: l.password,
		fingerprint: l.certificate.fingerprint, setup: setup, mid: mid,
	}
	select {
	case <-l.gathered:
		o.complete = true
	default:
	}
	l.mu.Lock()
	o.candidates = addReflexive(slices.Clone(l.candidates), reflexive)
	l.mu.Unlock()
	return o.String()
}

// add gives the agent a candidate of the peer's.
func (l *link) add(candidate string) error {
	c, err := ice.UnmarshalCandidate(candidate)
	if err != nil {
		return err
	}
	return l.agent.AddRemoteCandidate(c)
}

// start begins to connect: in the background, until close.
func (l *link) start(remote parameters, offered, client bool) error {
	for _, candidate := range remote.candidates {
		if err := l.add(candidate); err != nil {
			return fmt.Errorf("%w: candidate: %w", ErrBadSDP, err)
		}
	}
	if err := l.agent.SetRemoteICELite(remote.lite); err != nil {
		return err
	}
	begin := l.agent.StartAccept
	if offered || remote.lite { // RFC 8445 section 6.1.1
		begin = l.agent.StartDial
	}
	conn, err := begin(remote.ufrag, remote.password)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return ErrClosed
	}
	l.ice, l.detour = conn, newDetour(conn.Write)
	l.run("connect", func() error { return l.connect(remote, offered, client) })
	return nil
}

// run starts f, whose error ends the session. A panic in it ends the session alone.
func (l *link) run(doing string, f func() error) {
	l.wg.Go(func() {
		if err := l.s.guard(doing, f); err != nil {
			l.s.shut(err)
		}
	})
}

// connect makes the connection once there is a path.
func (l *link) connect(remote parameters, offered, client bool) error {
	ctx := l.s.ctx
	if err := l.agent.AwaitConnect(ctx); err != nil {
		return errPeerSilent
	}
	if pair, err := l.agent.GetSelectedCandidatePair(); err == nil && pair != nil {
		l.onSelected(pair.Local, pair.Remote)
	}
	flights := newFlights(l.ice.LocalAddr(), l.ice.RemoteAddr(), l.write)
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return ErrClosed
	}
	l.flights = flights
	l.run("read by ICE", l.read)
	l.mu.Unlock()
	conn, err := l.s.t.shake(ctx, flights, client, l.certificate, remote.fingerprints)
	if err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
	if l.closing {
		return errors.Join(ErrClosed, conn.Close())
	}
	records, err := flights.take(conn)
	if err != nil {
		return err
	}
	up := &upper{records: records}
	up.sctp = sctp.New(sctp.Config{
		Outlet: &outlet{l: l, records: records}, Client: client, Near: l.nearWindow(remote.own), Logger: l.s.t.config.Logger,
		Opened: func(c *sctp.Channel) { l.s.admit(c, offered) },
		Ended:  l.onEnded,
	})
	l.up.Store(up)
	l.s.socket.mux.attach(l.ufrag, l)
	for _, r := range l.relays {
		r.mux.attach(l.ufrag, l)
	}
	l.run("read by DTLS", func() error { return l.readEarly(conn) })
	if offered {
		channel, err := up.sctp.Open(label())
		if err != nil {
			return err
		}
		l.s.open(channel)
	}
	return nil
}

// onEnded ends the session with the association.
func (l *link) onEnded(err error) {
	switch {
	case errors.Is(err, sctp.ErrPeer):
		err = errPeerClosed
	case errors.Is(err, sctp.ErrDead):
		err = errPeerSilent
	}
	l.s.shut(err)
}

// read takes what comes by the agent: TCP's packets, and all until the handshake is made.
func (l *link) read() error {
	b := make([]byte, maxPacket)
	for {
		n, err := l.ice.Read(b)
		if err != nil {
			return nil // the agent says why, or it is the end
		}
		if l.receive(b[:n]) {
			l.flush()
		}
	}
}

// readEarly takes what pion has decrypted before records took over, and waits for its end.
func (l *link) readEarly(conn *dtls.Conn) error {
	b := make([]byte, maxPacket)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return errPeerClosed // unless it is we who have closed
		}
		up := l.up.Load()
		up.sctp.Receive(b[:n])
		up.sctp.Flush()
	}
}

// receive takes a datagram of DTLS records, which it may overwrite; true: flush is to follow.
func (l *link) receive(b []byte) (flush bool) {
	up := l.up.Load()
	for rest := b; ; {
		var record []byte
		if record, rest = cutRecord(rest); record == nil {
			return flush
		}
		kind := record[0]
		switch {
		case up == nil, kind == typeHandshake, kind == typeChangeCipherSpec:
			l.mu.Lock()
			flights := l.flights
			l.mu.Unlock()
			if flights != nil {
				flights.deliver(b) // all of it: pion sorts it out
			}
			return flush
		case epoch(record) != recordEpoch:
			continue // an alert that anybody may have sent
		}
		text, err := up.records.open(record)
		if err != nil {
			continue // RFC 6347 section 4.1.2.7
		}
		switch {
		case kind == typeApplication:
			up.sctp.Receive(text)
			flush = true
		case kind == typeAlert && len(text) == 2 && (text[0] == alertFatal || text[1] == alertCloseNotify):
			l.s.shut(errPeerClosed)
		}
	}
}

// flush follows the last of a batch of packets.
func (l *link) flush() {
	if up := l.up.Load(); up != nil {
		up.sctp.Flush()
	}
}

// close ends everything, and waits for it. keep leaves what has arrived to be read.
func (l *link) close(keep bool) error {
	l.mu.Lock()
	l.closing = true
	conn, flights, detour := l.conn, l.flights, l.detour
	l.mu.Unlock()
	if up := l.up.Load(); up != nil {
		if keep {
			up.sctp.Abort()
		} else {
			up.sctp.Close()
		}
	}
	var errs []error
	if conn != nil {
		errs = append(errs, conn.Close()) // with a close_notify
	}
	if flights != nil {
		errs = append(errs, flights.Close())
	}
	if detour != nil {
		detour.close()
	}
	errs = append(errs, l.agent.GracefulClose())
	l.wg.Wait()
	l.giveRelays()
	return errors.Join(errs...)
}

// write sends a packet of the handshake's.
func (l *link) write(b []byte) {
	if pair := l.selected.Load(); pair != nil && pair.via != nil {
		_, _ = l.ice.Write(b) // an error is a loss
		return
	}
	l.detour.send(b)
}

// discard drops what has arrived and was not read.
func (l *link) discard() {
	if up := l.up.Load(); up != nil {
		up.sctp.Close()
	}
}

// outlet is the way of an association's packets: sealed in place, and sent from the shared socket in
// one go, or by a relay.
type outlet struct {
	l       *link
	records *records
}

func (o *outlet) Room() (head, tail int) { return recordHead, recordTail }

func (o *outlet) Send(b []byte, size int) bool {
	for rest := b; len(rest) > 0; {
		n := min(size, len(rest))
		o.records.seal(typeApplication, rest[:n:n])
		rest = rest[n:]
	}
	pair := o.l.selected.Load()
	if pair != nil && pair.via != nil {
		return pair.via.send(b, size, pair.to)
	}
	for rest := b; len(rest) > 0; {
		n := min(size, len(rest))
		o.l.detour.send(rest[:n])
		rest = rest[n:]
	}
	return true
}

func (o *outlet) SendOne(b []byte, cut bool) bool {
	pair := o.l.selected.Load()
	if !o.l.direct(pair) && !cut {
		return false // TURN and TCP have their own ideas of what a packet is
	}
	o.records.seal(typeApplication, b)
	if pair != nil && pair.via != nil {
		return pair.via.sendOne(b, pair.to, cut)
	}
	o.l.detour.send(b)
	return true
}

// udpAddr is a candidate's address.
func udpAddr(c ice.Candidate) net.Addr {
	return &net.UDPAddr{IP: net.ParseIP(c.Address()), Port: c.Port()}
}
