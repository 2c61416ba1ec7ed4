package media

import (
	"cmp"
	"path"
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

// subtitleFolders are the folders beside a video in which releases keep subtitles.
var subtitleFolders = []string{"sub", "subs", "subtitle", "subtitles"}

// Subtitles returns the indices of the subtitle files that belong to a video, in
// natural order: those beside it, or in a Subs folder beside it, whose name
// starts with the video's ("Film.srt", "Film.en.srt", "Subs/Film/2_English.srt").
// Where the video is the only one in its folder, everything in Subs is its own; so is,
// whatever its name, the only subtitle beside it (the .idx and the .sub of VobSub are
// one). What is far smaller (a sample, a trailer) does not count as another video.
func Subtitles[F File](files []F, video int) []int {
	if video < 0 || video >= len(files) {
		return nil
	}
	var (
		name   = files[video].Path()
		dir    = path.Dir(name)
		only   = isOnly(files, video)
		subs   []int
		beside []int // whatever their names
	)
	for i, f := range files {
		if KindOf(f.Path()) != Subtitle {
			continue
		}
		if path.Dir(f.Path()) == dir {
			beside = append(beside, i)
		}
		if belongs(f.Path(), dir, Stem(name), only) {
			subs = append(subs, i)
		}
	}
	if len(subs) == 0 && only && areOne(files, beside) {
		subs = beside
	}
	slices.SortStableFunc(subs, func(a, b int) int {
		return ComparePaths(files[a].Path(), files[b].Path())
	})
	return subs
}

// extraShare: what is smaller than this share of a film is its sample or trailer, and
// has no subtitles. Episodes of a series differ far less.
const extraShare = 0.1

// isOnly reports whether a video is the only one in its folder but for what is far
// smaller.
func isOnly[F File](files []F, video int) bool {
	dir := path.Dir(files[video].Path())
	own := float64(files[video].Length())
	for i, f := range files {
		if i != video && KindOf(f.Path()) == Video && path.Dir(f.Path()) == dir && float64(f.Length()) >= extraShare*own {
			return false
		}
	}
	return true
}

// areOne reports whether subtitle files are a single one, or the two halves of one.
func areOne[F File](files []F, subs []int) bool {
	if len(subs) != 2 {
		return len(subs) == 1
	}
	a, b := files[subs[0]].Path(), files[subs[1]].Path()
	extensions := strings.ToLower(path.Ext(a) + path.Ext(b))
	return strings.EqualFold(Stem(a), Stem(b)) && (extensions == ".idx.sub" || extensions == ".sub.idx")
}

func belongs(sub, dir, stem string, only bool) bool {
	subDir := path.Dir(sub)
	if subDir == dir {
		return sharesStem(sub, stem)
	}
	parent, folder := path.Dir(subDir), path.Base(subDir)
	if isSubtitleFolder(folder) && parent == dir {
		return only || sharesStem(sub, stem)
	}
	// Subs/<stem>/2_English.srt
	return isSubtitleFolder(path.Base(parent)) && path.Dir(parent) == dir &&
		strings.EqualFold(folder, stem)
}

func isSubtitleFolder(name string) bool {
	return slices.Contains(subtitleFolders, strings.ToLower(name))
}

// sharesStem reports whether the subtitle is named after the video, perhaps
// with a language behind a separator: "Film 2.srt" is not that of "Film".
func sharesStem(sub, stem string) bool {
	name := strings.ToLower(Stem(sub))
	rest, ok := strings.CutPrefix(name, strings.ToLower(stem))
	return ok && (rest == "" || strings.ContainsRune(".-_([", rune(rest[0])))
}
