package picker

import (
	"slices"
	"time"

	"github.com/causeway-bt/causeway/wire"
)

// Request is a block to be asked of a peer.
type Request struct{ Piece, Block int }

// Peer is what the picker knows of a peer. Its exported fields belong to the
// caller, who sets them when they change.
type Peer struct {
	// Tag is the caller's own; the picker only hands it back.
	Tag any
	// Snubbing: it was asked for blocks and has sent nothing for a while.
	Snubbing bool
	// Choking: it serves nothing, or next to nothing.
	Choking bool
	// Patience is how long a request to it may take before others are asked too.
	Patience time.Duration
	// Hurry is Patience for pieces with a deadline.
	Hurry time.Duration

	have     wire.Bitfield // nil with haveAll
	haveAll  bool
	wanted   int // pieces it has that we want and lack
	inFlight int
	begun    []*piece // pieces that it began, of those still open

	lookedForLate time.Time
}

// Wanted returns how many pieces the peer has that we want and lack; it is of
// interest to us if that is not 0.
func (p *Peer) Wanted() int { return p.wanted }

// InFlight returns how many blocks it owes us.
func (p *Peer) InFlight() int { return p.inFlight }

// Has reports whether the peer has a piece.
func (p *Peer) Has(piece int) bool { return p.haveAll || p.have.Has(piece) }

// piece is an open piece: begun, and neither verified nor abandoned.
type piece struct {
	index   int
	owner   *Peer // who began it, or took it over; nil when that peer left
	blocks  []block
	free    int // blocks that nobody was asked for and that are not there
	missing int // blocks that are not there

	firstFree int // no block before it is free
}

type block struct {
	received bool
	askedAt  time.Time // when it was asked for last
	asked    []*Peer   // who owes it to us
}

// maxAsked bounds at how many peers a block is asked for.
const maxAsked = 3

// Config configures a Picker.
type Config struct {
	Pieces int
	// Blocks returns how many blocks a piece has.
	Blocks func(piece int) int
	// Begin is called before a piece is opened, and reports whether there is
	// memory for it; with stretch, the peer has nothing else to do.
	Begin func(piece int, stretch bool) bool
	// Now is the clock.
	Now func() time.Time
	// Random returns a number in [0, n).
	Random func(n int) int
}

// Picker picks blocks.
type Picker struct {
	cfg        Config
	sequential bool
	throttled  bool

	order  rarity // wanted pieces that we lack and that are not open
	seeds  int    // peers that have everything; they are not counted in order
	wanted []bool
	have   wire.Bitfield
	left   int // wanted pieces that we lack
	cursor int // every wanted piece before it is had or open (sequential)

	open      map[int]*piece
	openList  []*piece // in the order of beginning
	suspect   map[int]bool
	deadlines []deadline
	peers     map[*Peer]struct{}
}

// New returns a picker that wants nothing yet: see SetWanted.
func New(cfg Config) *Picker {
	return &Picker{
		cfg:     cfg,
		order:   newRarity(cfg.Pieces, cfg.Random),
		wanted:  make([]bool, cfg.Pieces),
		have:    wire.NewBitfield(cfg.Pieces),
		open:    make(map[int]*piece),
		suspect: make(map[int]bool),
		peers:   make(map[*Peer]struct{}),
	}
}

// SetSequential switches between order of pieces and rarest first.
func (p *Picker) SetSequential(on bool) { p.sequential, p.cursor = on, 0 }

// SetThrottled says that it is we who ask for less than the peers would send: then
// nothing is asked for twice, unless somebody waits for it.
func (p *Picker) SetThrottled(on bool) { p.throttled = on }

// SetWanted says whether a piece is wanted. One that is open and no longer wanted
// is not asked for any more, but stays open until Abandon.
func (p *Picker) SetWanted(index int, wanted bool) {
	if p.wanted[index] == wanted {
		return
	}
	p.wanted[index] = wanted
	p.cursor = 0
	if p.have.Has(index) {
		return
	}
	p.countWanted(index, wanted)
	if wanted {
		if p.open[index] == nil {
			p.order.insert(index)
		}
	} else {
		p.order.remove(index)
	}
}

// countWanted follows a piece that began or ceased to be wanted and lacking.
func (p *Picker) countWanted(index int, wanted bool) {
	delta := -1
	if wanted {
		delta = 1
	}
	p.left += delta
	for peer := range p.peers {
		if peer.Has(index) {
			peer.wanted += delta
		}
	}
}

// Wants reports whether a piece is wanted, lacking or not.
func (p *Picker) Wants(index int) bool { return p.wanted[index] }

// Left returns how many wanted pieces are lacking.
func (p *Picker) Left() int { return p.left }

// Have reports whether a piece is verified.
func (p *Picker) Have(index int) bool { return p.have.Has(index) }

// Open returns how many pieces are open.
func (p *Picker) Open() int { return len(p.openList) }

// Availability returns how many peers have a piece.
func (p *Picker) Availability(index int) int { return p.seeds + int(p.order.count[index]) }

// SetHave marks a piece as verified, without it having been downloaded.
func (p *Picker) SetHave(index int) {
	if p.have.Has(index) {
		return
	}
	p.have.Set(index)
	if p.wanted[index] {
		p.countWanted(index, false)
	}
	p.order.remove(index)
}

