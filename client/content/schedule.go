package content

import (
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/source"
)

const (
	// edgeMax bounds the head and the tail of a file that are fetched first, in
	// bytes; below it they are a hundredth of the file, and at least one piece.
	edgeMax   = 8 << 20
	edgeShare = 100
	// deadlineSlack is how much later than expected a piece may come before its
	// blocks are asked of further peers.
	deadlineSlack = 300 * time.Millisecond
	// maxDeadlines bounds the pieces with deadlines; those farther ahead wait.
	maxDeadlines = 4096
)

// Schedule gives deadlines to the pieces that readers wait for or will soon want:
// the next piece of each reader first, then the second of each, and so on. moved says
// that readers have moved.
func (c *Content) Schedule(now time.Time, moved bool) {
	wants, held := c.wantedByReaders()
	if c.Cached() {
		wants = c.makeRoom(wants, held)
	}
	deadlines := make(map[int]time.Time, len(wants))
	pieceTime := c.expectedPieceTime()
	for rank, piece := range wants {
		c.lend(piece)
		deadlines[piece] = now.Add(time.Duration(rank+1)*pieceTime + deadlineSlack)
	}
	c.deadlines = deadlines
	c.Picker.SetDeadlines(deadlines)
	c.streaming = len(deadlines) > 0
	if moved && held > 0 && c.Picker.DeadlineServed() {
		c.cancelOthers(deadlines)
	}
	c.host.RequestAll(now)
}

// Deadlines returns how many lacking pieces readers want.
func (c *Content) Deadlines() int { return len(c.deadlines) }

// expectedPieceTime is how long a piece takes at the torrent's present rate.
func (c *Content) expectedPieceTime() time.Duration {
	var rate float64
	for s := range c.host.Sources {
		rate += s.Window.Rate
	}
	if rate < 1 {
		return time.Second
	}
	return time.Duration(float64(c.info.PieceLength) / rate * float64(time.Second))
}

// wantedByReaders returns the lacking pieces in the readers' windows, the most
// urgent first, then those to be prefetched; and how many of the first of them hold
// readers up.
func (c *Content) wantedByReaders() (pieces []int, held int) {
	info, verified, rs := c.info, c.verified.Load(), c.cfg.Readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var positions, ranges, prefetch [][2]int // of pieces, end exclusive
	limit := c.windowLimit()
	for _, r := range rs.byUrgency() {
		for at := range r.heldAt {
			positions = append(positions, piecesOf(info, at, at+1))
		}
		if r.pos >= r.length || r.window == 0 {
			continue
		}
		from := r.start + r.pos
		to := min(from+max(min(r.window, limit), 1), r.start+r.length)
		ranges = append(ranges, piecesOf(info, from, to))
	}
	for _, file := range rs.prefetch {
		prefetch = append(prefetch, edges(info, file)...)
	}
	if c.Cached() && len(rs.readers) > 0 {
		rs.prefetch = nil // what was evicted is not fetched for nobody
	}
	pieces = appendInTurns(pieces, positions, verified)
	held = len(pieces)
	pieces = appendInTurns(pieces, ranges, verified)
	return appendInTurns(pieces, prefetch, verified), held
}

// appendInTurns appends the lacking pieces of ranges that are not there yet: the
// first of each, then the second of each, and so on.
func appendInTurns(pieces []int, ranges [][2]int, verified *Set) []int {
	seen := make(map[int]bool, len(pieces))
	for _, piece := range pieces {
		seen[piece] = true
	}
	for rank, more := 0, true; more && len(pieces) < maxDeadlines; rank++ {
		more = false
		for _, r := range ranges {
			piece := r[0] + rank
			if piece >= r[1] {
				continue
			}
			more = true
			if !seen[piece] && !verified.Has(piece) {
				seen[piece] = true
				pieces = append(pieces, piece)
			}
		}
	}
	return pieces
}

// edges returns the pieces of a file's head and tail.
func edges(info *meta.Info, file int) [][2]int {
	f := &info.Files[file]
	if f.Length == 0 {
		return nil
	}
	edge := min(max(min(f.Length/edgeShare, edgeMax), info.PieceLength), f.Length)
	end := f.Offset + f.Length
	return [][2]int{piecesOf(info, f.Offset, f.Offset+edge), piecesOf(info, end-edge, end)}
}

// piecesOf returns the pieces, end exclusive, that the bytes [from, to) of the torrent
// lie in.
func piecesOf(info *meta.Info, from, to int64) [2]int {
	return [2]int{int(from / info.PieceLength), int((to-1)/info.PieceLength) + 1}
}

// lend makes a piece wanted that the selection left out, until GiveBack.
func (c *Content) lend(piece int) {
	if !c.want(piece) {
		return
	}
	c.lent[piece] = struct{}{}
	c.countLeft()
	if c.wantedLeft == c.info.PieceSize(piece) {
		c.Save(false) // no longer clean: pieces will be written
	}
}

// GiveBack makes the pieces unwanted again that only readers wanted, and that have
// left their windows; those that are open are finished first.
func (c *Content) GiveBack() {
	given := false
	for piece := range c.lent {
		_, inWindow := c.deadlines[piece]
		switch {
		case c.Picker.Have(piece):
			delete(c.lent, piece)
		case !inWindow && c.pieces[piece] == nil:
			c.takeFromReaders(piece)
			given = true
		}
	}
	if given {
		c.checkComplete()
	}
}

// takeFromReaders is the opposite of lend, for a piece that is lacking and not open.
func (c *Content) takeFromReaders(piece int) {
	delete(c.lent, piece)
	if !c.Picker.Wants(piece) {
		return
	}
	c.unwant(piece)
	c.countLeft()
	if c.Cached() {
		c.storage.Evict(piece)
	}
	if c.wantedLeft == 0 {
		c.Save(false) // clean again
	}
}

// cancelOthers takes back what was asked of sources but is not what readers wait for,
// so that it does not come before it.
func (c *Content) cancelOthers(deadlines map[int]time.Time) {
	for s := range c.host.Sources {
		cancelled := s.CancelIf(func(r source.Request) bool {
			_, urgent := deadlines[r.Piece.Index]
			return !urgent
		})
		for _, r := range cancelled {
			c.host.TakeBack(s, r)
		}
	}
}
