package stream_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/stream"
	"github.com/causeway-bt/causeway/stream/access"
)

func origins(t *testing.T, list ...string) access.Origins {
	t.Helper()
	o, err := access.ParseOrigins(list)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// What browsers send with what pages of other origins do (Fetch Metadata, §2).
var (
	crossFetch    = []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}
	crossOld      = []string{"Origin", "https://evil.example"} // before Sec-Fetch-Site
	crossNull     = []string{"Origin", "null", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}
	crossNoCORS   = []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "empty"}
	crossVideo    = []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "video", "Range", "bytes=0-"}
	crossImage    = []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}
	crossScript   = []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script", "Referer", "https://evil.example/"}
	crossFrame    = []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Sec-Fetch-User", "?1"}
	otherPort     = []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "video"}
	crossDownload = []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "empty"}
	crossOpened   = []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	crossClicked  = append([]string{"Sec-Fetch-User", "?1"}, crossOpened...)
	typed         = []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-User", "?1"}
	ownStyle      = []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "style"}
	// behindTLS is our own page behind a proxy that speaks https.
	behindTLS = []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Origin", "https://media.example"}
	aPlayer   = []string{"User-Agent", "VLC/3.0.20 LibVLC/3.0.20", "Range", "bytes=0-"}
	bare      = []string{}
)

func TestPagesOfOtherOriginsAreRefused(t *testing.T) {
	file := newFile("a.mp4", []byte("xyz")).complete()
	for _, token := range []string{"", "secret"} {
		_, base := serve(t, stream.Config{Token: token}, newTorrent(file, newFile("a.srt", nil)))
		const prefix = "/t/" + fakeHash
		pages := []string{"/", "/playlist.m3u8", prefix, prefix + ".m3u8", prefix + "/stats.json", "/style.css"}
		files := []string{prefix + "/0", prefix + "/a.mp4", prefix + "/A%20Torrent/a.mp4", prefix + "/a.srt.vtt"}
		absent := []string{"/t/" + strings.Repeat("f", 40) + "/0", "/t/" + strings.Repeat("f", 40)}
		try := func(paths []string, headers []string, allowed bool) {
			t.Helper()
			for _, path := range paths {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					res := do(t, method, base+path+"?token="+token, headers...)
					if allowed != (res.StatusCode < 300) || res.Header.Get("Access-Control-Allow-Origin") != "" {
						t.Errorf("%s %s with %q: %s %v", method, path, headers, res.Status, res.Header)
					}
					if !allowed && res.StatusCode != http.StatusForbidden {
						t.Errorf("%s %s with %q tells whether it is there: %s", method, path, headers, res.Status)
					}
					if res.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
						t.Errorf("%s: %v", path, res.Header)
					}
				}
			}
		}
		for _, headers := range [][]string{crossFetch, crossOld, crossNull, crossNoCORS, crossVideo, crossImage,
			crossScript, crossFrame, otherPort, crossDownload} {
			try(pages, headers, false)
			try(files, headers, false)
			try(absent, headers, false)
		}
		try(files, crossOpened, false)
		try(absent[:1], crossOpened, false)
		try(pages, crossOpened, true)
		for _, headers := range [][]string{crossClicked, typed, ownStyle, behindTLS, aPlayer, bare, {"Origin", base}} {
			try(pages, headers, true)
			try(files, headers, true)
		}
		if res := do(t, http.MethodGet, base+"/?token="+token); res.Header.Get("Cross-Origin-Opener-Policy") != "same-origin" {
			t.Errorf("who opens a page could watch it: %v", res.Header)
		}
	}
	if file.opened == 0 {
		t.Error("nothing was read")
	}
}

func TestRefusedPagesHaveNothingFetched(t *testing.T) {
	file := newFile("a.mp4", make([]byte, 1<<20)) // nothing is there yet
	_, base := serve(t, stream.Config{}, newTorrent(file))
	for _, headers := range [][]string{crossFetch, crossVideo, crossImage, crossOpened, crossFrame} {
		do(t, http.MethodGet, base+"/t/"+fakeHash+"/0", headers...)
	}
	if file.opened != 0 {
		t.Errorf("opened %d times", file.opened)
	}
}

// preflight is what browsers ask for webtorrent's web seeds.
var preflight = []string{"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "cache-control,range,user-agent",
	"Access-Control-Request-Private-Network", "true"}

