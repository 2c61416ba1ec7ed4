package client

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/source"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
)

// peer is a connected peer. It is how its source.Source is asked for blocks.
type peer struct {
	*source.Source

	t        *Torrent
	swarm    *swarm.Swarm // through which it came
	id       int          // for the choker
	conn     net.Conn
	kind     swarm.Transport
	outgoing bool
	addr     netip.AddrPort // as connected; see listen for where it accepts
	peerID   [20]byte
	reserved wire.Reserved
	w        *wire.Writer
	place    *allot.Place
	reading  readState

	joined         time.Time
	lastRead       atomic.Int64 // nanoseconds after joined
	lastPayload    atomic.Int64 // the same, of blocks either way; 0 none
	lastSent       atomic.Int64 // the same, of blocks that we sent
	received, sent atomic.Int64 // payload bytes
	useful         atomic.Int64 // of those, blocks that were of use to either side
	worth          atomic.Pointer[allot.Worth]
	turn           atomic.Uint32 // how often it was choked or unchoked
	greedy         atomic.Bool   // it took too much in this turn: see maxServed

	// Shared by the loop and the connection's goroutines.
	mu          sync.Mutex
	inbox       []event
	unread      []event // taken from the inbox, and put back
	inboxBytes  int     // of payloads in it
	posted      bool    // the loop was told of the inbox
	drained     *sync.Cond
	gone        bool
	unchoked    bool                // we serve it
	allowedFast map[uint32]struct{} // pieces served even while choked
	fastServed  int64               // bytes of them asked for while choked

	// Owned by the loop.
	interested     bool // in what we have
	weInterested   bool
	lastWanted     time.Time // when we wanted something of it last
	changed        time.Time // when we last choked or unchoked it
	sentBefore     int64     // bytes, by then
	isSeed         bool
	ext            wire.ExtHandshake
	toldPort       uint16         // where it was told that we accept connections
	listen         netip.AddrPort // where it accepts connections, zero unknown
	early          early
	down, up       rateMeter
	pexSent        map[netip.AddrPort]struct{}
	nextPEX        time.Time
	punch          punching
	metadata       *metadataPeer
	metadataWanted []int // pieces of it that the peer waits for
	candidate      *swarm.Candidate
	rejects        int     // of requests, while it had unchoked us
	havePieces     int     // Have messages and the like that it sent
	havesAnew      int     // times it replaced all of that
	chokes         float64 // that count against it
	lastChoke      time.Time
	metadataServed int // pieces of it that were sent

	// Owned by the writer.
	servedBlocks []uint16 // by piece
	countedTurn  uint32   // in which that was
}

// event is a message of a peer that the loop must hear of.
type event struct {
	message wire.Message
	decoded any // of an extension message: wire.ExtHandshake and the like
	// For a block that came: where it belongs, and when it was asked for and came.
	piece   *disk.Piece
	block   int
	askedAt time.Time
	at      time.Time
}

const (
	// idleTimeout is how long a peer may be silent. Peers send something every two
	// minutes (BEP 3).
	idleTimeout = 150 * time.Second
	// keepAliveAfter is after what time without a message one is sent.
	keepAliveAfter = 55 * time.Second
)

var (
	errDuplicate = errors.New("it is connected already")
	errFull      = allot.ErrFull
	errSelf      = errors.New("it is ourselves")
	errBanned    = errors.New("it is banned for sending wrong data")
	errUseless   = errors.New("neither side has anything for the other")
	errSilent    = errors.New("it was silent for too long")
)

// join makes a connection a peer, or closes it.
func (t *Torrent) join(c *swarm.Conn) {
	now := time.Now()
	var cand *swarm.Candidate // that we dialled
	if c.Outgoing && c.Kind.Classic() {
		cand = c.Swarm.Candidate(c.Addr)
	}
	p, err := t.admit(c, now)
	if err != nil {
		t.log.Debug("connection refused", "peer", c.Addr, "err", err)
		c.Close()
		if cand != nil {
			cand.Refused(errors.Is(err, errSelf), now)
		}
		return
	}
	l := &t.loop
	if cand != nil {
		cand.Connected()
		p.candidate, p.listen = cand, c.Addr
	} else if p.kind == swarm.UTP {
		p.listensAt(c.Addr) // programs have one UDP socket for both
	}
	l.peers[p] = struct{}{}
	l.byID[p.peerID] = p
	t.peerIDs.Store(p.peerID, p)
	t.countPeers()
	if p.kind == swarm.WebRTC {
		p.swarm.Web().Met()
	}
	if l.phase == phaseLive {
		l.content.Picker.AddPeer(&p.Pick)
	}
	t.spawn(p.runReader)
	t.spawn(p.runWriter)
	t.greet(p)
	t.wakeUp()
}

