package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/webrtcwire"
	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// DefaultWebTrackers are the WebSocket trackers that webtorrent's create-torrent
// puts into torrents, by which browsers find each other.
var DefaultWebTrackers = []string{
	"wss://tracker.btorrent.xyz",
	"wss://tracker.openwebtorrent.com",
	"wss://tracker.webtorrent.dev",
}

// DefaultICEServers are the STUN servers that webtorrent.js uses.
var DefaultICEServers = []string{
	"stun:stun.l.google.com:19302",
	"stun:global.stun.twilio.com:3478",
}

const (
	// offersPerAnnounce is how many offers an announce carries while browsers are
	// wanted.
	offersPerAnnounce = 5
	// offersPerTorrent bounds the live offers of a torrent, over all trackers. It has
	// room for an announce's that are too old for another and as many new ones.
	offersPerTorrent = 2 * offersPerAnnounce
	// negotiationsPerTorrent bounds its offers of others that are being answered. One
	// that has found no path to the page in pathPatience gives way to another.
	negotiationsPerTorrent = 20
	pathPatience           = 5 * time.Second
	// answerTime is how long an offer that is sent to another tracker must live on to
	// be answered: a page gathers candidates for up to 5 s, and the rest is for the
	// tracker and the network.
	answerTime = 10 * time.Second
	// reuseOffer is up to what age an offer that nobody has answered is sent again.
	reuseOffer = webrtcwire.DefaultOfferLifetime - answerTime
	// enoughBrowsers is how many browsers are looked for; more may come.
	enoughBrowsers = 30
)

// startWeb starts what connects to browsers.
func (c *Client) startWeb() error {
	if c.cfg.DisableWebRTC {
		return nil
	}
	var err error
	c.rtc, err = webrtcwire.New(webrtcwire.Config{
		PacketConns: []net.PacketConn{
			c.udp.Lend(transport.ClassSTUN), c.udp.Lend(transport.ClassDTLS), c.udp.Lend(transport.ClassTURN),
		},
		ICEServers: slices.Concat(c.cfg.STUN, c.cfg.TURN),
		RelayOnly:  c.cfg.RelayOnly,
		Logger:     c.log,
	})
	if err != nil {
		return fmt.Errorf("starting WebRTC: %w", err)
	}
	if !c.cfg.DisableTrackers {
		c.ws = ws.New(ws.Config{UserAgent: "Causeway/" + Version, Logger: c.log})
	}
	return nil
}

func (c *Client) closeWeb() {
	if c.ws != nil {
		c.ws.Close()
	}
	if c.rtc != nil {
		c.rtc.Close()
	}
}

// webSwarm is a torrent's part in the browser swarm: the offers that it has out,
// and why it sees no browser when it sees none. It implements ws.Torrent.
type webSwarm struct {
	t      *Torrent
	making chan struct{} // held while offers are looked for and made

	mu          sync.Mutex
	offers      map[ws.ID]*webrtcwire.Offer // that nobody has answered
	negotiating map[negotiation]*webAttempt
	handles     []*ws.Handle
	status      map[string]ws.Status
	reasons     reasons

	told     string // owned by the event loop
	nextTold time.Time
}

// negotiation is a connection on its way. There may be two with one peer, by its
// offer and by ours: it may have dropped either in favour of the other, which only it
// knows. When both are made, join keeps one.
type negotiation struct {
	peer    ws.ID
	offered bool // by us
}

// webAttempt is what is known of a negotiation.
type webAttempt struct {
	negotiation
	since  time.Time
	answer *webrtcwire.Answer // nil: not made yet, or theirs to an offer of ours
}

func newWebSwarm(t *Torrent) *webSwarm {
	return &webSwarm{
		t: t, making: make(chan struct{}, 1), offers: make(map[ws.ID]*webrtcwire.Offer), negotiating: make(map[negotiation]*webAttempt),
		status: make(map[string]ws.Status),
	}
}

