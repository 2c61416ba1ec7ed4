package content

import (
	"cmp"
	"math"
	"slices"

	"github.com/causeway-bt/causeway/client/meta"
)

const (
	// firstWindow is how far ahead of its position a cache lets one reader want at
	// least, in bytes: the window that a player begins with.
	firstWindow = 4 << 20
	// aroundWindow is how many pieces a window takes besides its length: the one
	// behind the position, which a player that steps back a little reads again, and the
	// one in which the window begins.
	aroundWindow = 2
)

// leastCache returns how many pieces a cache holds at least to play a file: its head,
// its tail and a window.
func leastCache(info *meta.Info, file int) int {
	n := 0
	for _, edge := range edges(info, file) {
		n += edge[1] - edge[0]
	}
	window := min(max(firstWindow, 2*info.PieceLength), info.Files[file].Length)
	return n + int((window+info.PieceLength-1)/info.PieceLength) + aroundWindow
}

// BoundCache returns a cache as large as the largest file that is wanted needs it, at
// least as large as asked for, in bytes.
func BoundCache(info *meta.Info, selected []bool, asked int64) int64 {
	least := 0
	for file, wanted := range selected {
		if wanted {
			least = max(least, leastCache(info, file))
		}
	}
	return max(asked, int64(min(least, info.NumPieces()))*info.PieceLength)
}

// Slots returns how many pieces the cache has room for.
func (c *Content) Slots() int { return c.storage.Slots() }

// makeRoom keeps what is cached within its bounds: it returns those of the lacking
// pieces that there is room for, and evicts others for them. The first held of them
// hold readers up: they take the place even of what is in windows.
func (c *Content) makeRoom(lacking []int, held int) []int {
	ahead := c.windowPieces()
	slots := c.storage.Slots()
	room := slots
	for piece := range ahead {
		if c.verified.Load().Has(piece) {
			room--
		}
	}
	lacking = lacking[:min(len(lacking), max(room, min(held, slots)))]
	keep := make(map[int]bool, len(lacking))
	for _, piece := range lacking {
		keep[piece] = true
	}
	for piece := range c.pieces {
		if !keep[piece] {
			c.Abandon(piece) // if it is too late for that, it is evicted when it is there
		}
	}
	c.evict(ahead, len(lacking))
	return lacking
}

// evict drops verified pieces until there is room for n more: those outside of all
// windows first, then those that are the farthest ahead of a position.
func (c *Content) evict(ahead map[int]int, n int) {
	verified := c.verified.Load()
	excess := verified.Count() + n - c.storage.Slots()
	if excess <= 0 {
		return
	}
	var pieces []int
	for piece := range verified.n {
		if !verified.Has(piece) {
			continue
		}
		if _, inWindow := ahead[piece]; !inWindow {
			ahead[piece] = outside
		}
		pieces = append(pieces, piece)
	}
	slices.SortStableFunc(pieces, func(a, b int) int { return cmp.Compare(ahead[b], ahead[a]) })
	for _, piece := range pieces[:min(excess, len(pieces))] {
		c.evictPiece(piece)
	}
}

// evictPiece drops a verified piece, and tells the peers.
func (c *Content) evictPiece(piece int) {
	c.verified.Load().remove(piece)
	size := c.info.PieceSize(piece)
	c.completed -= size
	if c.Picker.Wants(piece) {
		c.Picker.SetWanted(piece, false)
		c.wanted -= size
	}
	c.Picker.Lost(piece)
	c.host.Withdraw(piece)
	c.storage.Evict(piece)
}

// windowLimit returns how far ahead of its position a reader's window may reach: with
// a cache, each that has one or waits has its share. The readers' lock is held.
func (c *Content) windowLimit() int64 {
	if c == nil || !c.Cached() {
		return math.MaxInt64
	}
	active := 0
	for _, r := range c.cfg.Readers.readers {
		if r.window > 0 || r.held() || len(r.waits) > 0 {
			active++
		}
	}
	share := c.storage.Slots()/max(active, 1) - aroundWindow
	return int64(max(share, 0)) * c.info.PieceLength
}

// Places of pieces that are not ahead of a position.
const (
	outside = math.MaxInt     // of all windows
	behind  = math.MaxInt - 1 // a position
	// waitedFor comes before all that is ahead of one.
	waitedFor = -1
)

// windowPieces returns all pieces in the readers' windows, and the one behind each
// position, with how many pieces each is ahead of the nearest position.
func (c *Content) windowPieces() map[int]int {
	info := c.info
	c.cfg.Readers.mu.Lock()
	defer c.cfg.Readers.mu.Unlock()
	ahead, limit := make(map[int]int), c.windowLimit()
	for _, r := range c.cfg.Readers.readers {
		for _, w := range r.waits {
			ahead[int((r.start+w.off)/info.PieceLength)] = waitedFor
		}
		position := (r.start + r.pos) / info.PieceLength
		from := max(r.start+r.pos-info.PieceLength, r.start)
		to := min(r.start+r.pos+max(min(r.window, limit), 1), r.start+r.length)
		for p := from / info.PieceLength; p*info.PieceLength < to; p++ {
			place := int(p - position)
			switch {
			case place < 0:
				place = behind
			case r.held() && len(r.waits) == 0:
				place-- // it is about to read on
			}
			if nearest, seen := ahead[int(p)]; !seen || place < nearest {
				ahead[int(p)] = place
			}
		}
	}
	return ahead
}