func TestAllowedOrigins(t *testing.T) {
	const good, path = "https://good.example", "/t/" + fakeHash + "/a.mp4"
	pages := []string{"/", "/playlist.m3u8", "/t/" + fakeHash, "/t/" + fakeHash + "/stats.json"}
	torrent := newTorrent(newFile("a.mp4", []byte("xyz")).complete())
	as := func(origin string, more ...string) []string {
		return append([]string{"Origin", origin, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}, more...)
	}
	for _, tc := range []struct {
		origins []string
		by      string
		allow   string // as is answered; "" if refused
		pages   bool
	}{
		{nil, good, "", false},
		{[]string{good}, good, good, true},
		{[]string{"HTTPS://Good.Example:443/"}, good, good, true},
		{[]string{good, "http://localhost:3000"}, "http://localhost:3000", "http://localhost:3000", true},
		{[]string{good}, "https://good.example:8443", "", false},
		{[]string{good}, "http://good.example", "", false},
		{[]string{good}, "https://good.example.evil.example", "", false},
		{[]string{good}, "null", "", false},
		{[]string{"null"}, "null", "null", true},
		{[]string{"chrome-extension://abcdef"}, "chrome-extension://abcdef", "chrome-extension://abcdef", true},
		{[]string{"*"}, good, "*", false},
		{[]string{"*", good}, good, "*", true},
	} {
		_, base := serve(t, stream.Config{Token: "secret", Origins: origins(t, tc.origins...)}, torrent)
		res := do(t, http.MethodOptions, base+path, as(tc.by, preflight...)...)
		h := res.Header
		if h.Get("Access-Control-Allow-Origin") != tc.allow || (res.StatusCode == http.StatusNoContent) != (tc.allow != "") {
			t.Errorf("%v, preflight of %s: %s %v", tc.origins, tc.by, res.Status, h)
		}
		if tc.allow != "" {
			for _, want := range []string{"range", "cache-control", "user-agent"} {
				if !strings.Contains(strings.ToLower(h.Get("Access-Control-Allow-Headers")), want) {
					t.Errorf("%s may not be sent: %v", want, h)
				}
			}
			if !strings.Contains(h.Get("Access-Control-Allow-Methods"), "GET") || h.Get("Access-Control-Allow-Private-Network") != "true" {
				t.Errorf("preflight: %v", h)
			}
		}
		res = do(t, http.MethodGet, base+path+"?token=secret", as(tc.by, "Range", "bytes=1-1")...)
		if res.Header.Get("Access-Control-Allow-Origin") != tc.allow || (res.StatusCode == http.StatusPartialContent) != (tc.allow != "") {
			t.Errorf("%v, range for %s: %s %v", tc.origins, tc.by, res.Status, res.Header)
		}
		if tc.allow != "" && (!strings.Contains(res.Header.Get("Access-Control-Expose-Headers"), "Content-Range") ||
			res.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" || !strings.Contains(res.Header.Get("Vary"), "Origin")) {
			t.Errorf("range: %v", res.Header)
		}
		for _, page := range pages {
			res := do(t, http.MethodGet, base+page+"?token=secret", as(tc.by)...)
			if (res.StatusCode == http.StatusOK) != tc.pages {
				t.Errorf("%v, %s for %s: %s", tc.origins, page, tc.by, res.Status)
			}
		}
		if res := do(t, http.MethodGet, base+path, as(tc.by)...); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("without the token: %s", res.Status)
		}
	}
}

// TestAllowedPagesMayEmbed: <video src> without crossorigin brings no Origin.
func TestAllowedPagesMayEmbed(t *testing.T) {
	torrent := newTorrent(newFile("a.mp4", []byte("xyz")).complete())
	for _, tc := range []struct {
		origins, referer string
		want             int
	}{
		{"https://good.example", "https://good.example/", http.StatusPartialContent},
		{"https://good.example", "https://evil.example/", http.StatusForbidden},
		{"https://good.example", "https://evil.example/?https://good.example/", http.StatusForbidden},
		{"https://good.example", "", http.StatusForbidden},
		{"*", "", http.StatusPartialContent},
	} {
		_, base := serve(t, stream.Config{Origins: origins(t, tc.origins)}, torrent)
		res := do(t, http.MethodGet, base+"/t/"+fakeHash+"/0", append([]string{"Referer", tc.referer}, crossVideo...)...)
		if res.StatusCode != tc.want {
			t.Errorf("%s allowed, video on %s: %s", tc.origins, tc.referer, res.Status)
		}
	}
}
