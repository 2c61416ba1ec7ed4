package stream

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/stream/media"
)

//go:embed page.html
var pageFiles embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFiles, "page.html"))

// pageCSP allows nothing but our own style sheet: there is no script to allow.
const pageCSP = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// maxMatched is the largest number of files among which subtitles are matched
// with videos, each with each.
const maxMatched = 2000

type page struct {
	Title    string
	Style    string
	Playlist string
	Index    string // where "all torrents" leads; empty on that page
	Torrents []pageTorrent
}

type pageTorrent struct {
	Name, Link, Playlist, Size string
	Files                      []pageFile
}

type pageFile struct {
	Index                            int
	Path, Link, Download, Size, Kind string
	Playable                         bool
	Subtitles                        []pageSubtitle
}

type pageSubtitle struct{ Name, Link string }

// servePage answers with a page that lists the torrents' files.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, torrents []Torrent) {
	links := s.linksFor(r)
	s.serveMade(w, r, s.pages, func() ([]byte, error) {
		p := page{Title: "Causeway", Style: links.to("/style.css"), Playlist: links.PlaylistOfAll()}
		if r.URL.Path != "/" {
			p.Title, p.Index, p.Playlist = torrents[0].Name(), links.Index(), links.Playlist(torrents[0])
		}
		for _, t := range torrents {
			p.Torrents = append(p.Torrents, describe(t, links))
		}
		var b bytes.Buffer
		err := pageTemplate.Execute(&b, p)
		return b.Bytes(), err
	}, func(text []byte) {
		w.Header().Set("Content-Security-Policy", pageCSP)
		serveText(w, r, "text/html; charset=utf-8", text)
	})
}

func describe(t Torrent, links Links) pageTorrent {
	var (
		out   = pageTorrent{Name: t.Name(), Link: links.Torrent(t), Playlist: links.Playlist(t)}
		files = t.Files()
		total int64
	)
	subtitles := media.NewMatcher(files)
	for i, f := range files {
		if isPadding(f.Path()) {
			continue
		}
		total += f.Length()
		kind := media.KindOf(f.Path())
		row := pageFile{
			Index:    i,
			Path:     f.Path(),
			Link:     links.File(t, i),
			Download: withDownload(links.File(t, i)),
			Size:     size(f.Length()),
			Kind:     kind.String(),
			Playable: kind.Playable(),
		}
		if kind == media.Video && len(files) <= maxMatched {
			for _, sub := range subtitles.Subtitles(i) {
				row.Subtitles = append(row.Subtitles, pageSubtitle{title(files[sub]), links.Subtitle(t, sub)})
			}
		}
		out.Files = append(out.Files, row)
	}
	out.Size = size(total)
	return out
}

// isPadding knows padding files by where BEP 47 has them put.
func isPadding(path string) bool { return strings.HasPrefix(path, ".pad/") }

func withDownload(link string) string {
	if strings.Contains(link, "?") {
		return link + "&download=1"
	}
	return link + "?download=1"
}

// size writes bytes for people, in powers of 1024.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1024, 0
	for v >= 1024 && unit < len(units)-1 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[unit])
}

func (s *Server) serveStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.cfg.Style))
}
