package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/stream/media"
)

const (
	// fileCSP keeps what a torrent brings from acting as a page of this origin: there are
	// no scripts. A browser's own player still plays; it asks for the film anew, and
	// without allow-same-origin as a page of no origin, which is refused.
	fileCSP = "sandbox allow-same-origin; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
	// retryAfter is in seconds, for a client that found all responses taken, or the
	// metadata of a torrent not there yet.
	retryAfter = "1"
)

// serveFile answers with a file or ranges of it.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, t Torrent, index int) {
	f := t.Files()[index]
	if !s.setDLNA(w, r, f.Path()) {
		return
	}
	h := w.Header()
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", etag(t, index))
	h.Set("Content-Type", media.Type(f.Path()))
	h.Set("Content-Disposition", disposition(r, f.Path()))
	h.Set("Content-Security-Policy", fileCSP)
	// The content never changes under its infohash, but a cache's copy of a
	// film is of no use beside the one on disk.
	h.Set("Cache-Control", "private, no-cache, no-transform")
	if set := r.Header.Get("Range"); set != "" {
		r = r.Clone(r.Context())
		if set = normalizeRange(set, f.Length()); set == "" {
			r.Header.Del("Range")
		} else {
			r.Header.Set("Range", set)
		}
	}
	seat, ok := s.takeSeat(w, r)
	if !ok {
		return
	}
	record := s.readers.add(ReaderStats{
		InfoHash: t.InfoHash(),
		Index:    index,
		File:     f.Path(),
		Length:   f.Length(),
		Client:   r.RemoteAddr,
		Agent:    r.UserAgent(),
		Started:  time.Now(),
	})
	defer s.readers.remove(record)
	c := s.newContent(r.Context(), t, index, record)
	s.seats.begin(seat, r, record, c.end(w))
	defer func() {
		err := c.close()
		if s.seats.leave(seat) {
			err = errGaveWay
		}
		s.logEnd(r, f, err)
	}()
	http.ServeContent(&body{w, c}, r, "", f.ModTime(), c)
}

// errGaveWay ends a response for the sake of another.
var errGaveWay = errors.New("too many responses were open, and this one was worth least")

// takeSeat counts a response against Config.MaxResponses, or answers 503.
func (s *Server) takeSeat(w http.ResponseWriter, r *http.Request) (*seat, bool) {
	taken, ok := s.seats.take(r)
	if !ok {
		s.log.Warn("too many responses open", "limit", s.cfg.MaxResponses, "client", r.RemoteAddr)
		busy(w, "too many responses are open; try again")
	}
	return taken, ok
}

func busy(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", retryAfter)
	http.Error(w, text, http.StatusServiceUnavailable)
}

// logEnd tells the ends that matter from clients that just went away.
func (s *Server) logEnd(r *http.Request, f File, err error) {
	switch {
	case err == nil:
	case errors.Is(err, errGaveWay):
		s.log.Info("response ended", "file", f.Path(), "client", r.RemoteAddr, "why", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.log.Info("client stopped reading", "file", f.Path(), "client", r.RemoteAddr, "after", s.cfg.ClientTimeout)
	case r.Context().Err() != nil || errors.Is(err, context.Canceled):
		s.log.Debug("client went away", "file", f.Path(), "client", r.RemoteAddr, "err", err)
	default:
		s.log.Warn("response ended early", "file", f.Path(), "client", r.RemoteAddr, "err", err)
	}
}

// etag is strong (RFC 9110 §8.8.1): the infohash names the content.
func etag(t Torrent, index int) string { return fmt.Sprintf(`"%s-%d"`, t.InfoHash(), index) }

// disposition names the file for saving (RFC 6266). What a browser could take for a
// document is saved, never shown; so is everything with ?download=1.
func disposition(r *http.Request, name string) string {
	kind := "inline"
	if k := media.KindOf(name); k == media.Other || r.URL.Query().Get("download") == "1" {
		kind = "attachment"
	}
	return contentDisposition(kind, path.Base(name))
}

// contentDisposition gives the name twice where need be: in ASCII for old
// clients, and in full by RFC 8187.
func contentDisposition(kind, name string) string {
	var ascii, extended strings.Builder
	plain := true
	for _, c := range strings.ToValidUTF8(name, "_") {
		switch {
		case c < ' ' || c >= 0x7f:
			ascii.WriteByte('_')
			plain = false
		case strings.ContainsRune(`"\%;`, c):
			// Quotes and backslashes are escaped differently by each client, and
			// some decode percent signs.
			ascii.WriteByte('_')
			plain = false
		default:
			ascii.WriteRune(c)
		}
		extended.WriteString(attrChar(c))
	}
	value := fmt.Sprintf(`%s; filename="%s"`, kind, ascii.String())
	if !plain {
		value += "; filename*=UTF-8''" + extended.String()
	}
	return value
}

// attrChar percent-encodes everything but RFC 8187's attr-char.
func attrChar(c rune) string {
	if c < 0x7f && (c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' ||
		strings.ContainsRune("!#$&+-.^_`|~", c)) {
		return string(c)
	}
	var b strings.Builder
	for _, octet := range []byte(string(c)) {
		fmt.Fprintf(&b, "%%%02X", octet)
	}
	return b.String()
}

// DLNA header names, in the case that the guidelines write and some devices insist on.
const (
	dlnaTransferMode = "transferMode.dlna.org"
	dlnaFeatures     = "contentFeatures.dlna.org"
	// dlnaFeatureValue: seeking by bytes (OP=01), not converted (CI=0), and the
	// flags for streaming and background transfer, stalling allowed, DLNA 1.5.
	dlnaFeatureValue = "DLNA.ORG_OP=01;DLNA.ORG_CI=0;DLNA.ORG_FLAGS=01700000000000000000000000000000"
)

// setDLNA answers the DLNA headers of a request that has any. It reports false
// after it refused a way of transfer that there is not (guideline 7.5.4.3.2.33).
func (s *Server) setDLNA(w http.ResponseWriter, r *http.Request, name string) bool {
	h := w.Header()
	if r.Header.Get("getcontentFeatures.dlna.org") == "1" {
		h[dlnaFeatures] = []string{dlnaFeatureValue}
	}
	if r.Header.Get("TimeSeekRange.dlna.org") != "" {
		http.Error(w, "seeking by time is not served; seek by bytes", http.StatusNotAcceptable)
		return false
	}
	mode := r.Header.Get(dlnaTransferMode)
	if mode == "" {
		return true
	}
	streamed := media.KindOf(name).Playable()
	switch strings.ToLower(mode) {
	case "streaming":
		if !streamed {
			http.Error(w, "only audio and video are streamed", http.StatusNotAcceptable)
			return false
		}
		mode = "Streaming"
	case "interactive":
		if streamed {
			http.Error(w, "audio and video are not interactive", http.StatusNotAcceptable)
			return false
		}
		mode = "Interactive"
	case "background":
		mode = "Background"
	default:
		http.Error(w, "unknown transfer mode", http.StatusBadRequest)
		return false
	}
	h[dlnaTransferMode] = []string{mode}
	return true
}
