package media

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fvbommel/sortorder/casefolded"
)

// File is what choosing needs to know of a torrent's file.
type File interface {
	Path() string  // slash-separated
	Length() int64 // bytes
}

// Largest returns the index of the file to play when none was asked for: the
// largest video, else the largest audio file, or -1. Samples and extras are
// smaller than what they come with, so that size decides well.
func Largest[F File](files []F) int {
	best := -1
	for i, f := range files {
		if !KindOf(f.Path()).Playable() {
			continue
		}
		if best < 0 || moreWorthPlaying(f, files[best]) {
			best = i
		}
	}
	return best
}

func moreWorthPlaying(a, b File) bool {
	if ka, kb := KindOf(a.Path()), KindOf(b.Path()); ka != kb {
		return ka == Video
	}
	return a.Length() > b.Length()
}

// Playlist returns the indices of the audio and video files in natural order.
func Playlist[F File](files []F) []int {
	var order []int
	for i, f := range files {
		if KindOf(f.Path()).Playable() {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return ComparePaths(files[a].Path(), files[b].Path())
	})
	return order
}

// ComparePaths orders slash-separated paths as a person would: folder by
// folder, case aside, "track 2" before "track 10".
func ComparePaths(a, b string) int {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(as), len(bs)) {
		if c := casefolded.NaturalCompare(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(len(as), len(bs)), cmp.Compare(a, b))
}