// admit makes a peer of a connection that may become one. It may drop another for it.
func (t *Torrent) admit(c *swarm.Conn, now time.Time) (*peer, error) {
	l := &t.loop
	who := &source.Identity{Addr: c.Addr, PeerID: c.Handshake.PeerID, Web: c.Kind == swarm.WebRTC}
	switch {
	case who.PeerID == c.Swarm.PeerID():
		return nil, errSelf
	case t.Err() != nil:
		return nil, t.Err()
	case l.run == nil:
		return nil, errStopped
	case l.bans.Banned(who, now):
		return nil, errBanned
	}
	other := l.byID[who.PeerID]
	if other != nil && !t.better(c, other) {
		return nil, errDuplicate
	}
	p := t.newPeer(c, who, now)
	if other != nil {
		t.drop(other, errDuplicate)
	}
	var err error
	p.place, err = t.client.conns.Admit(t, t.maxPeers(), p, c.Addr.Addr(), now)
	return p, err
}

// maxPeers is how many connections the torrent may have.
func (t *Torrent) maxPeers() int {
	if n := t.Limits().MaxPeers; n > 0 {
		return n
	}
	return t.client.cfg.MaxPeers
}

// roomFor reports whether another connection has a chance to be taken. It may be
// called from any goroutine.
func (t *Torrent) roomFor(now time.Time) bool { return t.client.conns.Chance(t, t.maxPeers(), now) }

// Worth implements allot.Member.
func (p *peer) Worth() allot.Worth { return *p.worth.Load() }

// Evict implements allot.Member.
func (p *peer) Evict(why error) { p.t.mail.evict(p, why) }

// updateWorth makes known what the peer is worth.
func (p *peer) updateWorth() {
	w := allot.Worth{Joined: p.joined, Rate: p.down.perSecond + p.up.perSecond}
	if last := time.Duration(p.lastPayload.Load()); last > 0 {
		w.Moved = p.joined.Add(last)
	}
	w.Active = p.weInterested && !p.Pick.Choking && !p.Pick.Snubbing || p.interested && p.unchoked
	w.Hoping = p.weInterested || p.interested || p.early.known() || p.metadata != nil
	p.worth.Store(&w)
}

// movingFor is for how long a connection counts as moving data after a block.
const movingFor = 10 * time.Second

// better says which of two connections to one peer is kept. A peer id proves nothing,
// since trackers tell it to everybody: while blocks move over a connection it stays,
// unless TCP or uTP comes from the browser's own address. One that has gone silent is given up.
// Else TCP is better than uTP and uTP better than WebRTC, and of one kind both sides must come to the same answer when they dial each
// other at once: the connection that the one with the larger peer id opened. It may be
// called from any goroutine.
func (t *Torrent) better(c *swarm.Conn, other *peer) bool {
	now := time.Now()
	switch {
	case other.moving(now):
		return c.Kind.Classic() && !other.kind.Classic() && c.Addr.Addr() == other.addr.Addr()
	case other.silence(now) > keepAliveAfter:
		return true
	case c.Kind != other.kind:
		return c.Kind < other.kind
	case c.Outgoing == other.outgoing:
		return false
	}
	ours := c.Swarm.PeerID()
	weAreLarger := string(ours[:]) > string(other.peerID[:])
	return c.Outgoing == weAreLarger
}

func (t *Torrent) newPeer(c *swarm.Conn, who *source.Identity, now time.Time) *peer {
	t.loop.nextPeerID++
	p := &peer{
		t: t, swarm: c.Swarm, id: t.loop.nextPeerID, conn: c.Conn, kind: c.Kind, outgoing: c.Outgoing, addr: c.Addr,
		peerID: who.PeerID, reserved: c.Handshake.Reserved,
		joined: now, changed: now, pexSent: make(map[netip.AddrPort]struct{}), punch: newPunching(),
	}
	p.Source = source.New(p, who)
	p.drained = sync.NewCond(&p.mu)
	p.updateWorth()
	_, swarmUp := c.Swarm.Limits()
	p.w = wire.NewWriter(c.Conn, wire.WriterConfig{
		Source: t, Served: p.served, ReadFailed: p.readFailed, Reject: p.reserved.Fast(),
		Limiters: []wire.Limiter{swarmUp, t.up, t.client.up},
	})
	return p
}

