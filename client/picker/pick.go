package picker

import (
	"slices"
	"time"
)

// deadline is a piece that is wanted at a moment.
type deadline struct {
	piece int
	at    time.Time
}

// SetDeadlines replaces the pieces that are wanted by a moment. They come before
// all others, the earliest first, and a late block of theirs is asked of a second
// peer without waiting for the first one's patience to end.
func (p *Picker) SetDeadlines(pieces map[int]time.Time) {
	p.deadlines = p.deadlines[:0]
	for index, at := range pieces {
		if p.lacking(index) {
			p.deadlines = append(p.deadlines, deadline{index, at})
		}
	}
	slices.SortFunc(p.deadlines, func(a, b deadline) int { return a.at.Compare(b.at) })
}

// endgameQueue is how many blocks a peer may owe and still be given blocks in the
// endgame that others owe too; fresh ones come first.
const endgameQueue = 2

// Pick chooses up to n blocks to ask of a peer, marks them as asked, and appends
// them to dst.
func (p *Picker) Pick(dst []Request, peer *Peer, n int) []Request {
	if peer.wanted == 0 || n <= 0 {
		return dst
	}
	c := choice{p: p, peer: peer, out: dst, limit: len(dst) + n, now: p.cfg.Now()}
	if c.deadlines() {
		return c.out // the rest waits until what somebody waits for is there
	}
	c.begun()
	for !c.full() && c.begin(false) {
		c.begun()
	}
	c.shared()
	if peer.inFlight == 0 && !c.full() && p.stuck() && c.begin(true) {
		c.begun()
	}
	c.late()
	c.endgame()
	return c.out
}

// stuck reports whether it is peers that keep pieces open, rather than the disk,
// which has half of them or more whole and waiting: more memory helps only then.
func (p *Picker) stuck() bool {
	incomplete := 0
	for _, pc := range p.openList {
		if pc.missing > 0 {
			incomplete++
		}
	}
	return 2*incomplete > len(p.openList) || len(p.openList) == 0
}

// Stranded returns an open piece that no peer serves and of which nothing is owed, the
// one with the fewest blocks, or -1.
func (p *Picker) Stranded() int {
	worst, blocks := -1, 0
	for _, pc := range p.openList {
		got := len(pc.blocks) - pc.missing
		if pc.free == pc.missing && pc.free > 0 && !p.served(pc.index) && (worst < 0 || got < blocks) {
			worst, blocks = pc.index, got
		}
	}
	return worst
}

// DeadlineServed reports whether a peer has one of the pieces with deadlines and would send
// it.
func (p *Picker) DeadlineServed() bool {
	return slices.ContainsFunc(p.deadlines, func(d deadline) bool { return p.lacking(d.piece) && p.served(d.piece) })
}

// PickFrom is Pick for a given few pieces only: those that a choking peer serves
// all the same, or those that it suggested.
func (p *Picker) PickFrom(dst []Request, peer *Peer, n int, pieces []int) []Request {
	c := choice{p: p, peer: peer, out: dst, limit: len(dst) + n, now: p.cfg.Now()}
	for _, index := range pieces {
		if n <= 0 || c.full() {
			break
		}
		if index < 0 || index >= p.cfg.Pieces || !p.lacking(index) || !peer.Has(index) {
			continue
		}
		pc := p.open[index]
		if pc == nil {
			if pc = p.start(index, peer, false); pc == nil {
				continue
			}
		}
		if c.mayTake(pc) {
			c.takeFree(pc)
		}
	}
	return c.out
}

// choice is the state of one Pick.
type choice struct {
	p     *Picker
	peer  *Peer
	out   []Request
	limit int // length of out to stop at
	now   time.Time
}

func (c *choice) full() bool { return len(c.out) >= c.limit }

func (c *choice) ask(pc *piece, i int) {
	b := &pc.blocks[i]
	if len(b.asked) == 0 {
		pc.free--
	}
	b.asked = append(b.asked, c.peer)
	b.askedAt = c.now
	c.peer.inFlight++
	c.out = append(c.out, Request{pc.index, i})
}

