package swarm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/webrtcwire"
)

// DefaultWebTrackers are the WebSocket trackers that webtorrent's create-torrent
// puts into torrents, by which browsers find each other.
var DefaultWebTrackers = []string{
	"wss://tracker.btorrent.xyz",
	"wss://tracker.openwebtorrent.com",
	"wss://tracker.webtorrent.dev",
	"wss://open.ftorrent.com",
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

// Web is a swarm's part among browsers: the offers that it has out, and why it sees no
// browser when it sees none. It implements ws.Torrent.
type Web struct {
	s      *Swarm
	making chan struct{} // held while offers are looked for and made

	mu          sync.Mutex
	ctx         context.Context             // of the run; ended while stopped
	offers      map[ws.ID]*webrtcwire.Offer // that nobody has answered
	negotiating map[negotiation]*webAttempt
	handles     []*ws.Handle
	status      map[string]ws.Status
	ice         map[string][]webrtcwire.ICEServer // that trackers named, by their URLs
	reasons     reasons

	relayedSince time.Time // when a tracker named the first relay; earlier offers are without

	told     string // owned by the event loop
	nextTold time.Time
}

// negotiation is a connection on its way. There may be two with one peer, by its
// offer and by ours: it may have dropped either in favour of the other, which only it
// knows. When both are made, join keeps one.
//
// There may be another of either kind beside one that has found no path yet: offers are made
// anew when a tracker has named a relay, and whoever needs it gets nowhere with those without.
type negotiation struct {
	peer    ws.ID
	offered bool // by us
	another bool
}

// webAttempt is what is known of a negotiation.
type webAttempt struct {
	negotiation
	since  time.Time
	answer *webrtcwire.Answer // nil: not made yet, or theirs to an offer of ours
}

// reached reports whether a path to the peer is known to be there.
func (a *webAttempt) reached() bool { return a.answer != nil && a.answer.Reached() }

func newWeb(s *Swarm) *Web {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	return &Web{
		s: s, making: make(chan struct{}, 1), ctx: ended,
		offers: make(map[ws.ID]*webrtcwire.Offer), negotiating: make(map[negotiation]*webAttempt),
		status: make(map[string]ws.Status), ice: make(map[string][]webrtcwire.ICEServer),
	}
}

// Web returns the swarm's part among browsers.
func (s *Swarm) Web() *Web { return s.web }

// run returns the context of the run. It may be called from any goroutine.
func (w *Web) run() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ctx
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

// removeWebTrackers takes the trackers that were added away again: the torrent turned
// out to be private.
func (s *Swarm) removeWebTrackers() {
	if len(s.added) == 0 {
		return
	}
	s.mu.Lock()
	s.trackers = slices.DeleteFunc(slices.Clone(s.trackers), func(tier []string) bool {
		return slices.Contains(s.added, tier[0])
	})
	s.mu.Unlock()
	w := s.web
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handles = slices.DeleteFunc(w.handles, func(h *ws.Handle) bool {
		if !slices.Contains(s.added, h.URL()) {
			return false
		}
		s.host.Go(func() { h.Close() })
		return true
	})
	for _, url := range s.added {
		delete(w.status, url)
	}
	s.added = nil
}

// start announces to the WebSocket trackers.
func (w *Web) start(ctx context.Context) {
	w.mu.Lock()
	w.ctx = ctx
	w.mu.Unlock()
	if w.s.shared.WS == nil {
		return
	}
	var handles []*ws.Handle
	for _, url := range webTrackers(w.s.trackers) {
		h, err := w.s.shared.WS.Add(url, w)
		if err != nil {
			w.s.host.Warn(err.Error())
			continue
		}
		handles = append(handles, h)
	}
	w.mu.Lock()
	w.handles = handles
	w.mu.Unlock()
	w.nextTold = time.Now().Add(browserPatience)
}

// stop returns what leaves the trackers and withdraws the offers, which takes a while.
// Negotiations end with the context of the run.
func (w *Web) stop() func() {
	w.mu.Lock()
	handles, offers := w.handles, w.offers
	w.handles, w.offers = nil, make(map[ws.ID]*webrtcwire.Offer)
	clear(w.status)
	clear(w.ice)
	w.reasons = reasons{}
	w.mu.Unlock()
	w.told, w.nextTold = "", time.Time{}
	return func() {
		var closing sync.WaitGroup
		for _, h := range handles {
			closing.Go(func() { h.Close() })
		}
		for _, o := range offers {
			closing.Go(func() { o.Close() })
		}
		closing.Wait()
	}
}

func (w *Web) completed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.handles {
		h.Completed()
	}
}

