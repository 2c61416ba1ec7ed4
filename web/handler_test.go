package web_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/web"
)

const hostile = `</title><script>attacked()</script>"'<img src=x onerror=attacked()>`

func handlers() map[string]*web.Handler {
	o := web.Options{
		Share: func(*http.Request) web.Share {
			return web.Share{
				Title:    hostile,
				Announce: []string{"wss://share.example:8443/announce", "ws://a;script-src *", "http://x.example/", "::"},
				Torrents: []web.Torrent{{Name: hostile, Files: []web.File{{Path: hostile, URL: "javascript:attacked()"}, {Path: strings.Repeat("long ", 900), URL: "/f/1"}}}},
			}
		},
		Status: func(*http.Request) web.Status { return web.Status{Run: "first"} },
	}
	return map[string]*web.Handler{"as built": web.New(o), "from sources": web.NewUnbuilt(o)}
}

func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	body := io.Reader(res.Body)
	if res.Header.Get("Content-Encoding") == "gzip" {
		r, err := gzip.NewReader(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		body = r
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var assetLink = regexp.MustCompile(`(?:href|src)="(/assets/[^"]+)"`)

func TestPageIsUnderAStrictPolicy(t *testing.T) {
	for name, h := range handlers() {
		t.Run(name, func(t *testing.T) {
			res := get(t, h, "/")
			policy := res.Header.Get("Content-Security-Policy")
			page := text(t, res)
			if !strings.Contains(policy, "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; ") || strings.Contains(policy, "unsafe-inline") {
				t.Errorf("the policy is %q", policy)
			}
			if !strings.Contains(policy, "connect-src 'self' wss://share.example:8443; ") {
				t.Errorf("the policy for connections is %q", policy)
			}
			if strings.Contains(page, "<script>") || strings.Contains(page, "style=") || strings.Contains(page, "<img") || strings.Contains(page, `"javascript:`) {
				t.Errorf("the page has something inline, or took a name for markup:\n%s", page)
			}
			if n := strings.Count(page, "<script"); n != 1 {
				t.Errorf("the page has %d scripts", n)
			}
		})
	}
}

func TestAssetsAreCachedForEver(t *testing.T) {
	for name, h := range handlers() {
		t.Run(name, func(t *testing.T) {
			links := assetLink.FindAllStringSubmatch(text(t, get(t, h, "/")), -1)
			if len(links) != 4 {
				t.Fatalf("the page links to %v", links)
			}
			for _, link := range links {
				packed, plain := get(t, h, link[1], "Accept-Encoding", "br, gzip;q=0.8"), get(t, h, link[1], "Accept-Encoding", "gzip;q=0")
				if packed.StatusCode != 200 || packed.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || packed.Header.Get("Content-Encoding") != "gzip" {
					t.Errorf("%s: %s %v", link[1], packed.Status, packed.Header)
				}
				if plain.Header.Get("Content-Encoding") != "" || text(t, plain) != text(t, packed) {
					t.Errorf("%s differs without compression", link[1])
				}
			}
			worker := get(t, h, "/sw.js")
			if worker.StatusCode != 200 || worker.Header.Get("Cache-Control") != "no-cache" || !strings.HasPrefix(worker.Header.Get("Content-Type"), "text/javascript") {
				t.Errorf("the service worker: %s %v", worker.Status, worker.Header)
			}
		})
	}
}

func TestNothingElseIsServed(t *testing.T) {
	for name, h := range handlers() {
		folder := assetLink.FindStringSubmatch(text(t, get(t, h, "/")))[1]
		folder = folder[:strings.LastIndexByte(folder, '/')+1]
		for _, path := range []string{
			"/index.html", "/assets/", "/assets/x/app.js", folder, folder + "index.html", folder + "../sw.js", folder + "%2e%2e/handler.go", "/src/app.js", "/%00", "/share.json/..", "/?" + strings.Repeat("x", 5000) + "/x",
		} {
			if res := get(t, h, path); res.StatusCode != 404 && !strings.HasPrefix(path, "/?") {
				t.Errorf("%s: %s answers %s", name, path, res.Status)
			}
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, "/share.json", nil))
			if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s: %s answers %d", name, method, w.Code)
			}
		}
	}
}