// takeFree asks for blocks of a piece that nobody was asked for, in order.
func (c *choice) takeFree(pc *piece) {
	for pc.free > 0 && !c.full() {
		if b := &pc.blocks[pc.firstFree]; !b.received && len(b.asked) == 0 {
			c.ask(pc, pc.firstFree)
		}
		pc.firstFree++
	}
}

// mayTake reports whether blocks of a piece may be asked of the peer.
func (c *choice) mayTake(pc *piece) bool {
	return c.p.wanted[pc.index] && c.peer.Has(pc.index) && !c.reserved(pc)
}

// reserved reports whether a piece that was wrong before is left to its owner, who
// is at work and can finish it.
func (c *choice) reserved(pc *piece) bool {
	owner := pc.owner
	return c.p.suspect[pc.index] && owner != nil && owner != c.peer &&
		owner.inFlight > 0 && !owner.Snubbing && owner.Has(pc.index)
}

// deadlines takes blocks of the pieces that somebody waits for, and reports whether
// there are any left that can be had.
func (c *choice) deadlines() (left bool) {
	for _, d := range c.p.deadlines {
		if !c.p.lacking(d.piece) || !c.p.served(d.piece) {
			continue
		}
		left = true
		if c.full() {
			return true
		}
		if !c.peer.Has(d.piece) {
			continue
		}
		pc := c.p.open[d.piece]
		if pc == nil {
			if pc = c.p.start(d.piece, c.peer, true); pc == nil {
				continue
			}
		}
		if !c.mayTake(pc) {
			continue
		}
		c.takeFree(pc)
		// While it is we who wait, a piece that is late says nothing of those who owe it.
		late, least := c.now.After(d.at), time.Duration(0)
		if c.p.throttled {
			late, least = false, throttledHurry
		}
		c.takeOwed(pc, func(b *block) bool {
			return len(b.asked) < maxAsked && (late || c.now.Sub(b.askedAt) >= least && b.overdue(c.now))
		})
	}
	return left
}

// throttledHurry is how long a request of what somebody waits for takes at least before
// another peer is asked, too, while a limit holds us back: what comes twice is taken from
// what is waited for.
const throttledHurry = time.Second

// served reports whether some peer has a piece and would send it.
func (p *Picker) served(index int) bool {
	for peer := range p.peers {
		if !peer.Choking && peer.Has(index) {
			return true
		}
	}
	return false
}

// overdue reports whether all who owe a block with a deadline have had their time.
func (b *block) overdue(now time.Time) bool {
	for _, peer := range b.asked {
		if !peer.Snubbing && now.Sub(b.askedAt) < peer.Hurry {
			return false
		}
	}
	return true
}

// begun takes blocks of the pieces that this peer began.
func (c *choice) begun() {
	for _, pc := range c.peer.begun {
		if c.full() {
			return
		}
		if pc.free > 0 && c.mayTake(pc) {
			c.takeFree(pc)
		}
	}
}

// begin opens a new piece for the peer, and reports whether it did.
func (c *choice) begin(stretch bool) bool {
	index := c.p.next(c.peer)
	return index >= 0 && c.p.start(index, c.peer, stretch) != nil
}

// shared takes blocks of pieces that others began, or that lost who began them.
func (c *choice) shared() {
	for _, pc := range c.p.openList {
		if c.full() {
			return
		}
		if pc.free == 0 || !c.mayTake(pc) {
			continue
		}
		if pc.owner == nil {
			pc.owner = c.peer
			c.peer.begun = append(c.peer.begun, pc)
		}
		c.takeFree(pc)
	}
}

// lateInterval is how often a peer is given the late blocks of others: to look
// for them goes through every block of every open piece.
const lateInterval = 100 * time.Millisecond