// InfoHash implements ws.Torrent.
func (w *Web) InfoHash() ws.ID { return ws.ID(w.s.cfg.InfoHash) }

// PeerID implements ws.Torrent.
func (w *Web) PeerID() ws.ID { return ws.ID(w.s.cfg.PeerID) }

// Progress implements ws.Torrent.
func (w *Web) Progress() ws.Progress {
	st := w.s.host.Announced()
	if st.Left == UnknownLeft {
		st.Left = -1
	}
	return ws.Progress{Uploaded: st.Uploaded, Downloaded: st.Downloaded, Left: st.Left}
}

// WantOffers implements ws.Torrent.
func (w *Web) WantOffers() int {
	if w.s.host.Browsers() >= enoughBrowsers || w.s.host.Full() {
		return 0
	}
	return offersPerAnnounce
}

// Offers implements ws.Torrent. Trackers are announced to at the same time, and the
// first makes the offers for all.
func (w *Web) Offers(ctx context.Context, n int) []ws.Offer {
	select {
	case w.making <- struct{}{}:
		defer func() { <-w.making }()
	case <-ctx.Done():
		return nil
	}
	out, missing := w.unanswered(n)
	if missing <= 0 {
		return out
	}
	var making sync.WaitGroup
	run, servers := w.run(), w.servers()
	made, errs := make([]*webrtcwire.Offer, missing), make([]error, missing)
	for i := range made {
		// Not with ctx, which ends with the wait for a relay: the error would not tell of that.
		making.Go(func() {
			errs[i] = w.s.guard(func() (err error) { made[i], err = w.s.shared.RTC.Offer(run, servers...); return err })
		})
	}
	making.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, o := range made {
		if errs[i] != nil {
			w.s.log.Debug("no WebRTC offer was made", "err", errs[i])
			continue
		}
		if run.Err() != nil {
			o.Close()
			continue
		}
		var id ws.ID
		rand.Read(id[:])
		w.offers[id] = o
		out = append(out, ws.Offer{ID: id, SDP: o.SDP})
	}
	w.reasons.noOffer = nil
	if len(out) == 0 {
		w.reasons.noOffer = errs[0]
	}
	return out
}

// unanswered returns up to n offers that can be sent again, and how many are to be
// made besides.
func (w *Web) unanswered(n int) (out []ws.Offer, missing int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, o := range w.offers {
		select {
		case <-o.Done():
			delete(w.offers, id)
			continue
		default:
		}
		if len(out) < n && time.Since(o.Created) < reuseOffer && o.Created.After(w.relayedSince) {
			out = append(out, ws.Offer{ID: id, SDP: o.SDP})
		}
	}
	return out, min(n-len(out), offersPerTorrent-len(w.offers))
}

var (
	errKnownBrowser     = errors.New("this peer is about to be connected")
	errStopped          = errors.New("the torrent was stopped")
	errManyNegotiations = errors.New("too many peers are connecting")
	errNoPath           = fmt.Errorf("no path to the peer in %v, while others waited", pathPatience)
)

// begin notes that a connection to a peer is on its way, unless there is one.
func (w *Web) begin(n negotiation) (*webAttempt, error) {
	if err := w.s.host.MayJoin(w.s, n.peer); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if earlier := w.negotiating[n]; earlier != nil {
		if n.another = true; w.negotiating[n] != nil || earlier.reached() {
			return nil, errKnownBrowser
		}
	}
	if len(w.negotiating) >= negotiationsPerTorrent && !w.giveUpOne() {
		return nil, errManyNegotiations
	}
	a := &webAttempt{negotiation: n, since: time.Now()}
	w.negotiating[n] = a
	return a, nil
}

