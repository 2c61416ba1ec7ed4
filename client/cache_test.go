package client

import (
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

func TestLeastCache(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	for _, c := range []struct {
		name                        string
		pieceLength, offset, length int64
		want                        int // pieces
	}{
		{"long", mib, 0, 1000 * mib, 8 + 8 + 4 + aroundWindow},
		{"long, at the end of a piece", mib, mib - 1, 1000 * mib, 9 + 9 + 4 + aroundWindow},
		{"short", 64 * kib, 0, 10 * mib, 2 + 2 + 64 + aroundWindow},
		{"shorter than a window", 64 * kib, 0, 640 * kib, 1 + 1 + 10 + aroundWindow},
		{"large pieces", 4 * mib, 0, 100 * mib, 1 + 1 + 2 + aroundWindow},
	} {
		info := &meta.Info{PieceLength: c.pieceLength, Files: []meta.File{{Offset: c.offset, Length: c.length}}}
		if got := leastCache(info, 0); got != c.want {
			t.Errorf("%s: %d pieces, want %d", c.name, got, c.want)
		}
	}
}

// A cache that is too small to play the largest of the files is made larger, which the
// user is told.
func TestCacheHoldsHeadTailAndWindow(t *testing.T) {
	_, torrent := makeTorrent(t, "data.bin", 10<<20)
	for _, c := range []struct {
		asked int64
		slots int
		told  bool
	}{{1, 70, true}, {70*64<<10 - 1, 70, true}, {70 * 64 << 10, 70, false}, {5 << 20, 80, false}, {1 << 40, 160, false}} {
		cfg, warnings := plain(t), make(chan string, 10)
		cfg.OnEvent = func(e Event) {
			if w, ok := e.(WarningEvent); ok {
				warnings <- w.Message
			}
		}
		leech := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir(), Cache: c.asked})
		until(t, 5*time.Second, "the files open", func() bool { return leech.storage.Load() != nil })
		if got := leech.storage.Load().Slots(); got != c.slots {
			t.Errorf("%d bytes: %d pieces are cached, want %d", c.asked, got, c.slots)
		}
		leech.Close()
		if told := len(warnings) > 0 && strings.Contains(<-warnings, "4.4 MiB"); told != c.told {
			t.Errorf("%d bytes: the user is told %v, want %v", c.asked, told, c.told)
		}
	}
}
