package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/causeway-bt/causeway/stream/media"
	"github.com/causeway-bt/causeway/stream/subtitle"
)

// playlistType is the one that players take for a plain playlist; the type
// registered for .m3u8 makes some expect HTTP Live Streaming.
const playlistType = "audio/x-mpegurl; charset=utf-8"

// servePlaylist answers with the torrents' audio and video files in natural order.
func (s *Server) servePlaylist(w http.ResponseWriter, r *http.Request, torrents []Torrent) {
	var b bytes.Buffer
	links := s.linksFor(r)
	b.WriteString("#EXTM3U\n")
	for _, t := range torrents {
		files := t.Files()
		for _, i := range media.Playlist(files) {
			fmt.Fprintf(&b, "#EXTINF:-1,%s\n%s\n", title(files[i]), links.File(t, i))
		}
	}
	w.Header().Set("Content-Disposition", contentDisposition("inline", playlistName(torrents)))
	serveText(w, r, playlistType, b.Bytes())
}

func playlistName(torrents []Torrent) string {
	if len(torrents) == 1 {
		return plainLine(torrents[0].Name()) + playlistSuffix
	}
	return "playlist" + playlistSuffix
}

// serveText answers with what was made for this request, and is stale at once.
func serveText(w http.ResponseWriter, r *http.Request, contentType string, text []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
}

// serveVTT answers with a subtitle file converted to WebVTT.
func (s *Server) serveVTT(w http.ResponseWriter, r *http.Request, t Torrent, index int) {
	release, ok := s.takeSlot(w, r)
	if !ok {
		return
	}
	defer release()
	f := t.Files()[index]
	data, err := readSubtitle(r, f)
	if err != nil {
		s.logEnd(r, f, err)
		status := http.StatusInternalServerError
		if errors.Is(err, subtitle.ErrTooLarge) {
			status = http.StatusUnprocessableEntity
		}
		http.Error(w, "cannot read the subtitle file", status)
		return
	}
	vtt, err := subtitle.WebVTT(f.Path(), data)
	if err != nil {
		s.log.Warn("subtitles not converted", "err", err)
		http.Error(w, "this file cannot be converted to WebVTT", http.StatusUnprocessableEntity)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/vtt; charset=utf-8")
	h.Set("Content-Disposition", contentDisposition("inline", media.Stem(f.Path())+vttSuffix))
	h.Set("Content-Security-Policy", fileCSP)
	h.Set("Cache-Control", "private, no-cache")
	http.ServeContent(w, r, "", f.ModTime(), bytes.NewReader(vtt))
}

// readSubtitle reads the whole of a small file, wanted at once.
func readSubtitle(r *http.Request, f File) ([]byte, error) {
	if f.Length() > subtitle.MaxSize {
		return nil, fmt.Errorf("read %s: %d bytes: %w", f.Path(), f.Length(), subtitle.ErrTooLarge)
	}
	reader, err := f.Open(r.Context())
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	reader.SetWindow(f.Length())
	data := make([]byte, f.Length())
	_, err = io.ReadFull(reader, data)
	return data, err
}
