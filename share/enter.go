package share

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxPassword bounds what is sent as a password, in bytes.
	maxPassword = 4 << 10
	// loginTimeout is in which it must have come.
	loginTimeout = 10 * time.Second
)

// enter lets a request in and returns its session, or answers it.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) (session string, ok bool) {
	if !s.doors.guarded() {
		return "", true
	}
	session = s.doors.session(r)
	if s.doors.needsPassword && session == "" {
		if session, ok = s.byPassword(w, r); !ok {
			return "", false
		}
	}
	if session == "" && r.URL.Path == "/" {
		session = s.doors.begin(w, r)
	}
	if !s.doors.mayView(session) {
		s.serveEnded(w, r)
		return "", false
	}
	return session, true
}

// byPassword lets in players, which have no cookies and say the password each time (RFC 7617).
// All others are asked for it.
func (s *Server) byPassword(w http.ResponseWriter, r *http.Request) (session string, ok bool) {
	verdict := wrong
	if _, password, given := r.BasicAuth(); given {
		from := networkOf(s.from(r))
		verdict = s.doors.try(password, from)
		session = "player of " + from.String()
	}
	if verdict == right {
		return session, true
	}
	s.askPassword(w, r, verdict, false)
	return "", false
}

func (s *Server) askPassword(w http.ResponseWriter, r *http.Request, v verdict, tried bool) {
	switch {
	case v == tooMany:
		w.Header().Set("Retry-After", strconv.Itoa(int(guessEvery/time.Second)))
		s.page.ServeNote(w, r, http.StatusTooManyRequests, "Too many wrong passwords", "Wait a little, then try again.")
	case r.URL.Path == "/" || r.URL.Path == loginPath:
		text := ""
		if r.TLS == nil && !s.from(r).IsLoopback() {
			text = "This connection is not encrypted: others on the way could read what you type."
		}
		s.page.ServeLogin(w, r, loginPath, text, tried)
	default:
		if !isScript(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="causeway", charset="UTF-8"`)
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "a password is wanted: open the share's page first", http.StatusUnauthorized)
	}
}

// isScript reports whether a page made a request, in which a browser would ask for the
// password by a window of its own.
func isScript(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode != "" && mode != "navigate"
}

// serveLogin takes the password from the form.
func (s *Server) serveLogin(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.doors.needsPassword || r.Method == http.MethodGet || r.Method == http.MethodHead:
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		http.Error(w, "a password is sent by POST", http.StatusMethodNotAllowed)
		return
	case !s.guard.sameOrigin(r):
		http.Error(w, "only the share's own page may do this", http.StatusForbidden)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(loginTimeout))
	r.Body = http.MaxBytesReader(w, r.Body, maxPassword)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "this is no password", http.StatusBadRequest)
		return
	}
	v := s.doors.try(r.PostForm.Get("password"), networkOf(s.from(r)))
	if v != right {
		s.log.Info("wrong password", "from", r.RemoteAddr)
		s.askPassword(w, r, v, true)
		return
	}
	s.doors.begin(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// view counts a request as a view, or refuses it.
func (s *Server) view(w http.ResponseWriter, r *http.Request, session string) bool {
	if s.doors.views > 0 && session == "" {
		// It has not been to the page, by which it would have got one.
		http.Error(w, "open the share's page first", http.StatusForbidden)
		return false
	}
	if s.doors.view(session) {
		return true
	}
	s.serveEnded(w, r)
	return false
}

// serveEnded says that there is nothing here any more.
func (s *Server) serveEnded(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, assetsPrefix): // of what follows
		s.page.ServeHTTP(w, r)
	case r.URL.Path == "/":
		s.page.ServeNote(w, r, http.StatusGone, "This share has ended", "Ask whoever sent you the link for another one.")
	default:
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "this share has ended", http.StatusGone)
	}
}
