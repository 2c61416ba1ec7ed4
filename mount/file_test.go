package mount

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What was read in order is fetched no further once another place is read for a while.
func TestPlacesOfOldAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, step = 100 << 20, 128 << 10
		torrent, _, f := opened(t, size, Config{})
		torrent.come(pieces(size / fakePiece)...)
		p := make([]byte, step)
		readOn := func(from, to int64) {
			for off := from; off < to; off += step {
				if _, err := f.readAt(t.Context(), p, off); err != nil {
					t.Fatal(err)
				}
			}
		}
		wantedAt := func(off int64) bool {
			return slices.ContainsFunc(torrent.wanted(), func(w [2]int64) bool { return w[0] == off && w[1] > 0 })
		}
		readOn(10<<20, 14<<20)
		readOn(60<<20, 61<<20)
		if !wantedAt(14 << 20) {
			t.Error("a place is left at once")
		}
		time.Sleep(cursorRests + time.Second)
		readOn(61<<20, 64<<20)
		if wantedAt(14<<20) || !wantedAt(64<<20) {
			t.Errorf("after a while, the windows are %v", torrent.wanted())
		}
		readOn(14<<20, 18<<20)
		if !wantedAt(18 << 20) {
			t.Errorf("who comes back has no window: %v", torrent.wanted())
		}
	})
}