// drop ends a connection. Its goroutines end in their own time.
func (t *Torrent) drop(p *peer, why error) {
	l := &t.loop
	if _, ok := l.peers[p]; !ok {
		return
	}
	now := time.Now()
	t.log.Debug("peer gone", "peer", p.addr, "err", why)
	delete(l.peers, p)
	if p.unchoked && t.isSeed() {
		t.turnEnded(p, p.wastes(now) || p.interested && p.sentInTurn() == 0)
	}
	if l.byID[p.peerID] == p {
		delete(l.byID, p.peerID)
		t.peerIDs.Delete(p.peerID)
	}
	p.updateWorth()
	p.place.Leave()
	t.countPeers()
	if l.phase == phaseLive {
		l.content.Picker.RemovePeer(&p.Pick)
	}
	for _, r := range p.Forget() {
		t.refund(p, int64(r.Length()))
	}
	t.endMetadata(p, now)
	t.forgetPunches(p, now)
	p.early.drop(t.client.early)
	p.mu.Lock()
	p.gone = true
	p.inbox, p.unread = nil, nil
	p.drained.Broadcast()
	p.mu.Unlock()
	p.w.Close()
	if p.kind != swarm.WebRTC || !t.spawn(func() { p.conn.Close() }) {
		p.conn.Close() // at once; that of WebRTC waits for the network
	}
	if c := p.candidate; c != nil {
		c.Gone(p.useful.Load() > 0, now)
	}
	l.fillSoon = true
	t.wakeUp()
}

// ban drops a source and keeps it away for a while.
func (t *Torrent) ban(who *source.Identity, piece int) {
	why := fmt.Errorf("it sent wrong data for piece %d", piece)
	t.log.Warn("peer banned", "peer", who, "err", why)
	t.loop.bans.Add(who, time.Now())
	for p := range t.loop.peers {
		if p.Who == who {
			t.drop(p, why)
		}
	}
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
	p.countServed(piece, n)
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.t.content.Load()
	if p.gone && c == nil {
		return // the totals may have been saved; that a peer left with its last block is no matter
	}
	p.sent.Add(n)
	p.useful.Add(n)
	p.lastSent.Store(int64(time.Since(p.joined)))
	p.lastPayload.Store(int64(time.Since(p.joined)))
	p.t.uploaded.Add(n)
	web := p.kind == swarm.WebRTC
	if web {
		p.t.uploadedWeb.Add(n)
	}
	if c != nil && c.Bridged(int(piece), web) {
		if web {
			p.t.bridgedToWeb.Add(n)
		} else {
			p.t.bridgedToClassic.Add(n)
		}
	}
}

// maxServed is how often over a peer may have a piece in one turn: it may lose what came,
// find it wrong, or keep only what is being watched. Who takes it more often may go on, but
// not instead of others. Torrents of more than maxCounted pieces are not watched for it.
const (
	maxServed  = 16
	maxCounted = 1 << 16
)

// countServed notes that blocks were sent, and whether that was too much for one turn.
func (p *peer) countServed(piece uint32, n int64) {
	info := p.t.Info()
	if info.NumPieces() > maxCounted {
		return
	}
	if p.servedBlocks == nil {
		p.servedBlocks = make([]uint16, info.NumPieces())
	}
	if turn := p.turn.Load(); turn != p.countedTurn {
		p.countedTurn = turn
		clear(p.servedBlocks)
	}
	blocks := &p.servedBlocks[piece]
	*blocks = uint16(min(int64(*blocks)+max(n/wire.BlockSize, 1), math.MaxUint16))
	if int64(*blocks) > maxServed*(info.PieceLength/wire.BlockSize+1) {
		p.greedy.Store(true)
	}
}

// countPeers makes the number of connections known outside of the loop.
func (t *Torrent) countPeers() {
	web := 0
	for p := range t.loop.peers {
		if p.kind == swarm.WebRTC {
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
	c := t.content.Load()
	if c == nil {
		return disk.ErrClosed
	}
	return c.ReadBlocks(b, piece, begin)
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
	p.Judge(now)
	if t.loop.phase == phaseLive {
		t.expireRequests(p, now)
	}
	p.updateWorth()
}

const (
	// enoughPeers is how many useful connections a download goes on to look for. A
	// seed leaves the looking to others.
	enoughPeers = 50
	// fewPeers is below how many connections more are asked of trackers.
	fewPeers = 5
	// provingTime is how long a peer has to show what it is good for before another
	// is looked for beside it.
	provingTime = 20 * time.Second
)

// need says what the torrent wants of a swarm.
func (t *Torrent) need(s *swarm.Swarm, now time.Time) swarm.Need {
	l := &t.loop
	if l.phase != phaseMetadata && l.phase != phaseLive {
		return swarm.Need{}
	}
	useful, proving := 0, 0
	for p := range l.peers {
		switch w := p.Worth(); {
		case w.Useful(now):
			useful++
		case now.Sub(p.joined) < provingTime:
			proving++
		}
	}
	// Who comes again and again, and never proves anything, does not end the looking.
	useful += min(proving, enoughPeers/2)
	n := swarm.Need{Dials: enoughPeers - useful, None: len(l.peers) == 0, Complete: t.isSeed()}
	n.Few = !n.Complete && len(l.peers) < fewPeers
	if n.Dials > 0 && len(l.peers) >= enoughPeers && !t.roomFor(now) {
		n.Dials = 0 // nobody would give way
	}
	return n
}
