package stream

import (
	"net/http"
	"slices"
)

const (
	allowedMethods = "GET, HEAD, OPTIONS"
	// requestHeaders are those that a page's request for a file may bear:
	// webtorrent's web seeds send range, cache-control and user-agent.
	requestHeaders = "Range, Cache-Control, User-Agent, Authorization, If-Range, If-None-Match, If-Modified-Since"
	exposedHeaders = "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, Content-Type, ETag, Last-Modified"
	// preflightMaxAge is in seconds; browsers cap it themselves.
	preflightMaxAge = "86400"
)

// checkOrigin answers the CORS side of a request (Fetch standard, §3.2) and
// reports whether the request may go on. Files are for every allowed origin's
// pages; our own pages tell what is downloaded here, and are for ourselves.
func (s *Server) checkOrigin(w http.ResponseWriter, r *http.Request, isFile bool) bool {
	h := w.Header()
	origin := r.Header.Get("Origin")
	if isFile {
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	switch {
	case isFile && s.cfg.Origins == nil:
		h.Set("Access-Control-Allow-Origin", "*")
	case origin == "" || origin == sameOrigin(r):
		return true
	case slices.Contains(s.cfg.Origins, origin):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Add("Vary", "Origin")
	default:
		http.Error(w, "pages of this origin may not read this", http.StatusForbidden)
		return false
	}
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", allowedMethods)
		h.Set("Access-Control-Allow-Headers", requestHeaders)
		h.Set("Access-Control-Max-Age", preflightMaxAge)
		if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
			h.Set("Access-Control-Allow-Private-Network", "true")
		}
	}
	return true
}

func sameOrigin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
