package meta

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// urlSet takes usable URLs, each once, up to a bound.
type urlSet struct {
	room    int
	schemes []string
	seen    map[string]bool
	dropped []string // the first of those that cannot be used
	more    int      // how many others cannot
}

// maxWarnings bounds the entries of one list that are complained about one by one.
const maxWarnings = 8

func newURLSet(room int, schemes ...string) *urlSet {
	return &urlSet{room: room, schemes: schemes, seen: make(map[string]bool)}
}

// cleanURL undoes what happens to URLs in files and where they are pasted: blanks and
// line ends around them, and blanks in them that should have been escaped.
func cleanURL(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), " ", "%20")
}

// add returns those of urls that can be used and were not there before. Where programs
// wrote several into one entry, each is taken.
func (s *urlSet) add(urls []string) []string {
	var added []string
	for _, entry := range urls {
		for text := range strings.FieldsFuncSeq(entry, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }) {
			if text = cleanURL(text); text == "" || s.seen[text] {
				continue
			}
			if s.room == 0 || !s.usable(text) {
				s.drop(text)
				continue
			}
			s.seen[text] = true
			s.room--
			added = append(added, text)
		}
	}
	return added
}

func (s *urlSet) usable(text string) bool {
	if len(text) > maxURL {
		return false
	}
	u, err := url.Parse(text)
	return err == nil && u.Hostname() != "" && slices.Contains(s.schemes, u.Scheme) && cleanText([]byte(text)) == text
}

func (s *urlSet) drop(text string) {
	if len(s.dropped) < maxWarnings {
		s.dropped = append(s.dropped, text)
	} else {
		s.more++
	}
}

// warnings says what was dropped. kind is what the URLs are of.
func (s *urlSet) warnings(kind string) (warnings []string) {
	for _, text := range s.dropped {
		why := "is not the URL of one (" + strings.Join(s.schemes, ", ") + ")"
		if s.usable(text) {
			why = "is one too many"
		}
		warnings = append(warnings, fmt.Sprintf("the %s %s is left out: it %s", kind, quoteShort(text), why))
	}
	if s.more > 0 {
		warnings = append(warnings, fmt.Sprintf("%d more %ss are left out", s.more, kind))
	}
	return warnings
}

// IsTrackerURL tells whether text can be a tracker of a torrent: an http, https,
// udp, ws or wss URL, as TrackerURL returns it.
func IsTrackerURL(text string) bool { return newURLSet(1, trackerSchemes...).usable(text) }

// TrackerURL returns the URL of a tracker without blanks around it, and with those in
// it escaped.
func TrackerURL(text string) string { return cleanURL(text) }