// webTrackers returns the WebSocket trackers among others.
func webTrackers(tiers [][]string) (urls []string) {
	for _, url := range slices.Concat(tiers...) {
		if tracker.IsWebSocket(url) && !slices.Contains(urls, url) {
			urls = append(urls, url)
		}
	}
	return urls
}

// WithWebTrackers returns tiers of trackers with DefaultWebTrackers added, each a
// tier of its own, if there is no WebSocket tracker among them.
func WithWebTrackers(tiers [][]string) [][]string {
	if len(webTrackers(tiers)) > 0 {
		return tiers
	}
	tiers = slices.Clone(tiers)
	for _, url := range DefaultWebTrackers {
		tiers = append(tiers, []string{url})
	}
	return tiers
}

// addWebTrackers gives a public torrent that has no WebSocket tracker the default
// ones, so that browsers can find it.
func (t *Torrent) addWebTrackers() {
	cfg := &t.client.cfg
	if !cfg.DisableWebRTC && !cfg.DisableTrackers && !cfg.DisableWebTrackers && t.mayDiscover() {
		own := len(t.source.trackers)
		t.source.trackers = WithWebTrackers(t.source.trackers)
		t.source.added = slices.Concat(t.source.trackers[own:]...)
	}
}

// removeWebTrackers takes the trackers that were added away again: the torrent turned
// out to be private.
func (t *Torrent) removeWebTrackers() {
	added := t.source.added
	if len(added) == 0 {
		return
	}
	t.source.trackers = slices.DeleteFunc(slices.Clone(t.source.trackers), func(tier []string) bool {
		return slices.Contains(added, tier[0])
	})
	s := t.web
	s.handles = slices.DeleteFunc(s.handles, func(h *ws.Handle) bool {
		if !slices.Contains(added, h.URL()) {
			return false
		}
		t.spawn(func() { h.Close() })
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, url := range added {
		delete(s.status, url)
	}
}

// start announces to the WebSocket trackers.
func (s *webSwarm) start() {
	if s.t.client.ws == nil {
		return
	}
	for _, url := range webTrackers(s.t.source.trackers) {
		h, err := s.t.client.ws.Add(url, s)
		if err != nil {
			s.t.client.warn(s.t.infoHash, err.Error())
			continue
		}
		s.handles = append(s.handles, h)
	}
}

// close leaves the trackers and withdraws the offers. Negotiations end with the
// torrent's context.
func (s *webSwarm) close() {
	var closing sync.WaitGroup
	for _, h := range s.handles {
		closing.Go(func() { h.Close() })
	}
	s.mu.Lock()
	for id, o := range s.offers {
		closing.Go(func() { o.Close() })
		delete(s.offers, id)
	}
	s.mu.Unlock()
	closing.Wait()
}

func (s *webSwarm) completed() {
	for _, h := range s.handles {
		h.Completed()
	}
}

// InfoHash implements ws.Torrent.
func (s *webSwarm) InfoHash() ws.ID { return ws.ID(s.t.infoHash) }

// PeerID implements ws.Torrent.
func (s *webSwarm) PeerID() ws.ID { return ws.ID(s.t.client.id) }

// Progress implements ws.Torrent.
func (s *webSwarm) Progress() ws.Progress {
	st := s.t.announceStats()
	if st.Left == unknownLeft {
		st.Left = -1
	}
	return ws.Progress{Uploaded: st.Uploaded, Downloaded: st.Downloaded, Left: st.Left}
}

// WantOffers implements ws.Torrent.
func (s *webSwarm) WantOffers() int {
	if s.t.webPeers.Load() >= enoughBrowsers || s.t.full() {
		return 0
	}
	return offersPerAnnounce
}

// Offers implements ws.Torrent. Trackers are announced to at the same time, and the
// first makes the offers for all.
func (s *webSwarm) Offers(ctx context.Context, n int) []ws.Offer {
	select {
	case s.making <- struct{}{}:
		defer func() { <-s.making }()
	case <-ctx.Done():
		return nil
	}
	out, missing := s.unanswered(n)
	if missing <= 0 {
		return out
	}
	var making sync.WaitGroup
	made, errs := make([]*webrtcwire.Offer, missing), make([]error, missing)
	for i := range made {
		// Not with ctx, which ends with the wait for a relay: the error would not tell of that.
		making.Go(func() { made[i], errs[i] = s.t.client.rtc.Offer(s.t.ctx) })
	}
	making.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range made {
		if errs[i] != nil {
			s.t.log.Debug("no WebRTC offer was made", "err", errs[i])
			continue
		}
		if s.t.ctx.Err() != nil {
			o.Close()
			continue
		}
		var id ws.ID
		rand.Read(id[:])
		s.offers[id] = o
		out = append(out, ws.Offer{ID: id, SDP: o.SDP})
	}
	s.reasons.noOffer = nil
	if len(out) == 0 {
		s.reasons.noOffer = errs[0]
	}
	return out
}

// unanswered returns up to n offers that can be sent again, and how many are to be
// made besides.
func (s *webSwarm) unanswered(n int) (out []ws.Offer, missing int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, o := range s.offers {
		select {
		case <-o.Done():
			delete(s.offers, id)
			continue
		default:
		}
		if len(out) < n && time.Since(o.Created) < reuseOffer {
			out = append(out, ws.Offer{ID: id, SDP: o.SDP})
		}
	}
	return out, min(n-len(out), offersPerTorrent-len(s.offers))
}

var (
	errKnownBrowser     = errors.New("this peer is connected, or about to be")
	errManyNegotiations = errors.New("too many peers are connecting")
	errNoPath           = fmt.Errorf("no path to the peer in %v, while others waited", pathPatience)
)

// begin notes that a connection to a peer is on its way, unless there is one.
func (s *webSwarm) begin(n negotiation) (*webAttempt, error) {
	if s.t.full() {
		return nil, errFull
	}
	if err := s.t.Err(); err != nil {
		return nil, err
	}
	if n.peer == ws.ID(s.t.client.id) {
		return nil, errSelf
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.negotiating[n] != nil {
		return nil, errKnownBrowser
	}
	// Whoever has its peer id over TCP may have gone silent.
	if p := s.t.connected(n.peer); p != nil && (p.kind == WebRTC || !s.t.better(&newConn{kind: WebRTC}, p)) {
		return nil, errKnownBrowser
	}
	if len(s.negotiating) >= negotiationsPerTorrent && !s.giveUpOne() {
		return nil, errManyNegotiations
	}
	a := &webAttempt{negotiation: n, since: time.Now()}
	s.negotiating[n] = a
	return a, nil
}

// giveUpOne ends the oldest negotiation that has had its time to find a path. s.mu is
// held.
func (s *webSwarm) giveUpOne() bool {
	var oldest negotiation
	var longest time.Duration
	for n, a := range s.negotiating {
		if age := time.Since(a.since); a.answer != nil && age > max(longest, pathPatience) && !a.answer.Reached() {
			oldest, longest = n, age
		}
	}
	if longest == 0 {
		return false
	}
	answer := s.negotiating[oldest].answer
	delete(s.negotiating, oldest)
	return s.t.spawn(func() { answer.Close() })
}

// Answer implements ws.Torrent.
func (s *webSwarm) Answer(ctx context.Context, peer, _ ws.ID, sdp string) (string, error) {
	a, err := s.begin(negotiation{peer: peer})
	if err != nil {
		return "", err
	}
	answer, err := s.t.client.rtc.Answer(ctx, sdp)
	if err != nil {
		s.end(a, err)
		return "", err
	}
	s.mu.Lock()
	a.answer = answer
	s.mu.Unlock()
	if !s.t.spawn(func() { s.connect(a, answer.Wait) }) {
		answer.Close()
		s.end(a, nil)
		return "", ErrClosed
	}
	return answer.SDP, nil
}

// Answered implements ws.Torrent.
func (s *webSwarm) Answered(peer, offer ws.ID, sdp string) {
	s.mu.Lock()
	o := s.offers[offer]
	delete(s.offers, offer)
	s.mu.Unlock()
	if o == nil {
		return // answered before, or expired
	}
	a, err := s.begin(negotiation{peer: peer, offered: true})
	if err != nil {
		s.t.spawn(func() { o.Close() })
		return
	}
	accept := func(ctx context.Context) (*webrtcwire.Conn, error) {
		conn, err := o.Accept(ctx, sdp)
		if err != nil {
			o.Close()
		}
		return conn, err
	}
	if !s.t.spawn(func() { s.connect(a, accept) }) {
		o.Close()
	}
}

// connect waits for a connection and hands it to the loop.
func (s *webSwarm) connect(a *webAttempt, wait func(context.Context) (*webrtcwire.Conn, error)) {
	conn, err := wait(s.t.ctx)
	if err == nil {
		err = s.greet(conn, a.offered)
	}
	s.end(a, err)
}

func (s *webSwarm) greet(conn *webrtcwire.Conn, offered bool) error {
	theirs, err := s.t.client.greet(s.t, conn)
	if err == nil {
		err = s.t.attach(s.t.ctx, newConn{
			Conn: conn, kind: WebRTC, addr: addrPort(conn.RemoteAddr()), outgoing: offered, handshake: theirs,
		})
	}
	if err != nil {
		conn.Close()
	}
	return err
}

// end notes that a connection was made, or why it was not.
func (s *webSwarm) end(a *webAttempt, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.negotiating[a.negotiation] == a {
		delete(s.negotiating, a.negotiation)
	} else {
		err = errNoPath
	}
	if err == nil || s.t.ctx.Err() != nil {
		return
	}
	s.t.log.Debug("no WebRTC connection", "err", err)
	// A page that makes two at once drops one, which is no failure.
	crossing := negotiation{peer: a.peer, offered: !a.offered}
	if s.negotiating[crossing] == nil && s.t.connected(a.peer) == nil {
		s.reasons.failed(err)
	}
}

// met notes that a browser is connected.
func (s *webSwarm) met() {
	s.mu.Lock()
	s.reasons = reasons{met: true}
	s.mu.Unlock()
}

// Status implements ws.Torrent.
func (s *webSwarm) Status(st ws.Status) {
	s.mu.Lock()
	s.status[st.URL] = st
	s.mu.Unlock()
	e := TrackerEvent{
		InfoHash: s.t.infoHash, URL: st.URL, OK: st.Err == nil, Seeds: st.Seeds, Leeches: st.Leeches,
		Message: st.Warning, Next: time.Now().Add(st.Interval),
	}
	if st.Err != nil {
		e.Message = st.Err.Error()
	}
	s.t.client.cfg.OnEvent(e)
}

// noteOrigin notes where a verified piece came from, for what is counted as
// bridged.
func (t *Torrent) noteOrigin(piece int, from []any) {
	o := t.origins.Load()
	if o == nil {
		return
	}
	web := 0
	for _, f := range from {
		if c, ok := f.(*contributor); ok && c.web {
			web++
		}
	}
	if 2*web > len(from) {
		o.web.add(piece)
	} else {
		o.classic.add(piece)
	}
}

// origins says which of the pieces that came in this run came from which swarm,
// by where most of their blocks came from.
type origins struct{ web, classic *pieceSet }

// countBridged counts what was sent to a peer of the other swarm than it came from.
func (t *Torrent) countBridged(kind Transport, piece int, n int64) {
	o := t.origins.Load()
	switch {
	case o == nil:
	case kind == WebRTC && o.classic.has(piece):
		t.bridgedToWeb.Add(n)
	case kind != WebRTC && o.web.has(piece):
		t.bridgedToClassic.Add(n)
	}
}

var _ wire.BuffersWriter = (*webrtcwire.Conn)(nil)
