package content

import (
	"errors"
	"fmt"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/picker"
	"github.com/causeway-bt/causeway/client/source"
)

// Piece returns an open piece, nil if it is not open.
func (c *Content) Piece(index int) *disk.Piece { return c.pieces[index] }

// begin opens a piece for the picker, if there is memory for it.
func (c *Content) begin(index int, stretch bool) bool {
	begin := func() *disk.Piece { return c.storage.Begin(index, stretch, c.suspects[index] != nil) }
	piece := begin()
	if piece == nil {
		if stranded := c.Picker.Stranded(); stranded >= 0 && c.Abandon(stranded) {
			piece = begin()
		}
	}
	if piece == nil {
		return false
	}
	c.pieces[index] = piece
	return true
}

// Abandon gives up an open piece and its memory. It reports false if the piece is about
// to end by itself, or not open.
func (c *Content) Abandon(index int) bool {
	piece := c.pieces[index]
	if piece == nil || !piece.Drop() {
		return false
	}
	delete(c.pieces, index)
	c.Picker.Abandon(index)
	return true
}

// AbandonAll gives up all open pieces, as when nobody is there to finish them.
func (c *Content) AbandonAll() {
	for index := range c.pieces {
		c.Abandon(index)
	}
}

// Asked makes requests of what the picker picked.
func (c *Content) Asked(rs []source.Request, picks []picker.Request, now time.Time) []source.Request {
	for _, p := range picks {
		rs = append(rs, source.Request{Piece: c.pieces[p.Piece], Block: p.Block, At: now})
	}
	return rs
}

// Unask makes a block that was asked of a source free to be asked anew, unless its
// piece has ended since.
func (c *Content) Unask(s *source.Source, r source.Request) {
	if c.Picker != nil && c.pieces[r.Piece.Index] == r.Piece {
		c.Picker.Unask(&s.Pick, picker.Request{Piece: r.Piece.Index, Block: r.Block})
	}
}

// Received takes in that a block has come, and returns the sources that still owe it.
func (c *Content) Received(s *source.Source, piece *disk.Piece, block int) []*picker.Peer {
	if c.pieces[piece.Index] != piece {
		return nil // the piece has ended since
	}
	return c.Picker.Received(&s.Pick, picker.Request{Piece: piece.Index, Block: block})
}

// Ended takes in the end of a piece: verified and written, wrong, or not written.
func (c *Content) Ended(r disk.Result) {
	delete(c.pieces, r.Piece)
	if r.Err != nil {
		c.Picker.Abandon(r.Piece)
		if fault := (*disk.PanicError)(nil); errors.As(r.Err, &fault) {
			c.cfg.Logger.Error("panic in a disk worker; please report this", "panic", fault.Value, "stack", string(fault.Stack))
		}
		if !errors.Is(r.Err, disk.ErrClosed) {
			c.host.Fail(r.Err)
		}
		return
	}
	c.Picker.Done(r.Piece, r.OK)
	if !r.OK {
		c.wrongPiece(r)
		return
	}
	c.rightPiece(r)
	size := c.info.PieceSize(r.Piece)
	c.noteOrigin(r.Piece, r.From)
	c.verified.Load().add(r.Piece)
	c.completed += size
	if c.Picker.Wants(r.Piece) {
		c.wantedLeft -= size
	}
	c.countLeft()
	c.state.dirty = true
	c.host.Announce(r.Piece)
	c.checkComplete()
}

// lost takes pieces out that were verified, and are wrong now: somebody has written to
// their files. They are downloaded anew, but not over files that are the user's own.
func (c *Content) lost(pieces []int) {
	verified := c.verified.Load()
	if verified == nil || c.Cached() {
		return
	}
	n := 0
	for _, piece := range pieces {
		if !verified.Has(piece) {
			continue
		}
		n++
		verified.remove(piece)
		size := c.info.PieceSize(piece)
		c.completed -= size
		if c.cfg.KeepLonger && c.Picker.Wants(piece) {
			c.Picker.SetWanted(piece, false)
			c.wanted -= size
		}
		c.Picker.Lost(piece)
		if c.Picker.Wants(piece) {
			c.wantedLeft += size
		}
		c.state.synced.Clear(piece)
		c.host.Withdraw(piece)
	}
	if n == 0 {
		return
	}
	c.countLeft()
	c.state.dirty = true
	c.host.Warn(fmt.Sprintf("%d pieces of %q were changed on disk by another program; they are not shared any more", n, c.info.Name))
	c.checkComplete()
	c.host.RequestAll(time.Now())
	c.host.Wake()
}

// suspect is what is kept of a piece that was wrong: once it has come right, the
// blocks that differ tell who sent wrong ones.
type suspect struct {
	attempts []attempt
}

type attempt struct {
	digests []uint64
	from    []any
}

// maxAttempts bounds the failed attempts remembered of a piece.
const maxAttempts = 8

// wrongPiece finds out who sent wrong data. A piece that came from one source has its
// culprit at once. Of several it is not known which; the picker then gets the piece
// from one at a time, and when it is right rightPiece compares.
func (c *Content) wrongPiece(r disk.Result) {
	c.host.Wasted(c.info.PieceSize(r.Piece))
	who := source.Identities(r.From)
	if len(who) == 1 {
		c.host.Ban(who[0], r.Piece)
		return
	}
	s := c.suspects[r.Piece]
	if s == nil {
		s = &suspect{}
		c.suspects[r.Piece] = s
	}
	if len(s.attempts) < maxAttempts {
		s.attempts = append(s.attempts, attempt{r.Digests, r.From})
	}
}

// rightPiece bans whoever sent blocks of a piece that differ from the right ones.
func (c *Content) rightPiece(r disk.Result) {
	s := c.suspects[r.Piece]
	if s == nil || r.Digests == nil {
		return
	}
	delete(c.suspects, r.Piece)
	var wrong []any
	for _, a := range s.attempts {
		for i, d := range a.digests {
			if d != r.Digests[i] {
				wrong = append(wrong, a.from[i])
			}
		}
	}
	for _, who := range source.Identities(wrong) {
		c.host.Ban(who, r.Piece)
	}
}

// origins says which of the pieces that came in this run came from which swarm, by
// where most of their blocks came from.
type origins struct{ web, classic *Set }

// noteOrigin notes where a verified piece came from, for what is counted as bridged.
func (c *Content) noteOrigin(piece int, from []any) {
	web := 0
	for _, f := range from {
		if i, ok := f.(*source.Identity); ok && i.Web {
			web++
		}
	}
	o := c.origins.Load()
	if 2*web > len(from) {
		o.web.add(piece)
	} else {
		o.classic.add(piece)
	}
}

// Bridged reports whether a piece came from the other swarm than that of a peer it is
// sent to. It may be called from any goroutine.
func (c *Content) Bridged(piece int, toWeb bool) bool {
	o := c.origins.Load()
	switch {
	case o == nil:
		return false
	case toWeb:
		return o.classic.Has(piece)
	default:
		return o.web.Has(piece)
	}
}
