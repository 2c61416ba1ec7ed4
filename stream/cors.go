package stream

import (
	"net/http"

	"github.com/causeway-bt/causeway/stream/access"
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
// reports whether the request may go on. Pages of other origins than our own may
// neither read what is here nor have anything fetched, unless Config.Origins has
// theirs. They are refused before anything is looked up, so that they cannot guess what
// there is.
func (s *Server) checkOrigin(w http.ResponseWriter, r *http.Request, isFile bool) bool {
	h := w.Header()
	h.Add("Vary", "Origin, Sec-Fetch-Site")
	if !isFile {
		// What is opened in a window says nothing to the page that opened it.
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	// Where a browser sends nothing to know a page by, it keeps the answer from it.
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if isFile && s.cfg.Origins.Any() {
		allowOrigin(w, r, access.AnyOrigin)
		return true
	}
	switch s.cfg.Origins.Caller(r) {
	case access.OwnCaller:
		return true
	case access.NamedCaller:
		allowOrigin(w, r, r.Header.Get("Origin"))
		return true
	case access.FollowedLink:
		return true
	case access.ForeignNavigation: // has nothing fetched from peers
		if !isFile {
			return true
		}
	case access.ForeignPage:
	}
	http.Error(w, "pages of other origins may not use this; --allow-origin lets one", http.StatusForbidden)
	return false
}

// allowOrigin opens an answer to pages of an origin, which is empty if none was sent.
func allowOrigin(w http.ResponseWriter, r *http.Request, origin string) {
	h := w.Header()
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
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
}
