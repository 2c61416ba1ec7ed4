package stream

import (
	"bytes"
	"context"
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
	links := s.linksFor(r)
	s.serveMade(w, r, s.pages, func() ([]byte, error) {
		var b bytes.Buffer
		b.WriteString("#EXTM3U\n")
		for _, t := range torrents {
			files := t.Files()
			for _, i := range media.Playlist(files) {
				fmt.Fprintf(&b, "#EXTINF:-1,%s\n%s\n", title(files[i]), links.File(t, i))
			}
		}
		return b.Bytes(), nil
	}, func(text []byte) {
		w.Header().Set("Content-Disposition", contentDisposition("inline", playlistName(torrents)))
		serveText(w, r, playlistType, text)
	})
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
	f := t.Files()[index]
	if f.Length() > subtitle.MaxSize {
		http.Error(w, "this subtitle file is too large to be converted", http.StatusUnprocessableEntity)
		return
	}
	seat, ok := s.takeSeat(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s.seats.begin(seat, r, nil, cancel)
	defer s.seats.leave(seat)
	if !s.held.take(f.Length()) {
		busy(w, "too many subtitles are being read; try again")
		return
	}
	defer s.held.give(f.Length())
	data, err := readSubtitle(ctx, f)
	limitAnswer(w)
	if err != nil {
		s.logEnd(r, f, err)
		http.Error(w, "cannot read the subtitle file", http.StatusInternalServerError)
		return
	}
	s.serveMade(w, r, s.convert, func() ([]byte, error) { return subtitle.WebVTT(f.Path(), data) }, func(vtt []byte) {
		h := w.Header()
		h.Set("Content-Type", "text/vtt; charset=utf-8")
		h.Set("Content-Disposition", contentDisposition("inline", media.Stem(f.Path())+vttSuffix))
		h.Set("Content-Security-Policy", fileCSP)
		h.Set("Cache-Control", "private, no-cache")
		http.ServeContent(w, r, "", f.ModTime(), bytes.NewReader(vtt))
	})
}

// readSubtitle reads the whole of a small file, wanted at once.
func readSubtitle(ctx context.Context, f File) ([]byte, error) {
	reader, err := f.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	reader.SetWindow(f.Length())
	data := make([]byte, f.Length())
	_, err = io.ReadFull(reader, data)
	return data, err
}
