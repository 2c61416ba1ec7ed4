package stream

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-bt/causeway/stream/access"
	"github.com/causeway-bt/causeway/stream/media"
	"github.com/causeway-bt/causeway/stream/subtitle"
)

const (
	torrentPrefix  = "/t/"
	playlistSuffix = ".m3u8"
	statsName      = "stats.json"
	vttSuffix      = ".vtt"
)

// Links makes the URLs of a server's resources.
type Links struct {
	base  string
	token string
}

// Links returns the URLs of a server that listens on addr. One that listens on
// all addresses is reached by loopback.
func (s *Server) Links(addr net.Addr) Links {
	host := addr.String()
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		host = net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return s.LinksAt("http://" + host)
}

// LinksAt returns the URLs of a server that is reached at base, such as
// "https://media.example:8443".
func (s *Server) LinksAt(base string) Links {
	return Links{base: strings.TrimSuffix(base, "/"), token: s.cfg.Token}
}

// linksFor makes the URLs by which the request's client reaches us.
func (s *Server) linksFor(r *http.Request) Links {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return s.LinksAt(scheme + r.Host)
}

func (l Links) to(path string) string {
	link := l.base + path
	if l.token != "" {
		link += "?" + access.TokenParam + "=" + url.QueryEscape(l.token)
	}
	return link
}

// Index is the page of all torrents.
func (l Links) Index() string { return l.to("/") }

// Torrent is the page of one torrent.
func (l Links) Torrent(t Torrent) string { return l.to(torrentPrefix + t.InfoHash()) }

// PlaylistOfAll holds the audio and video files of all torrents.
func (l Links) PlaylistOfAll() string { return l.to("/playlist.m3u8") }

// Playlist holds a torrent's audio and video files.
func (l Links) Playlist(t Torrent) string {
	return l.to(torrentPrefix + t.InfoHash() + playlistSuffix)
}

// Stats is the JSON of a torrent's open responses.
func (l Links) Stats(t Torrent) string {
	return l.to(torrentPrefix + t.InfoHash() + "/" + statsName)
}

// File is the URL of a file by its index.
func (l Links) File(t Torrent, index int) string { return l.to(filePath(t, index)) }

// Subtitle is the URL of a subtitle file as WebVTT, or as it is if it cannot be
// converted.
func (l Links) Subtitle(t Torrent, index int) string {
	p := filePath(t, index)
	if subtitle.Convertible(t.Files()[index].Path()) {
		p += vttSuffix
	}
	return l.to(p)
}

// filePath ends in the file's own name, which players show and judge by its
// extension, unless that name would be taken for something else.
func filePath(t Torrent, index int) string {
	prefix := torrentPrefix + t.InfoHash() + "/"
	name := t.Files()[index].Path()
	segments := strings.Split(name, "/")
	if _, isNumber := parseIndex(name); isNumber || name == statsName || slices.ContainsFunc(segments, isDots) {
		return prefix + strconv.Itoa(index)
	}
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return prefix + strings.Join(segments, "/")
}

// isDots finds the segments that clients drop or resolve.
func isDots(s string) bool { return s == "" || s == "." || s == ".." }

func parseIndex(s string) (int, bool) {
	if strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	i, err := strconv.Atoi(s)
	return i, err == nil
}

// isFileURL tells a file's URL, which web pages may read, from those of our own pages.
func isFileURL(path string) bool {
	tail, ok := strings.CutPrefix(path, torrentPrefix)
	if !ok {
		return false
	}
	_, name, _ := strings.Cut(tail, "/")
	name = strings.TrimLeft(name, "/")
	return name != "" && name != statsName
}

type resolved struct {
	index int
	asVTT bool
}

// resolve finds the file that a URL names. Names are compared, never opened, so
// that no path leads out of the torrent.
func resolve(t Torrent, u *url.URL) (resolved, bool) {
	files := t.Files()
	names := spellings(u)
	for _, name := range names {
		if i := find(t, files, name); i >= 0 {
			return resolved{index: i}, true
		}
	}
	for _, name := range names {
		stem, ok := strings.CutSuffix(name, vttSuffix)
		if !ok {
			continue
		}
		if i := find(t, files, stem); i >= 0 && subtitle.Convertible(files[i].Path()) {
			return resolved{i, true}, true
		}
		for _, ext := range []string{".srt", ".ass", ".ssa"} {
			if i := find(t, files, stem+ext); i >= 0 {
				return resolved{i, true}, true
			}
		}
	}
	return resolved{}, false
}

// spellings returns the names that a URL may mean: its path decoded, else as it
// was sent, for webtorrent appends names to a web seed's URL without encoding
// them, so that "50%25.mp4" and "who?.mp4" arrive almost bare.
func spellings(u *url.URL) []string {
	names := []string{afterInfoHash(u.Path)}
	raw := afterInfoHash(u.EscapedPath())
	if raw != names[0] {
		names = append(names, undoFetch(raw), raw)
	}
	if u.RawQuery != "" || u.ForceQuery {
		names = append(names, undoFetch(raw)+"?"+undoFetch(u.RawQuery), raw+"?"+u.RawQuery)
	}
	return names
}

// undoFetch decodes only what browsers themselves encode in a URL (the path
// percent-encode set of the URL standard), leaving percent signs that were there.
func undoFetch(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err == nil && (c <= ' ' || c >= 0x7f || strings.ContainsRune("\"<>^`{}", rune(c))) {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func afterInfoHash(path string) string {
	_, name, _ := strings.Cut(strings.TrimPrefix(path, torrentPrefix), "/")
	return strings.TrimLeft(name, "/")
}

// find returns the index of the file called name (an index, a path, or a path
// under the torrent's name, as BEP 19 has it), or -1.
func find(t Torrent, files []File, name string) int {
	if i, ok := parseIndex(name); ok && i < len(files) {
		return i
	}
	if i := slices.IndexFunc(files, func(f File) bool { return f.Path() == name }); i >= 0 {
		return i
	}
	if inside, ok := strings.CutPrefix(name, t.Name()+"/"); ok {
		return slices.IndexFunc(files, func(f File) bool { return f.Path() == inside })
	}
	return -1
}

// title is what a playlist and a page call a file.
func title(f File) string { return plainLine(media.Stem(f.Path())) }

// plainLine makes a name fit for one line of text.
func plainLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == '\u0085'
	}), " ")
}