// Lost marks a piece as lacking again.
func (p *Picker) Lost(index int) {
	if !p.have.Has(index) {
		return
	}
	p.have.Clear(index)
	p.cursor = 0
	if p.wanted[index] {
		p.countWanted(index, true)
		p.order.insert(index)
	}
}

// AddPeer makes a peer known, with no pieces.
func (p *Picker) AddPeer(peer *Peer) {
	peer.have = wire.NewBitfield(p.cfg.Pieces)
	p.peers[peer] = struct{}{}
}

// PeerHas adds a piece to those that a peer has.
func (p *Picker) PeerHas(peer *Peer, index int) {
	if peer.Has(index) {
		return
	}
	peer.have.Set(index)
	p.order.increment(index)
	if p.lacking(index) {
		peer.wanted++
	}
}

// PeerHasAll says that a peer has every piece.
func (p *Picker) PeerHasAll(peer *Peer) {
	p.PeerHasNone(peer)
	peer.haveAll = true
	p.seeds++
	peer.wanted = p.left
}

// PeerHasNone forgets which pieces a peer has.
func (p *Picker) PeerHasNone(peer *Peer) {
	if peer.haveAll {
		peer.haveAll = false
		p.seeds--
	} else {
		for i := range peer.have.From(0) {
			p.order.decrement(i)
		}
	}
	clear(peer.have)
	peer.wanted = 0
}

// PeerLost removes a piece from those that a peer has (BEP 54).
func (p *Picker) PeerLost(peer *Peer, index int) {
	if !peer.Has(index) {
		return
	}
	if peer.haveAll {
		p.PeerHasNone(peer)
		for i := range p.cfg.Pieces {
			p.PeerHas(peer, i)
		}
	}
	peer.have.Clear(index)
	p.order.decrement(index)
	if p.lacking(index) {
		peer.wanted--
	}
}

// PeerIsSeed reports whether a peer has every piece.
func (p *Picker) PeerIsSeed(peer *Peer) bool {
	return peer.haveAll || peer.have.Count() == p.cfg.Pieces
}

func (p *Picker) lacking(index int) bool { return p.wanted[index] && !p.have.Has(index) }

// RemovePeer forgets a peer and what was asked of it.
func (p *Picker) RemovePeer(peer *Peer) {
	p.Forget(peer)
	p.PeerHasNone(peer)
	for _, pc := range peer.begun {
		pc.owner = nil
	}
	peer.begun = nil
	delete(p.peers, peer)
}

// Forget takes back everything that was asked of a peer, as when it chokes us.
func (p *Picker) Forget(peer *Peer) {
	if peer.inFlight == 0 {
		return
	}
	for _, pc := range p.openList {
		for i := range pc.blocks {
			p.unask(pc, i, peer)
		}
	}
}

// Unask takes one request back, as when a peer rejects it.
func (p *Picker) Unask(peer *Peer, r Request) {
	if pc := p.open[r.Piece]; pc != nil {
		p.unask(pc, r.Block, peer)
	}
}

func (p *Picker) unask(pc *piece, i int, peer *Peer) {
	b := &pc.blocks[i]
	at := slices.Index(b.asked, peer)
	if at < 0 {
		return
	}
	b.asked = slices.Delete(b.asked, at, at+1)
	peer.inFlight--
	if len(b.asked) == 0 && !b.received {
		pc.free++
		pc.firstFree = min(pc.firstFree, i)
	}
}

// Received marks a block as there, and returns the other peers that still owe it.
// They are asked no more; the caller cancels.
func (p *Picker) Received(peer *Peer, r Request) (others []*Peer) {
	pc := p.open[r.Piece]
	if pc == nil {
		return nil
	}
	b := &pc.blocks[r.Block]
	for _, other := range b.asked {
		other.inFlight--
		if other != peer {
			others = append(others, other)
		}
	}
	if !b.received {
		if len(b.asked) == 0 {
			pc.free-- // it came late, after we had taken the request back
		}
		b.received = true
		pc.missing--
	}
	b.asked = nil
	return others
}

// Done closes an open piece: verified, or to be had again from the start. In the
// latter case it is asked of one peer at a time from now on, so that a second
// failure has a culprit.
func (p *Picker) Done(index int, ok bool) {
	pc := p.open[index]
	if pc == nil {
		return
	}
	for i := range pc.blocks {
		for _, peer := range slices.Clone(pc.blocks[i].asked) {
			p.unask(pc, i, peer)
		}
	}
	delete(p.open, index)
	p.openList = slices.DeleteFunc(p.openList, func(o *piece) bool { return o == pc })
	if pc.owner != nil {
		pc.owner.begun = slices.DeleteFunc(pc.owner.begun, func(o *piece) bool { return o == pc })
	}
	if ok {
		delete(p.suspect, index)
		p.SetHave(index)
		return
	}
	p.suspect[index] = true
	p.cursor = 0
	if p.wanted[index] {
		p.order.insert(index)
	}
}

// Abandon closes an open piece that has not failed.
func (p *Picker) Abandon(index int) {
	suspect := p.suspect[index]
	p.Done(index, false)
	if !suspect {
		delete(p.suspect, index)
	}
}
