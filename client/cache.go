package client

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
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

// boundCache makes the cache as large as the largest file that is wanted needs it.
func (t *Torrent) boundCache(info *meta.Info) {
	if t.opts.Cache == 0 || t.opts.MetadataOnly {
		return
	}
	least := 0
	for file, selected := range t.loop.selected {
		if selected {
			least = max(least, leastCache(info, file))
		}
	}
	least = min(least, info.NumPieces())
	asked := t.opts.Cache
	if asked/info.PieceLength >= int64(least) {
		return
	}
	t.opts.Cache = int64(least) * info.PieceLength
	if asked < info.Length {
		message := fmt.Sprintf("the cache takes %.1f MiB instead of %.1f, which the head and the tail of the file and what is played next need",
			float64(t.opts.Cache)/(1<<20), float64(asked)/(1<<20))
		t.spawn(func() { t.client.warn(t.infoHash, message) })
	}
}

// makeRoom keeps what is cached within its bounds: it returns those of the lacking
// pieces that there is room for, and evicts others for them. The first held of them
// hold readers up: they take the place even of what is in windows.
func (t *Torrent) makeRoom(lacking []int, held int) []int {
	ahead := t.windowPieces()
	slots := t.storage.Load().Slots()
	room := slots
	for piece := range ahead {
		if t.verified.Load().has(piece) {
			room--
		}
	}
	lacking = lacking[:min(len(lacking), max(room, min(held, slots)))]
	keep := make(map[int]bool, len(lacking))
	for _, piece := range lacking {
		keep[piece] = true
	}
	for piece := range t.loop.pieces {
		if !keep[piece] {
			t.abandon(piece) // if it is too late for that, it is evicted when it is there
		}
	}
	t.evict(ahead, len(lacking))
	return lacking
}

// evict drops verified pieces until there is room for n more: those outside of all
// windows first, then those that are the farthest ahead of a position.
func (t *Torrent) evict(ahead map[int]int, n int) {
	verified := t.verified.Load()
	excess := verified.count() + n - t.storage.Load().Slots()
	if excess <= 0 {
		return
	}
	var pieces []int
	for piece := range verified.n {
		if !verified.has(piece) {
			continue
		}
		if _, inWindow := ahead[piece]; !inWindow {
			ahead[piece] = outside
		}
		pieces = append(pieces, piece)
	}
	slices.SortStableFunc(pieces, func(a, b int) int { return cmp.Compare(ahead[b], ahead[a]) })
	for _, piece := range pieces[:min(excess, len(pieces))] {
		t.evictPiece(piece)
	}
}

// evictPiece drops a verified piece, and tells the peers.
func (t *Torrent) evictPiece(piece int) {
	l := &t.loop
	t.verified.Load().remove(piece)
	l.picker.SetWanted(piece, false)
	l.picker.Lost(piece)
	size := t.Info().PieceSize(piece)
	l.wanted -= size
	l.completed -= size
	for p := range l.peers {
		p.w.StopServing(func(b wire.Block) bool { return int(b.Piece) != piece })
	}
	t.storage.Load().Evict(piece)
	for p := range l.peers {
		if number := p.ext.M[wire.ExtDontHave]; number != 0 {
			p.w.Send(wire.Message{ID: wire.Extended, Ext: number, Payload: wire.EncodeDontHave(uint32(piece))})
		}
	}
}

// windowLimit returns how far ahead of its position a reader's window may reach: with
// a cache, each has its share. t.streams.mu is held.
func (t *Torrent) windowLimit() int64 {
	storage := t.storage.Load()
	if t.opts.Cache == 0 || storage == nil || len(t.streams.readers) == 0 {
		return math.MaxInt64
	}
	share := storage.Slots()/len(t.streams.readers) - aroundWindow
	return int64(max(share, 0)) * t.Info().PieceLength
}

// Places of pieces that are not ahead of a position.
const (
	outside = math.MaxInt     // of all windows
	behind  = math.MaxInt - 1 // a position
)

// windowPieces returns all pieces in the readers' windows, and the one behind each
// position, with how many pieces each is ahead of the nearest position.
func (t *Torrent) windowPieces() map[int]int {
	info := t.Info()
	t.streams.mu.Lock()
	defer t.streams.mu.Unlock()
	ahead, limit := make(map[int]int), t.windowLimit()
	for _, r := range t.streams.readers {
		position := (r.start + r.pos) / info.PieceLength
		from := max(r.start+r.pos-info.PieceLength, r.start)
		to := min(r.start+r.pos+max(min(r.window, limit), 1), r.start+r.length)
		for p := from / info.PieceLength; p*info.PieceLength < to; p++ {
			place := int(p - position)
			switch {
			case place < 0:
				place = behind
			case r.held():
				place-- // it is about to read on
			}
			if nearest, seen := ahead[int(p)]; !seen || place < nearest {
				ahead[int(p)] = place
			}
		}
	}
	return ahead
}
