package meta

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	// maxNameLength is the longest file name, in bytes, that the file systems
	// of Linux, macOS and Windows all take.
	maxNameLength = 255

	// maxExtension is how much of a name that must be shortened may be kept as
	// its extension, in bytes with the dot.
	maxExtension = 32

	// suffixRoom is what is kept free for the " (1234567)" that tells names
	// apart, in bytes.
	suffixRoom = 12

	// maxText bounds comments and other free text, in bytes.
	maxText = 64 << 10
)

// safeName turns one component of a path from a torrent into a name that is
// safe, and the same, on every operating system. It returns "" for a component
// that means nothing ("", ".", or only spaces and dots), and an error for one
// that tries to leave its folder.
func safeName(raw []byte) (string, error) {
	if err := refuseEscape(string(raw)); err != nil {
		return "", err
	}
	name := strings.ToValidUTF8(string(raw), string(unicode.ReplacementChar))
	name = strings.Map(safeRune, name)
	name = shorten(trimName(name), "", maxNameLength)
	if isReservedName(name) {
		name = "_" + name
	}
	return shorten(name, "", maxNameLength), nil
}

// trimName removes the trailing dots and spaces that Windows would, silently.
func trimName(name string) string { return strings.TrimRight(name, ". ") }

// refuseEscape returns an error for a component that no honest program writes.
func refuseEscape(component string) error {
	bad := func(what string) error {
		return fmt.Errorf("the name %s %s; this torrent is not safe to use", quoteShort(component), what)
	}
	if strings.IndexByte(component, 0) >= 0 {
		return bad("contains a NUL byte")
	}
	slashed := strings.ReplaceAll(component, `\`, "/")
	isDrive := len(slashed) > 2 && slashed[1] == ':' && slashed[2] == '/'
	if strings.HasPrefix(slashed, "/") || isDrive {
		return bad("is an absolute path")
	}
	for part := range strings.SplitSeq(slashed, "/") {
		if part == ".." {
			return bad("leaves the torrent's folder")
		}
	}
	return nil
}

// safeRune replaces what is not allowed in names somewhere, and what could
// mislead a reader: control characters and changes of the writing direction.
func safeRune(r rune) rune {
	switch {
	case strings.ContainsRune(`/\<>:"|?*`, r), isMisleading(r):
		return '_'
	}
	return r
}

