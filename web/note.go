package web

import (
	"bytes"
	"net/http"
)

// note is a page without a script: some words, or a form for a password.
type note struct {
	Title, Text, Assets, Action string
	Wrong                       bool
}

// ServeNote answers with a page of words in the page's looks, such as that the share has
// ended (http.StatusGone).
func (h *Handler) ServeNote(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	h.serveNote(w, r, status, note{Title: title, Text: text})
}

// ServeLogin answers 401 with a form that asks for the share's password, and posts it as
// "password" (application/x-www-form-urlencoded) to the URL action of this site. text is
// shown above, such as a warning that it is sent without encryption. wrong says that the
// last one was.
func (h *Handler) ServeLogin(w http.ResponseWriter, r *http.Request, action, text string, wrong bool) {
	h.serveNote(w, r, http.StatusUnauthorized, note{Title: "This share has a password", Text: text, Action: action, Wrong: wrong})
}

func (h *Handler) serveNote(w http.ResponseWriter, r *http.Request, status int, n note) {
	setSafety(w.Header())
	n.Assets = h.o.Base + assetsPath + h.files.hash
	var b bytes.Buffer
	if err := h.index.ExecuteTemplate(&b, "note.html", n); err != nil {
		h.fail(w, r, err)
		return
	}
	form := "'none'"
	if n.Action != "" {
		form = "'self'"
	}
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action "+form+"; frame-ancestors 'none'")
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes())
	}
}