// late takes blocks whose peers do not deliver.
func (c *choice) late() {
	if c.full() || c.now.Sub(c.peer.lookedForLate) < lateInterval {
		return
	}
	c.peer.lookedForLate = c.now
	for _, pc := range c.p.openList {
		if c.full() {
			return
		}
		if pc.missing > 0 && c.p.wanted[pc.index] && c.peer.Has(pc.index) {
			c.takeOwed(pc, func(b *block) bool { return b.late(c.now) })
		}
	}
}

// late reports whether all who owe a block have had their time.
func (b *block) late(now time.Time) bool {
	for _, peer := range b.asked {
		if !peer.Snubbing && now.Sub(b.askedAt) < peer.Patience {
			return false
		}
	}
	return true
}

// endgame takes blocks that other peers owe, when nothing else is left.
func (c *choice) endgame() {
	if c.p.throttled || c.peer.inFlight >= endgameQueue || c.p.fresh() {
		return
	}
	c.limit = min(c.limit, len(c.out)+endgameQueue-c.peer.inFlight)
	for _, pc := range c.p.openList {
		if c.full() {
			return
		}
		if pc.missing > 0 && c.mayTake(pc) {
			c.takeOwed(pc, func(b *block) bool { return len(b.asked) < maxAsked-1 })
		}
	}
}

// takeOwed asks for blocks that others owe and for which ok is true.
func (c *choice) takeOwed(pc *piece, ok func(*block) bool) {
	for i := range pc.blocks {
		if c.full() {
			return
		}
		b := &pc.blocks[i]
		if b.received || len(b.asked) == 0 || slices.Contains(b.asked, c.peer) || !ok(b) {
			continue
		}
		c.ask(pc, i)
	}
}

// fresh reports whether there are blocks that nobody was asked for and that
// somebody has.
func (p *Picker) fresh() bool {
	nobodyHas := 0
	if p.seeds == 0 {
		nobodyHas = p.order.end[0]
	}
	if len(p.order.pieces) > nobodyHas {
		return true
	}
	return slices.ContainsFunc(p.openList, func(pc *piece) bool {
		return pc.free > 0 && p.wanted[pc.index] && p.Availability(pc.index) > 0
	})
}

// start opens a piece, or returns nil when there is no memory for it.
func (p *Picker) start(index int, owner *Peer, stretch bool) *piece {
	if !p.cfg.Begin(index, stretch) {
		return nil
	}
	n := p.cfg.Blocks(index)
	pc := &piece{index: index, owner: owner, blocks: make([]block, n), free: n, missing: n}
	p.open[index] = pc
	p.openList = append(p.openList, pc)
	owner.begun = append(owner.begun, pc)
	p.order.remove(index)
	return pc
}

// next returns the piece to begin with a peer, -1 if it has none.
func (p *Picker) next(peer *Peer) int {
	switch {
	case p.sequential:
		return p.nextInOrder(peer)
	case peer.haveAll:
		if len(p.order.pieces) == 0 {
			return -1
		}
		return int(p.order.pieces[0])
	case peer.wanted > len(p.order.pieces)/sparsePeer:
		for _, index := range p.order.pieces[p.order.end[0]:] { // what nobody has, it has not
			if peer.have.Has(int(index)) {
				return int(index)
			}
		}
		return -1
	default:
		return p.rarestOf(peer)
	}
}

// sparsePeer: a peer that has fewer than one in so many of the pieces we want is
// searched by what it has, not by what we want.
const sparsePeer = 64

// rarestOf looks for the rarest wanted piece among the few that a peer has.
func (p *Picker) rarestOf(peer *Peer) int {
	best := -1
	for index := range peer.have.From(0) {
		place := p.order.place[index]
		if place >= 0 && (best < 0 || place < p.order.place[best]) {
			best = index
		}
	}
	return best
}

func (p *Picker) nextInOrder(peer *Peer) int {
	for p.cursor < p.cfg.Pieces && p.order.place[p.cursor] < 0 {
		p.cursor++
	}
	if peer.haveAll {
		if p.cursor == p.cfg.Pieces {
			return -1
		}
		return p.cursor
	}
	for index := range peer.have.From(p.cursor) {
		if p.order.place[index] >= 0 {
			return index
		}
	}
	return -1
}
