package content

import (
	"slices"
	"testing"

	"github.com/causeway-bt/causeway/client/meta"
)

// Head and tail are counted in bytes of the file, wherever in a piece it begins and
// ends.
func TestEdges(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name           string
		offset, length int64
		want           [][2]int
	}{
		{"at the start of a piece", 3 * mib, 50 * mib, [][2]int{{3, 4}, {52, 53}}},
		{"at the end of a piece", mib - 10, 50 * mib, [][2]int{{0, 2}, {49, 51}}},
		{"a hundredth", 0, 400 * mib, [][2]int{{0, 4}, {396, 400}}},
		{"a hundredth, at the end of a piece", mib - 10, 400 * mib, [][2]int{{0, 5}, {396, 401}}},
		{"8 MiB", 0, 2000 * mib, [][2]int{{0, 8}, {1992, 2000}}},
		{"less than a piece", mib + 100, 1000, [][2]int{{1, 2}, {1, 2}}},
		{"nothing", mib, 0, nil},
	} {
		info := &meta.Info{PieceLength: mib, Files: []meta.File{{Offset: c.offset, Length: c.length}}}
		if got := edges(info, 0); !slices.Equal(got, c.want) {
			t.Errorf("%s: pieces %v, want %v", c.name, got, c.want)
		}
	}
}
