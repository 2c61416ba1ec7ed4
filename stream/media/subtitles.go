package media

import (
	"path"
	"slices"
	"strings"
)

// subtitleFolders are the folders beside a video in which releases keep subtitles.
var subtitleFolders = []string{"sub", "subs", "subtitle", "subtitles"}

func isSubtitleFolder(name string) bool {
	return slices.Contains(subtitleFolders, strings.ToLower(name))
}

// Subtitles returns the indices of the subtitle files that belong to one video. For
// several, a Matcher looks through the files but once.
func Subtitles[F File](files []F, video int) []int { return NewMatcher(files).Subtitles(video) }

// Matcher finds the subtitle files that belong to videos.
type Matcher struct {
	paths   []string
	lengths []int64
	folders map[string]*matchFolder
}

// matchFolder is what a folder has that matters.
type matchFolder struct {
	videos    []int
	subtitles []candidate // in it
	below     []candidate // in a Subs folder of it, and in the folders of that
}

// candidate is a subtitle file that may belong to a video.
type candidate struct {
	index  int
	stem   string // in lower case
	inside string // the folder inside Subs, or ""
}

// NewMatcher looks through a torrent's files.
func NewMatcher[F File](files []F) *Matcher {
	m := &Matcher{folders: make(map[string]*matchFolder)}
	for i, f := range files {
		m.paths, m.lengths = append(m.paths, f.Path()), append(m.lengths, f.Length())
		dir := path.Dir(f.Path())
		switch KindOf(f.Path()) {
		case Video:
			in := m.folder(dir)
			in.videos = append(in.videos, i)
		case Subtitle:
			m.addSubtitle(i, dir)
		default:
		}
	}
	return m
}

func (m *Matcher) folder(dir string) *matchFolder {
	in := m.folders[dir]
	if in == nil {
		in = &matchFolder{}
		m.folders[dir] = in
	}
	return in
}

func (m *Matcher) addSubtitle(index int, dir string) {
	c := candidate{index: index, stem: strings.ToLower(Stem(m.paths[index]))}
	in := m.folder(dir)
	in.subtitles = append(in.subtitles, c)
	parent, folder := path.Dir(dir), path.Base(dir)
	if isSubtitleFolder(folder) {
		in = m.folder(parent)
		in.below = append(in.below, c)
	}
	if isSubtitleFolder(path.Base(parent)) {
		c.inside = strings.ToLower(folder)
		in = m.folder(path.Dir(parent))
		in.below = append(in.below, c)
	}
}

// Subtitles returns the indices of the subtitle files that belong to a video, in
// natural order: those beside it, or in a Subs folder beside it, whose name
// starts with the video's ("Film.srt", "Film.en.srt", "Subs/Film/2_English.srt").
// Where the video is the only one in its folder, everything in Subs is its own; so is,
// whatever its name, the only subtitle beside it (the .idx and the .sub of VobSub are
// one). What is far smaller (a sample, a trailer) does not count as another video.
func (m *Matcher) Subtitles(video int) []int {
	if video < 0 || video >= len(m.paths) {
		return nil
	}
	in := m.folders[path.Dir(m.paths[video])]
	if in == nil { // it is no video
		return nil
	}
	var subs []int
	stem, only := strings.ToLower(Stem(m.paths[video])), m.isOnly(in, video)
	for _, c := range in.subtitles {
		if c.isNamedAfter(stem) {
			subs = append(subs, c.index)
		}
	}
	for _, c := range in.below {
		if c.inside == stem || c.inside == "" && (only || c.isNamedAfter(stem)) {
			subs = append(subs, c.index)
		}
	}
	if len(subs) == 0 && only && m.areOne(in.subtitles) {
		for _, c := range in.subtitles {
			subs = append(subs, c.index)
		}
	}
	slices.SortStableFunc(subs, func(a, b int) int { return ComparePaths(m.paths[a], m.paths[b]) })
	return subs
}

// isNamedAfter reports whether the subtitle is named after the video, perhaps
// with a language behind a separator: "Film 2.srt" is not that of "Film".
func (c candidate) isNamedAfter(stem string) bool {
	rest, ok := strings.CutPrefix(c.stem, stem)
	return ok && (rest == "" || strings.ContainsRune(".-_([", rune(rest[0])))
}

// extraShare: what is smaller than this share of a film is its sample or trailer, and
// has no subtitles. Episodes of a series differ far less.
const extraShare = 0.1

// isOnly reports whether a video is the only one in its folder but for what is far
// smaller.
func (m *Matcher) isOnly(in *matchFolder, video int) bool {
	for _, other := range in.videos {
		if other != video && float64(m.lengths[other]) >= extraShare*float64(m.lengths[video]) {
			return false
		}
	}
	return true
}

// areOne reports whether subtitle files are a single one, or the two halves of one.
func (m *Matcher) areOne(subs []candidate) bool {
	if len(subs) != 2 {
		return len(subs) == 1
	}
	a, b := m.paths[subs[0].index], m.paths[subs[1].index]
	extensions := strings.ToLower(path.Ext(a) + path.Ext(b))
	return subs[0].stem == subs[1].stem && (extensions == ".idx.sub" || extensions == ".sub.idx")
}