func isMisleading(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// isReservedName tells whether Windows takes the name for a device, whatever
// its extension.
func isReservedName(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, isPort := strings.CutPrefix(stem, "COM")
	if !isPort {
		port, isPort = strings.CutPrefix(stem, "LPT")
	}
	return isPort && utf8.RuneCountInString(port) == 1 && strings.Contains("0123456789¹²³", port)
}

// shorten cuts the stem of a name, at the border of a character, so that it has
// at most limit bytes with suffix put before its extension.
func shorten(name, suffix string, limit int) string {
	if suffix == "" && len(name) <= limit {
		return name
	}
	stem, extension := splitExtension(name)
	room := max(limit-len(extension)-len(suffix), 0)
	if len(stem) > room {
		for room > 0 && !utf8.RuneStart(stem[room]) {
			room--
		}
		stem = strings.TrimRight(stem[:room], ". ")
	}
	return stem + suffix + extension
}

func splitExtension(name string) (stem, extension string) {
	extension = path.Ext(name)
	if len(extension) > maxExtension || len(extension) == len(name) {
		return name, ""
	}
	return name[:len(name)-len(extension)], extension
}

// namer gives every file of a torrent a path that no other file has, not even
// on a file system that ignores case or Unicode composition, and where no file
// is a folder of another. What it gives depends on the torrent alone. Its work
// is linear in the number of path components.
type namer struct {
	folder  cases.Caser
	folders map[child]folderEntry // by the component as it is in the torrent
	taken   map[child]bool        // by the folded name
	next    map[child]int         // next number to try, by the folded, shortened name
	lastID  int                   // of the folders given out
	arena   []string              // unused room for paths
}

// child is a name in a folder; the torrent's own folder is number 0.
type child struct {
	folder int
	name   string
}

type folderEntry struct {
	id   int
	name string
}

func newNamer() *namer {
	return &namer{
		folder:  cases.Fold(),
		folders: make(map[child]folderEntry),
		taken:   make(map[child]bool),
		next:    make(map[child]int),
	}
}

// path reads a bencoded list of components. It returns safe names for them and,
// if those differ from what the list says and that can be a path too, what the
// list says. Padding files are never on disk, so their names need not differ
// from others.
func (n *namer) path(list []byte, pad bool) (names, original []string, err error) {
	var buffer [maxPathDepth][]byte
	components := buffer[:0]
	err = eachItem(list, func(item []byte) error {
		component, ok := stringOf(item)
		if !ok {
			return errors.New("a part of its path is not a string")
		}
		if len(components) == maxPathDepth {
			return fmt.Errorf("its path has more than %d components", maxPathDepth)
		}
		components = append(components, component)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("its \"path\": %w", err)
	}
	names = n.room(len(components))
	kept := components[:0]
	for _, component := range components {
		name, err := safeName(component)
		if err != nil {
			return nil, nil, err
		}
		if name != "" {
			names = append(names, name)
			kept = append(kept, component)
		}
	}
	if len(names) == 0 {
		return nil, nil, errors.New("it has an empty path")
	}
	if !pad {
		n.distinguish(kept, names)
	}
	return names, originalPath(kept, names), nil
}

// originalPath returns components as strings if they differ from names and are
// possible as names on this system.
func originalPath(components [][]byte, names []string) []string {
	differ := false
	for i, component := range components {
		differ = differ || string(component) != names[i]
	}
	if !differ {
		return nil
	}
	original := make([]string, len(components))
	for i, component := range components {
		if original[i] = string(component); !isLocalName(original[i]) {
			return nil
		}
	}
	return original
}

// isLocalName tells whether name can be used for one file in a folder here.
func isLocalName(name string) bool {
	return name != "." && filepath.IsLocal(name) && filepath.Base(name) == name && strings.IndexByte(name, 0) < 0
}

// room returns an empty slice for count names, many of which share one
// allocation.
func (n *namer) room(count int) []string {
	const most = 4096
	if cap(n.arena)-len(n.arena) < count {
		n.arena = make([]string, 0, max(count, min(2*cap(n.arena), most)))
	}
	start := len(n.arena)
	n.arena = n.arena[:start+count]
	return n.arena[start : start : start+count]
}

// distinguish changes the names that are taken already.
func (n *namer) distinguish(components [][]byte, names []string) {
	folder := 0
	last := len(names) - 1
	for depth := range last {
		key := child{folder, string(components[depth])}
		entry, known := n.folders[key]
		if !known {
			n.lastID++
			entry = folderEntry{n.lastID, n.claim(folder, names[depth])}
			n.folders[key] = entry
		}
		folder, names[depth] = entry.id, entry.name
	}
	names[last] = n.claim(folder, names[last])
}

// claim takes a name in a folder: name itself if it is free, else the first
// free one of "name (2)", "name (3)" and so on.
func (n *namer) claim(folder int, name string) string {
	key := child{folder, n.fold(name)}
	if !n.taken[key] {
		n.taken[key] = true
		return name
	}
	// All names that are alike when shortened count together, so that a
	// million of them do not each start from 2.
	short := shorten(name, "", maxNameLength-suffixRoom)
	series := child{folder, n.fold(short)}
	for number := max(n.next[series], 2); ; number++ {
		candidate := shorten(short, " ("+strconv.Itoa(number)+")", maxNameLength)
		key := child{folder, n.fold(candidate)}
		if !n.taken[key] {
			n.taken[key] = true
			n.next[series] = number + 1
			return candidate
		}
	}
}

// fold maps names that some file system takes for the same to the same string.
func (n *namer) fold(name string) string {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return norm.NFC.String(n.folder.String(norm.NFD.String(name)))
		}
	}
	return strings.ToLower(name)
}

// cleanText makes free text from a torrent fit to be shown on a terminal.
func cleanText(raw []byte) string {
	if len(raw) > maxText {
		raw = raw[:maxText]
	}
	text := strings.ToValidUTF8(string(raw), string(unicode.ReplacementChar))
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		if isMisleading(r) {
			return ' '
		}
		return r
	}, text)
}

// quoteShort quotes hostile text for an error of one line.
func quoteShort(text string) string {
	const most = 80
	if len(text) > most {
		return strconv.Quote(text[:most]) + "..."
	}
	return strconv.Quote(text)
}
