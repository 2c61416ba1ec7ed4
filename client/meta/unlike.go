package meta

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// seemsToBe says what content is by its first bytes, for people.
var seemsToBe = []struct{ typePrefix, what string }{
	{"video/", "a video"},
	{"audio/", "music"},
	{"application/ogg", "music or a video"},
	{"image/", "a picture"},
	{"application/pdf", "a PDF document"},
	{"application/zip", "an archive"},
	{"application/x-gzip", "an archive"},
	{"application/x-rar-compressed", "an archive"},
	{"text/", "text"},
}

// matroska are the first bytes of .mkv files, which do not all say what kind they are.
const matroska = "\x1a\x45\xdf\xa3"

// notTorrent says why b, of which err says that it is no torrent, is none: mostly it is
// something else. Of a large file, b is the beginning. name tells where it came from; local
// is whether that is a file of the user's.
func notTorrent(name string, b []byte, local bool, err error) error {
	start := bytes.TrimLeft(b[:min(len(b), 512)], "\r\n\t ")
	switch {
	case len(b) == 0:
		return fmt.Errorf("%s is empty, and so no torrent", name)
	case looksLikeHTML(b):
		return fmt.Errorf("%s is a web page, not a torrent; look for the link of the .torrent file or the magnet link on it", name)
	case len(start) > 1 && start[0] == 'd' && start[1] >= '0' && start[1] <= '9': // a dictionary
		return fmt.Errorf("%s: %w", name, err)
	}
	var signs []string
	if what := contentOf(b); what != "" {
		signs = append(signs, "it seems to be "+what)
	}
	if len(b) > MaxTorrentSize {
		signs = append(signs, fmt.Sprintf("it is larger than the %d MiB that one may have", MaxTorrentSize>>20))
	}
	text := name + " does not look like a torrent"
	if len(signs) > 0 {
		text += ": " + strings.Join(signs, ", and ")
	}
	if local && !strings.HasSuffix(strings.ToLower(name), ".torrent") {
		text += "; `causeway seed` shares files"
	}
	return errors.New(text)
}

// contentOf is what b seems to be, or "".
func contentOf(b []byte) string {
	if bytes.HasPrefix(b, []byte(matroska)) {
		return "a video"
	}
	found := http.DetectContentType(b)
	for _, kind := range seemsToBe {
		if strings.HasPrefix(found, kind.typePrefix) {
			return kind.what
		}
	}
	return ""
}
