package web

import (
	"bytes"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Options say what a page shows. Both functions are called for each request, from many
// goroutines.
type Options struct {
	// Share describes what is shared; credentials in it are for this request alone.
	Share func(*http.Request) Share
	// Status says what the swarms do.
	Status func(*http.Request) Status
	// Base is the path below which the page is served, "/" if empty; it ends in a slash.
	Base string
	// Logger defaults to none.
	Logger *slog.Logger
}

// Handler serves the page. It answers GET and HEAD only, and changes nothing.
type Handler struct {
	o     Options
	files assets
	index *template.Template
}

var _ http.Handler = (*Handler)(nil)

const (
	assetsPath = "assets/"
	// compressFrom is the size from which JSON is compressed, in bytes.
	compressFrom = 2 << 10
	// maxListed bounds the files that a page without JavaScript lists.
	maxListed = 1000
)

// New returns a handler for the page at Options.Base and what belongs to it. It has the
// pages that a host shows instead, too: ServeLogin and ServeNote.
func New(o Options) *Handler {
	if o.Base == "" {
		o.Base = "/"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{o: o, files: loadAssets(), index: template.Must(template.ParseFS(sources, sourceFolder+"/index.html", sourceFolder+"/note.html"))}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setSafety(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are answered here", http.StatusMethodNotAllowed)
		return
	}
	name, below := strings.CutPrefix(r.URL.Path, h.o.Base)
	switch asset, isAsset := strings.CutPrefix(name, assetsPath+h.files.hash+"/"); {
	case !below:
		http.NotFound(w, r)
	case name == "":
		h.servePage(w, r)
	case name == "share.json":
		h.serveJSON(w, r, h.o.Share(r))
	case name == "status.json":
		h.serveJSON(w, r, h.o.Status(r))
	case name == "sw.js":
		// The worker keeps the policy that it came with.
		h.setPolicy(w, nil)
		h.serveFile(w, r, name, "no-cache")
	case isAsset:
		h.setPolicy(w, nil)
		h.serveFile(w, r, asset, "public, max-age=31536000, immutable")
	default:
		http.NotFound(w, r)
	}
}

// setSafety is what all answers have.
func setSafety(header http.Header) {
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
}

// setPolicy allows scripts and styles of ours alone, none of them inline, and nothing from
// elsewhere but the trackers' sockets. WebAssembly is for subtitles and sound; workers from
// blobs are mediabunny's decoders, and are under the same policy.
func (h *Handler) setPolicy(w http.ResponseWriter, announce []string) {
	connect := []string{"'self'"}
	for _, tracker := range announce {
		u, err := url.Parse(tracker)
		if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || strings.ContainsAny(u.Host, "; ,'\"*") {
			continue
		}
		if origin := u.Scheme + "://" + u.Host; !slices.Contains(connect, origin) {
			connect = append(connect, origin)
		}
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "+
		"img-src 'self' blob:; media-src 'self' blob:; worker-src 'self' blob:; connect-src "+strings.Join(connect, " ")+"; "+
		"base-uri 'self'; form-action 'none'; frame-ancestors 'none'")
}

func (h *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	share := h.o.Share(r)
	page := struct {
		Title, Base, Assets string
		Built               bool
		Files               []File
	}{Title: share.Title, Base: h.o.Base, Assets: h.o.Base + assetsPath + h.files.hash, Built: h.files.built}
	if page.Title == "" {
		page.Title = "Causeway"
	}
	for _, t := range share.Torrents {
		for _, f := range t.Files {
			if f.URL != "" && len(page.Files) < maxListed {
				page.Files = append(page.Files, f)
			}
		}
	}
	var b bytes.Buffer
	if err := h.index.Execute(&b, page); err != nil {
		h.fail(w, r, err)
		return
	}
	h.setPolicy(w, share.Announce)
	w.Header().Set("Cache-Control", "no-cache")
	h.send(w, r, "text/html; charset=utf-8", compress(b.Bytes()))
}

func (h *Handler) serveJSON(w http.ResponseWriter, r *http.Request, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if len(text) >= compressFrom {
		h.send(w, r, "application/json", compress(text))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text)
}

func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, name, caching string) {
	content, ok := h.files.packed[name]
	if !ok || strings.HasSuffix(name, ".html") {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", caching)
	h.send(w, r, typeOf(name), content)
}

// send answers with compressed content, to those who take it so, or as it was.
func (h *Handler) send(w http.ResponseWriter, r *http.Request, mediaType string, content []byte) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Vary", "Accept-Encoding")
	if acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
	} else {
		plain, err := decompress(content)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		content = plain
	}
	header.Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(content)
}

func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	h.o.Logger.Error("page not made", "path", r.URL.Path, "err", err)
	http.Error(w, "this page could not be made", http.StatusInternalServerError)
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3) as far as browsers and programs
// write it.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q, isWeight := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
			value, err := strconv.ParseFloat(q, 64)
			return !isWeight || (err == nil && value > 0)
		}
	}
	return false
}

func typeOf(name string) string {
	switch name[strings.LastIndexByte(name, '.')+1:] {
	case "js":
		return "text/javascript; charset=utf-8"
	case "css":
		return "text/css; charset=utf-8"
	case "svg":
		return "image/svg+xml"
	case "wasm":
		return "application/wasm"
	case "woff2":
		return "font/woff2"
	default:
		return "text/plain; charset=utf-8"
	}
}
