package client

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/picker"
	"github.com/causeway-bt/causeway/wire"
)

// Transport is how a peer is connected.
type Transport int

const (
	TCP Transport = iota
	WebRTC
)

// newConn is a connection whose handshakes are done, on its way to the loop.
type newConn struct {
	net.Conn
	kind      Transport
	addr      netip.AddrPort
	outgoing  bool // we dialled, or made the offer
	handshake wire.Handshake
}

// peer is a connected peer.
type peer struct {
	t        *Torrent
	id       int // for the choker
	conn     net.Conn
	kind     Transport
	outgoing bool
	addr     netip.AddrPort // as connected; see listen for where it accepts
	peerID   [20]byte
	reserved wire.Reserved
	w        *wire.Writer
	who      *contributor

	unrequested int // blocks; owned by the reader

	joined         time.Time
	lastRead       atomic.Int64 // nanoseconds after joined
	lastPayload    atomic.Int64 // the same, of blocks either way; 0 none
	received, sent atomic.Int64 // payload bytes

	// Shared by the loop and the connection's goroutines.
	mu          sync.Mutex
	inbox       []event
	inboxBytes  int  // of payloads in it
	posted      bool // the loop was told of the inbox
	drained     *sync.Cond
	gone        bool
	requests    requestQueue
	unchoked    bool                // we serve it
	allowedFast map[uint32]struct{} // pieces served even while choked
	fastServed  int64               // bytes of them asked for while choked

	// Owned by the loop.
	pick           picker.Peer
	choking        bool // it does not serve us
	interested     bool // in what we have
	weInterested   bool
	changed        time.Time // when we last choked or unchoked it
	isSeed         bool
	useless        time.Time // since when neither side wants anything of the other; zero: it is of use
	fastPieces     []int     // it serves these even while choking us
	suggested      []int
	ext            wire.ExtHandshake
	listen         netip.AddrPort // where it accepts connections, zero unknown
	early          early
	window         window
	down, up       rateMeter
	lastBlock      time.Time
	tardy          bool      // others sent what it owes before it sent anything, while a player waits
	firstAsked     time.Time // of the requests under way, when the first was sent
	pexSent        map[netip.AddrPort]struct{}
	nextPEX        time.Time
	lastPEX        time.Time // received
	metadata       *metadataPeer
	metadataWanted []int // pieces of it that the peer waits for
	candidate      *candidate
	rejects        int // of requests, while it had unchoked us
	havePieces     int // Have messages and the like that it sent
	havesAnew      int // times it replaced all of that
}

// early is what a peer said of its pieces before we knew how many there are.
type early struct {
	all      bool
	bitfield []byte
	haves    []uint32
}

// maxEarlyHaves bounds early.haves.
const maxEarlyHaves = 1 << 16

// event is a message of a peer that the loop must hear of.
type event struct {
	message wire.Message
	// For a block that came: where it belongs, and when it was asked for and came.
	piece   *disk.Piece
	block   int
	askedAt time.Time
	at      time.Time
}

const (
	// maxInbox bounds what waits for the loop; the reader then waits too.
	maxInbox      = 4096
	maxInboxBytes = 1 << 20
	// idleTimeout is how long a peer may be silent. Peers send something every two
	// minutes (BEP 3).
	idleTimeout = 150 * time.Second
	// keepAliveAfter is after what time without a message one is sent.
	keepAliveAfter = 55 * time.Second
)

var (
	errDuplicate = errors.New("it is connected already")
	errFull      = errors.New("there are connections enough")
	errSelf      = errors.New("it is ourselves")
	errBanned    = errors.New("it is banned for sending wrong data")
	errUseless   = errors.New("neither side has anything for the other")
	errSilent    = errors.New("it was silent for too long")
)

// attach hands a connection with finished handshakes to the loop.
func (t *Torrent) attach(ctx interface{ Done() <-chan struct{} }, c newConn) error {
	select {
	case t.joins <- &c:
		return nil
	case <-t.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return errors.New("the torrent did not take it in time")
	}
}

