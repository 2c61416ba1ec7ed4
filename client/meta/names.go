package meta

import (
	"bytes"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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

// longName is from where on only the ends of a name are looked at, in bytes, and
// keptOfLong how much of each: no more of it can be in the name that is made of it.
const (
	longName   = 4096
	keptOfLong = 1024
)

// SafeName turns a name that a stranger gave into one that is safe as a file's, and the same,
// on every operating system. It is "" for one that means nothing ("", ".", only spaces and
// dots); one that would leave its folder is an error.
func SafeName(name string) (string, error) { return safeName([]byte(name)) }

// safeName turns one component of a path from a torrent into a name that is
// safe, and the same, on every operating system. It returns "" for a component
// that means nothing ("", ".", or only spaces and dots), and an error for one
// that tries to leave its folder. Slashes are no more than characters that cannot be
// in names, as for Transmission.
func safeName(raw []byte) (string, error) {
	if isPlain(raw) {
		if name := string(raw); !isReservedName(name) {
			return name, nil
		}
	}
	if err := refuseEscape(raw); err != nil {
		return "", err
	}
	if len(raw) > longName {
		raw = slices.Concat(raw[:keptOfLong], raw[len(raw)-keptOfLong:])
	}
	name := strings.ToValidUTF8(string(raw), string(unicode.ReplacementChar))
	name = strings.Map(safeRune, name)
	name = shorten(trimName(name), "", maxNameLength)
	if isReservedName(name) {
		name = "_" + name
	}
	return shorten(name, "", maxNameLength), nil
}

// isPlain tells whether nothing about a name needs to be changed, save that it may be
// reserved. Most names are plain.
func isPlain(raw []byte) bool {
	if len(raw) == 0 || len(raw) > maxNameLength {
		return false
	}
	for _, c := range raw {
		if c < ' ' || c > '~' || isForbidden(c) {
			return false
		}
	}
	last := raw[len(raw)-1]
	return last != '.' && last != ' '
}

// trimName removes the trailing dots and spaces that Windows would, silently.
func trimName(name string) string { return strings.TrimRight(name, ". ") }

// refuseEscape returns an error for a component that no honest program writes.
func refuseEscape(component []byte) error {
	bad := func(what string) error {
		return fmt.Errorf("the name %s %s; this torrent is not safe to use", quoteShort(string(component[:min(len(component), longName)])), what)
	}
	if bytes.IndexByte(component, 0) >= 0 {
		return bad("contains a NUL byte")
	}
	isEdge := func(i int) bool {
		return i < 0 || i >= len(component) || component[i] == '/' || component[i] == '\\'
	}
	for i := range component {
		if component[i] == '.' && isEdge(i-1) && !isEdge(i+1) && component[i+1] == '.' && isEdge(i+2) {
			return bad("leaves the torrent's folder")
		}
	}
	return nil
}

// safeRune replaces what is not allowed in names somewhere, and what could
// mislead a reader: control characters and changes of the writing direction.
func safeRune(r rune) rune {
	if r < utf8.RuneSelf && isForbidden(byte(r)) || isMisleading(r) {
		return '_'
	}
	return r
}

// isForbidden tells whether an ASCII character may not be in names on some system.
func isForbidden(c byte) bool {
	switch c {
	case '/', '\\', '<', '>', ':', '"', '|', '?', '*':
		return true
	}
	return false
}

// isMisleading tells whether r is a control character, a line break, or changes the
// writing direction (Unicode's Bidi_Control).
func isMisleading(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0, r == 0x061c, r == 0x200e, r == 0x200f:
		return true
	case r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}

// isReservedName tells whether Windows takes the name for a device, whatever
// its extension.
func isReservedName(name string) bool {
	if name == "" || !strings.ContainsRune("cpanlCPANL", rune(name[0])) {
		return false
	}
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

// isLocalName tells whether name can be used for one file in a folder here.
func isLocalName(name string) bool {
	return name != "." && filepath.IsLocal(name) && filepath.Base(name) == name && strings.IndexByte(name, 0) < 0
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