func TestAsksForThePassword(t *testing.T) {
	h := handlers()["as built"]
	ask := func(wrong bool) (*http.Response, string) {
		w := httptest.NewRecorder()
		h.ServeLogin(w, httptest.NewRequest(http.MethodGet, "/", nil), "/login", hostile, wrong)
		res := w.Result()
		return res, text(t, res)
	}
	res, page := ask(false)
	if res.StatusCode != 401 || !strings.Contains(res.Header.Get("Content-Security-Policy"), "form-action 'self'") || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("it answers %s %v", res.Status, res.Header)
	}
	if !strings.Contains(page, `action="/login"`) || strings.Contains(page, "<script") || strings.Contains(page, "<img") || strings.Contains(page, "Try again") {
		t.Errorf("the page is %s", page)
	}
	if _, page := ask(true); !strings.Contains(page, "Try again") {
		t.Error("a wrong password is not told")
	}
	w := httptest.NewRecorder()
	h.ServeNote(w, httptest.NewRequest(http.MethodGet, "/", nil), http.StatusGone, "This share has ended", "")
	if w.Code != 410 || !strings.Contains(w.Body.String(), "This share has ended") || strings.Contains(w.Body.String(), "<form") {
		t.Errorf("the end is told by %d %s", w.Code, w.Body)
	}
}

func TestDescriptionIsNeverKept(t *testing.T) {
	h := handlers()["as built"]
	for _, header := range [][]string{nil, {"Accept-Encoding", "gzip"}} {
		res := get(t, h, "/share.json", header...)
		var share web.Share
		if err := json.Unmarshal([]byte(text(t, res)), &share); err != nil {
			t.Fatal(err)
		}
		if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Content-Type") != "application/json" || share.Torrents[0].Name != hostile {
			t.Errorf("%v: %+v", res.Header, share)
		}
	}
	if status := text(t, get(t, h, "/status.json")); !strings.Contains(status, `"run":"first"`) {
		t.Errorf("the status is %s", status)
	}
}

// TestSourcesFindEachOther keeps the page working where nothing is bundled: what it loads
// at once names no package, only files that are there.
func TestSourcesFindEachOther(t *testing.T) {
	imports := regexp.MustCompile(`(?m)^import .*?'([^']+)'|import\('([^']+)'\)`)
	seen := map[string]bool{}
	var follow func(name string)
	follow = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		source, err := web.SourceFile(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, m := range imports.FindAllStringSubmatch(source, -1) {
			switch static, later := m[1], m[2]; {
			case strings.HasPrefix(static, "./"):
				follow(static[2:])
			case static != "":
				t.Errorf("%s imports the package %s, which a browser cannot find", name, static)
			case strings.HasPrefix(later, "./"):
				// Loaded when wanted; it may need packages, and fail.
				if _, err := web.SourceFile(later[2:]); err != nil {
					t.Errorf("%s loads %s: %v", name, later, err)
				}
			}
		}
	}
	follow("app.js")
	if len(seen) < 8 {
		t.Errorf("the page is made of %v", seen)
	}
}

func TestWeight(t *testing.T) {
	if !web.Built() {
		t.Skip("the page is not built (make web)")
	}
	const most = 350 << 10
	weight, err := strconv.Atoi(strings.TrimSpace(web.Weight()))
	if err != nil || weight == 0 || weight > most {
		t.Errorf("the page weighs %d bytes before a player needs more: %v", weight, err)
	}
	t.Logf("%d KiB", weight>>10)
}

func TestStyleSheetHoldsForTheIndex(t *testing.T) {
	sheet := string(web.StyleSheet())
	for _, class := range []string{".card", ".button", ".brand", ".index", ".unseen"} {
		if !strings.Contains(sheet, class) {
			t.Errorf("there is no %s in the common style sheet", class)
		}
	}
}