// giveUpOne ends the oldest negotiation that has had its time to find a path. w.mu is
// held.
func (w *Web) giveUpOne() bool {
	var oldest negotiation
	var longest time.Duration
	for n, a := range w.negotiating {
		if age := time.Since(a.since); a.answer != nil && age > max(longest, pathPatience) && !a.reached() {
			oldest, longest = n, age
		}
	}
	if longest == 0 {
		return false
	}
	answer := w.negotiating[oldest].answer
	delete(w.negotiating, oldest)
	return w.s.host.Go(func() { answer.Close() })
}

// Answer implements ws.Torrent.
func (w *Web) Answer(ctx context.Context, peer, _ ws.ID, sdp string) (string, error) {
	a, err := w.begin(negotiation{peer: peer})
	if err != nil {
		return "", err
	}
	answer, err := w.s.shared.RTC.Answer(ctx, sdp, w.servers()...)
	if err != nil {
		w.end(a, err)
		return "", err
	}
	w.mu.Lock()
	a.answer = answer
	w.mu.Unlock()
	if !w.s.host.Go(func() { w.connect(a, answer.Wait) }) {
		answer.Close()
		w.end(a, nil)
		return "", errStopped
	}
	return answer.SDP, nil
}

// Answered implements ws.Torrent.
func (w *Web) Answered(peer, offer ws.ID, sdp string) {
	w.mu.Lock()
	o := w.offers[offer]
	delete(w.offers, offer)
	w.mu.Unlock()
	if o == nil {
		return // answered before, or expired
	}
	a, err := w.begin(negotiation{peer: peer, offered: true})
	if err != nil {
		w.s.host.Go(func() { o.Close() })
		return
	}
	accept := func(ctx context.Context) (*webrtcwire.Conn, error) {
		conn, err := o.Accept(ctx, sdp)
		if err != nil {
			o.Close()
		}
		return conn, err
	}
	if !w.s.host.Go(func() { w.connect(a, accept) }) {
		o.Close()
	}
}

// connect waits for a connection and hands it to the loop.
func (w *Web) connect(a *webAttempt, wait func(context.Context) (*webrtcwire.Conn, error)) {
	ctx := w.run()
	w.end(a, w.s.guard(func() error {
		conn, err := wait(ctx)
		if err == nil {
			err = w.greet(ctx, conn, a.offered)
		}
		return err
	}))
}

func (w *Web) greet(ctx context.Context, conn *webrtcwire.Conn, offered bool) error {
	theirs, err := w.s.greet(ctx, conn)
	if err == nil {
		err = w.s.host.Attach(ctx, Conn{
			Conn: conn, Swarm: w.s, Kind: WebRTC, Addr: AddrPort(conn.RemoteAddr()), Outgoing: offered, Handshake: theirs,
		})
	}
	if err != nil {
		conn.Close()
	}
	return err
}

// end notes that a connection was made, or why it was not.
func (w *Web) end(a *webAttempt, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.negotiating[a.negotiation] == a {
		delete(w.negotiating, a.negotiation)
	} else {
		err = errNoPath
	}
	if err == nil || w.ctx.Err() != nil {
		return
	}
	w.s.log.Debug("no WebRTC connection", "err", err)
	// A page that makes two at once drops one, which is no failure.
	crossing := negotiation{peer: a.peer, offered: !a.offered}
	if w.negotiating[crossing] == nil && !w.s.host.Connected(a.peer) {
		w.reasons.failed(err)
	}
}

// Status implements ws.Torrent.
func (w *Web) Status(st ws.Status) {
	w.mu.Lock()
	w.status[st.URL] = st
	w.mu.Unlock()
	told := tracker.Status{
		URL: st.URL, OK: st.Err == nil, Seeds: st.Seeds, Leeches: st.Leeches,
		Message: st.Warning, Next: time.Now().Add(st.Interval),
	}
	if st.Err != nil {
		told.Message = st.Err.Error()
	}
	w.s.host.TrackerStatus(told)
}

// Met notes that a browser is connected. It may be called from any goroutine.
func (w *Web) Met() {
	w.mu.Lock()
	w.reasons = reasons{met: true}
	w.mu.Unlock()
}
