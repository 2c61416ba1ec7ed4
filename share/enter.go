package share

import (
	_ "embed"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

//go:embed notice.html
var noticeText string

//go:embed notice.css
var noticeStyle []byte

var noticeTemplate = template.Must(template.New("notice").Parse(noticeText))

// noticePolicy allows the form, and the style sheet of ours.
const noticePolicy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// noticeStylePath is served to all, since who is to log in sees it.
const noticeStylePath = "/notice.css"

const (
	// maxPassword bounds what is sent as a password, in bytes.
	maxPassword = 4 << 10
	// loginTimeout is in which it must have come.
	loginTimeout = 10 * time.Second
)

// notice is a page with a few words.
type notice struct {
	Title, Text, Warning string
	Form                 bool
}

// enter lets a request in and returns its session, or answers it.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) (session string, ok bool) {
	if !s.doors.guarded() {
		return "", true
	}
	if r.URL.Path == noticeStylePath {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = w.Write(noticeStyle)
		return "", false
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
		from := remoteNetwork(r)
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
	status := http.StatusUnauthorized
	n := notice{Title: "Password", Text: "This share has a password.", Form: true}
	switch {
	case v == tooMany:
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(guessEvery/time.Second)))
		n.Warning = "Too many wrong passwords. Wait a little, then try again."
	case tried:
		n.Warning = "That is not the password."
	}
	if r.TLS == nil && !isLoopback(r) {
		n.Text += " This connection is not encrypted: others on the way could read what you type."
	}
	if r.URL.Path != "/" && r.URL.Path != loginPath {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "a password is wanted: open the share's page first", status)
		return
	}
	serveNotice(w, status, n)
}

func isLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
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
	v := s.doors.try(r.PostForm.Get("password"), remoteNetwork(r))
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
	w.Header().Set("Cache-Control", "no-store")
	switch r.URL.Path {
	case noticeStylePath:
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write(noticeStyle)
	case "/":
		serveNotice(w, http.StatusGone, notice{Title: "This share has ended", Text: "Ask whoever sent you the link for another one."})
	default:
		http.Error(w, "this share has ended", http.StatusGone)
	}
}

func serveNotice(w http.ResponseWriter, status int, n notice) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", noticePolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = noticeTemplate.Execute(w, n) // nobody is there to be told
}