// join makes a connection a peer, or closes it.
func (t *Torrent) join(c *newConn) {
	l := &t.loop
	var cand *candidate // that we dialled
	if c.outgoing && c.kind == TCP {
		cand = l.candidates.byAddr[c.addr]
	}
	if err := t.admit(c); err != nil {
		t.log.Debug("connection refused", "peer", c.addr, "err", err)
		c.Close()
		if cand != nil {
			cand.dialling = false
			cand.self = errors.Is(err, errSelf)
			cand.failed(time.Now())
		}
		return
	}
	p := t.newPeer(c)
	if cand != nil {
		cand.dialling, cand.connected, cand.failures = false, true, 0
		p.candidate, p.listen = cand, c.addr
	}
	l.peers[p] = struct{}{}
	l.byID[p.peerID] = p
	t.peerIDs.Store(p.peerID, p)
	t.client.connections.Add(1)
	t.countPeers()
	if p.kind == WebRTC {
		t.web.met()
	}
	if l.picker != nil {
		l.picker.AddPeer(&p.pick)
	}
	t.spawn(p.runReader)
	t.spawn(p.runWriter)
	t.greet(p)
	t.wakeUp()
}

// admit says whether a connection may become a peer. It may drop another for it.
func (t *Torrent) admit(c *newConn) error {
	l := &t.loop
	id := c.handshake.PeerID
	switch {
	case id == t.client.id:
		return errSelf
	case l.phase == phaseFailed:
		return t.err
	case l.bans.banned(c.addr, id, time.Now()):
		return errBanned
	}
	if other := l.byID[id]; other != nil {
		if !t.better(c, other) {
			return errDuplicate
		}
		t.drop(other, errDuplicate)
	}
	if t.full() && !t.dropUseless() {
		return errFull
	}
	return nil
}

// full reports whether there are as many connections as there may be. It may be
// called from any goroutine.
func (t *Torrent) full() bool {
	c := t.client
	return t.peerCount.Load() >= int64(c.cfg.MaxPeers) || c.connections.Load() >= int64(c.cfg.MaxConnections)
}

// movingFor is for how long a connection counts as moving data after a block.
const movingFor = 10 * time.Second

// better says which of two connections to one peer is kept. A peer id proves nothing,
// since trackers tell it to everybody: while blocks move over a connection it stays,
// unless TCP comes from the browser's own address. One that has gone silent is given up.
// Else TCP is better than WebRTC, which costs ten times
// as much, and of one kind both sides must come to the same answer when they dial each
// other at once: the connection that the one with the larger peer id opened. It may be
// called from any goroutine.
func (t *Torrent) better(c *newConn, other *peer) bool {
	now := time.Now()
	switch {
	case other.moving(now):
		return c.kind == TCP && other.kind == WebRTC && c.addr.Addr() == other.addr.Addr()
	case other.silence(now) > keepAliveAfter:
		return true
	case c.kind != other.kind:
		return c.kind == TCP
	case c.outgoing == other.outgoing:
		return false
	}
	weAreLarger := string(t.client.id[:]) > string(other.peerID[:])
	return c.outgoing == weAreLarger
}

// uselessFor is how long a peer must have been of no use to make room for another.
const uselessFor = 30 * time.Second

func (t *Torrent) dropUseless() bool {
	var victim *peer
	for p := range t.loop.peers {
		if !p.useless.IsZero() && time.Since(p.useless) > uselessFor && (victim == nil || p.useless.Before(victim.useless)) {
			victim = p
		}
	}
	if victim == nil {
		return false
	}
	t.drop(victim, errUseless)
	return true
}

func (t *Torrent) newPeer(c *newConn) *peer {
	now := time.Now()
	t.loop.nextPeerID++
	p := &peer{
		t: t, id: t.loop.nextPeerID, conn: c.Conn, kind: c.kind, outgoing: c.outgoing, addr: c.addr,
		peerID: c.handshake.PeerID, reserved: c.handshake.Reserved,
		joined: now, changed: now, choking: true, window: newWindow(), useless: now,
		pexSent: make(map[netip.AddrPort]struct{}),
	}
	p.drained = sync.NewCond(&p.mu)
	p.pick.Tag, p.pick.Choking = p, true
	p.who = &contributor{addr: c.addr, peerID: p.peerID, web: c.kind == WebRTC}
	cfg := wire.WriterConfig{Source: t, Served: p.served, ReadFailed: p.readFailed, Reject: p.reserved.Fast()}
	if t.client.up != nil {
		cfg.Limiters = append(cfg.Limiters, t.client.up)
	}
	p.w = wire.NewWriter(c.Conn, cfg)
	return p
}

