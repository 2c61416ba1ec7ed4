package content

import (
	"testing"

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