// drop ends a connection. Its goroutines end in their own time.
func (t *Torrent) drop(p *peer, why error) {
	l := &t.loop
	if _, ok := l.peers[p]; !ok {
		return
	}
	t.log.Debug("peer gone", "peer", p.addr, "err", why)
	delete(l.peers, p)
	if l.byID[p.peerID] == p {
		delete(l.byID, p.peerID)
		t.peerIDs.Delete(p.peerID)
	}
	t.client.connections.Add(-1)
	t.countPeers()
	if l.picker != nil {
		l.picker.RemovePeer(&p.pick)
	}
	t.endMetadata(p, time.Now())
	p.mu.Lock()
	p.gone = true
	p.inbox = nil
	p.drained.Broadcast()
	p.mu.Unlock()
	p.w.Close()
	if p.kind != WebRTC || !t.spawn(func() { p.conn.Close() }) {
		p.conn.Close() // at once; that of WebRTC waits for the network
	}
	if c := p.candidate; c != nil {
		c.connected = false
		if p.received.Load() == 0 {
			c.failed(time.Now())
		} else {
			c.next = time.Now().Add(retryBase)
		}
	}
	l.fillSoon = true
	t.wakeUp()
}

// runWriter sends until the connection ends.
func (p *peer) runWriter() {
	defer p.recoverPanic()
	p.end(p.w.Run())
}

// end tells the loop that the connection is over.
func (p *peer) end(why error) {
	p.conn.Close()
	p.t.do(func() { p.t.drop(p, why) })
}

// recoverPanic turns a bug in handling one peer into the end of its connection.
func (p *peer) recoverPanic() {
	if r := recover(); r != nil {
		p.t.log.Error("panic while serving a peer; please report this", "peer", p.addr, "panic", r, "stack", stack())
		p.end(fmt.Errorf("panic: %v", r))
	}
}

// served counts what the writer sent.
func (p *peer) served(piece uint32, n int64) {
	p.sent.Add(n)
	p.lastPayload.Store(int64(time.Since(p.joined)))
	p.t.uploaded.Add(n)
	p.t.countBridged(p.kind, int(piece), n)
}

// countPeers makes the number of connections known outside of the loop.
func (t *Torrent) countPeers() {
	web := 0
	for p := range t.loop.peers {
		if p.kind == WebRTC {
			web++
		}
	}
	t.peerCount.Store(int64(len(t.loop.peers)))
	t.webPeers.Store(int64(web))
}

// readFailed ends the torrent when verified data cannot be read.
func (p *peer) readFailed(_ wire.Block, err error) {
	if !errors.Is(err, disk.ErrClosed) && !errors.Is(err, disk.ErrEvicted) {
		p.t.do(func() { p.t.fail(err) })
	}
}

// ReadBlocks implements wire.BlockSource.
func (t *Torrent) ReadBlocks(b []byte, piece, begin uint32) error {
	return t.storage.Load().ReadBlocks(b, piece, begin)
}

// silence returns for how long nothing was read from the peer.
func (p *peer) silence(now time.Time) time.Duration {
	return now.Sub(p.joined) - time.Duration(p.lastRead.Load())
}

// moving reports whether blocks come or go.
func (p *peer) moving(now time.Time) bool {
	last := time.Duration(p.lastPayload.Load())
	return last > 0 && now.Sub(p.joined)-last < movingFor
}

// tickPeer does what is due for one peer.
func (t *Torrent) tickPeer(p *peer, now time.Time) {
	t.readInbox(p, now)
	if p.silence(now) > idleTimeout {
		t.drop(p, errSilent)
		return
	}
	if p.w.Idle() > keepAliveAfter {
		p.w.Send(wire.Message{ID: wire.KeepAlive})
	}
	t.serveMetadata(p)
	if now.Sub(p.down.at) >= rateInterval {
		p.down.update(now, p.received.Load())
		p.up.update(now, p.sent.Load())
	}
	p.pick.Snubbing = p.tardy || p.snubbing(now)
	p.pick.Patience, p.pick.Hurry = p.patience(), p.hurry()
	if t.loop.phase == phaseLive {
		t.expireRequests(p, now)
	}
	if p.weInterested || p.interested {
		p.useless = time.Time{}
	} else if p.useless.IsZero() {
		p.useless = now
	}
}
