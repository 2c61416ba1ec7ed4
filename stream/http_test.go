package stream_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/stream"
)

// awkward are names that URLs, headers, playlists and pages must each escape.
var awkward = []string{
	"plain.mp4",
	"with space.mp4",
	`quo"te's.mp4`,
	"hash#tag.mp4",
	"100% sure.mp4",
	"50%25.mp4",
	"what?.mp4",
	"a&b=c;d+e.mp4",
	"日本語 ö.mp4",
	"dir/sub dir/deep.mp4",
	"<script>alert(1)</script>.mp4",
	"back\\slash.mp4",
	"line\r\nbreak.mp4",
	"bad\xff\xfeutf8.mp4",
	"../../../etc/passwd",
	"./dot.mp4",
	"a//b.mp4",
	"7",
	"stats.json",
	"really.vtt",
	"[brackets]{braces}|^`.mp4",
}

func awkwardTorrent() *fakeTorrent {
	var files []*fakeFile
	for _, name := range awkward {
		files = append(files, newFile(name, []byte("content of "+name)).complete())
	}
	return newTorrent(files...)
}

func TestLinksLeadToTheirFiles(t *testing.T) {
	torrent := awkwardTorrent()
	s, base := serve(t, stream.Config{}, torrent)
	links := s.LinksAt(base)
	for i, name := range awkward {
		link := links.File(torrent, i)
		res := do(t, http.MethodGet, link)
		if body := bodyOf(t, res); res.StatusCode != http.StatusOK || body != "content of "+name {
			t.Errorf("%q by %s: %s, %q", name, link, res.Status, body)
		}
	}
}

// TestWebSeedURLs asks as BEP 19 clients do, encoded, and as webtorrent does: the
// path appended as it is, and whatever fetch() then makes of it.
func TestWebSeedURLs(t *testing.T) {
	torrent := awkwardTorrent()
	torrent.name = "Näme of it"
	_, base := serve(t, stream.Config{}, torrent)
	encode := func(p string) string {
		parts := strings.Split(p, "/")
		for i := range parts {
			parts[i] = url.PathEscape(parts[i])
		}
		return strings.Join(parts, "/")
	}
	asFetch := strings.NewReplacer(" ", "%20", `"`, "%22", "ö", "%C3%B6", "ä", "%C3%A4", "日本語", "%E6%97%A5%E6%9C%AC%E8%AA%9E",
		"<", "%3C", ">", "%3E").Replace
	for _, seed := range []string{"/t/" + fakeHash, "/t/" + fakeHash + "/"} {
		for _, name := range []string{"plain.mp4", "with space.mp4", `quo"te's.mp4`, "50%25.mp4", "what?.mp4",
			"a&b=c;d+e.mp4", "日本語 ö.mp4", "dir/sub dir/deep.mp4", "7", "stats.json"} {
			full := torrent.name + "/" + name
			for _, path := range []string{encode(full), asFetch(full)} {
				res := rawRequest(t, base, "GET "+seed+"/"+path+" HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-6\r\nCache-Control: no-store\r\n\r\n")
				body, _ := io.ReadAll(res.Body)
				if res.StatusCode != http.StatusPartialContent || string(body) != "content" {
					t.Errorf("%s/%s: %s %q", seed, path, res.Status, body)
				}
			}
		}
	}
}

// rawRequest sends bytes that net/http's client would not.
func rawRequest(t *testing.T, base, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return res
}

func TestHostilePaths(t *testing.T) {
	_, base := serve(t, stream.Config{}, newTorrent(newFile("a.mp4", []byte("x")).complete()))
	prefix := "/t/" + fakeHash
	for _, path := range []string{
		prefix + "/../../etc/passwd", prefix + "/%2e%2e/%2e%2e/etc/passwd", prefix + "/..%2f..%2fetc%2fpasswd",
		prefix + "/a.mp4%00", prefix + "/%00", prefix + "/a.mp4/", prefix + "/a.mp4/../a.mp4", prefix + "/1",
		prefix + "/-1", prefix + "/99999999999999999999999", prefix + "/00x", prefix + "/.vtt", prefix + "/a.mp4.vtt",
		prefix + ".m3u8/x", prefix + ".m3u9", "/t/", "/t", "/t/.m3u8", "/t//a.mp4", "/t/" + strings.Repeat("f", 40) + "/0",
		"/t/%2e%2e/x", "//", "/index.html", "/style.css/..", "/debug/pprof/", "/%2e%2e/go.mod", "/t/" + strings.Repeat("a/", 5000),
	} {
		res := rawRequest(t, base, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusBadRequest {
			t.Errorf("%.80s: %s", path, res.Status)
		}
	}
}

func TestHostAndTokenGuardEverything(t *testing.T) {
	torrent := newTorrent(newFile("a.mp4", []byte("x")).complete())
	s, base := serve(t, stream.Config{Token: "s & t"}, torrent)
	links := s.LinksAt(base)
	for _, link := range []string{links.Index(), links.Torrent(torrent), links.File(torrent, 0),
		links.Playlist(torrent), links.PlaylistOfAll(), links.Stats(torrent)} {
		if res := do(t, http.MethodGet, link); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", link, res.Status)
		}
		if res := do(t, http.MethodGet, link, "Host", "evil.example"); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s with a foreign Host: %s", link, res.Status)
		}
		bare, _, _ := strings.Cut(link, "?")
		if res := do(t, http.MethodGet, bare); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", bare, res.Status)
		}
		if res := do(t, http.MethodGet, bare, "Authorization", "Bearer s & t"); res.StatusCode != http.StatusOK {
			t.Errorf("%s with a bearer token: %s", bare, res.Status)
		}
	}
	if list := bodyOf(t, do(t, http.MethodGet, links.Playlist(torrent))); !strings.Contains(list, "/a.mp4?token=s+%26+t\n") {
		t.Errorf("the playlist's URLs lack the token:\n%s", list)
	}
}

func TestMethods(t *testing.T) {
	_, base := serve(t, stream.Config{}, newTorrent(newFile("a.mp4", []byte("x")).complete()))
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"} {
		res := do(t, method, base+"/t/"+fakeHash+"/0")
		if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s: %s, Allow %q", method, res.Status, res.Header.Get("Allow"))
		}
	}
	if res := do(t, http.MethodOptions, base+"/"); res.StatusCode != http.StatusNoContent {
		t.Errorf("OPTIONS: %s", res.Status)
	}
}

func TestFileHeaders(t *testing.T) {
	names := []string{"a.mkv", "page.html", "a.svg", "cover.jpg", `na"me 100%;x.mp4`, "日本.mp3"}
	var files []*fakeFile
	for _, n := range names {
		files = append(files, newFile(n, []byte("x")).complete())
	}
	_, base := serve(t, stream.Config{}, newTorrent(files...))
	for i, want := range []struct{ kind, disposition string }{
		{"video/x-matroska", `inline; filename="a.mkv"`},
		{"application/octet-stream", `attachment; filename="page.html"`},
		{"application/octet-stream", `attachment; filename="a.svg"`},
		{"image/jpeg", `inline; filename="cover.jpg"`},
		{"video/mp4", `inline; filename="na_me 100__x.mp4"; filename*=UTF-8''na%22me%20100%25%3Bx.mp4`},
		{"audio/mpeg", `inline; filename="__.mp3"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.mp3`},
	} {
		h := do(t, http.MethodHead, fmt.Sprint(base, "/t/", fakeHash, "/", i)).Header
		if h.Get("Content-Type") != want.kind || h.Get("Content-Disposition") != want.disposition {
			t.Errorf("%s: %s, %s", names[i], h.Get("Content-Type"), h.Get("Content-Disposition"))
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s: %v", names[i], h)
		}
	}
	if got := do(t, http.MethodHead, base+"/t/"+fakeHash+"/0?download=1").Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment") {
		t.Errorf("download=1: %s", got)
	}
}

func TestDLNA(t *testing.T) {
	_, base := serve(t, stream.Config{}, newTorrent(newFile("a.mp4", []byte("x")).complete(), newFile("a.jpg", []byte("x")).complete()))
	for _, tc := range []struct {
		index  int
		mode   string
		status int
		want   string
	}{
		{0, "Streaming", 200, "Streaming"},
		{0, "streaming", 200, "Streaming"},
		{0, "Background", 200, "Background"},
		{0, "Interactive", 406, ""},
		{1, "Interactive", 200, "Interactive"},
		{1, "Streaming", 406, ""},
		{0, "Teleport", 400, ""},
		{0, "", 200, ""},
	} {
		res := do(t, http.MethodHead, fmt.Sprint(base, "/t/", fakeHash, "/", tc.index),
			"transferMode.dlna.org", tc.mode, "getcontentFeatures.dlna.org", "1")
		if got := res.Header.Get("transferMode.dlna.org"); res.StatusCode != tc.status || got != tc.want {
			t.Errorf("%d %q: %s, %q", tc.index, tc.mode, res.Status, got)
		}
		if got := res.Header.Get("contentFeatures.dlna.org"); !strings.HasPrefix(got, "DLNA.ORG_OP=01;") {
			t.Errorf("contentFeatures: %q", got)
		}
	}
	if h := do(t, http.MethodHead, base+"/t/"+fakeHash+"/0").Header; h.Get("contentFeatures.dlna.org") != "" {
		t.Errorf("DLNA headers that nobody asked for: %v", h)
	}
}

func TestPlaylist(t *testing.T) {
	torrent := newTorrent(newFile("10 zehn.mp3", nil), newFile("2 zwei\nTricky.mp3", nil), newFile("cover.jpg", nil),
		newFile("Bonus #1.mkv", nil))
	other := newTorrent(newFile("film.mp4", nil))
	other.hash, other.name = strings.Repeat("ab", 20), "Other"
	_, base := serve(t, stream.Config{}, torrent, other)
	album := "#EXTINF:-1,2 zwei Tricky\n" + base + "/t/" + fakeHash + "/2%20zwei%0ATricky.mp3\n" +
		"#EXTINF:-1,10 zehn\n" + base + "/t/" + fakeHash + "/10%20zehn.mp3\n" +
		"#EXTINF:-1,Bonus #1\n" + base + "/t/" + fakeHash + "/Bonus%20%231.mkv\n"
	if got := bodyOf(t, do(t, http.MethodGet, base+"/t/"+fakeHash+".m3u8")); got != "#EXTM3U\n"+album {
		t.Errorf("got\n%s", got)
	}
	all := "#EXTM3U\n" + album + "#EXTINF:-1,film\n" + base + "/t/" + other.hash + "/film.mp4\n"
	if got := bodyOf(t, do(t, http.MethodGet, base+"/playlist.m3u8")); got != all {
		t.Errorf("got\n%s", got)
	}
}

func TestSubtitlesAsWebVTT(t *testing.T) {
	srt := "1\r\n00:00:01,000 --> 00:00:02,000\r\nGr\xfc\xdfe\r\n"
	torrent := newTorrent(newFile("Film.mkv", nil), newFile("Subs/Film.srt", []byte(srt)).complete(),
		newFile("broken.ass", []byte("[Events]\nDialogue: 0,x\n")).complete(), newFile("big.srt", make([]byte, 9<<20)).complete())
	s, base := serve(t, stream.Config{}, torrent)
	for _, path := range []string{"1.vtt", "Subs/Film.srt.vtt", "Subs/Film.vtt", "A%20Torrent/Subs/Film.vtt"} {
		res := do(t, http.MethodGet, base+"/t/"+fakeHash+"/"+path)
		body := bodyOf(t, res)
		if res.StatusCode != 200 || !strings.HasPrefix(body, "WEBVTT\n") || !strings.Contains(body, "Grüße") {
			t.Errorf("%s: %s\n%s", path, res.Status, body)
		}
		if res.Header.Get("Content-Type") != "text/vtt; charset=utf-8" {
			t.Errorf("%s: %v", path, res.Header)
		}
	}
	if link := s.LinksAt(base).Subtitle(torrent, 1); !strings.HasSuffix(link, "/Subs/Film.srt.vtt") {
		t.Errorf("link %s", link)
	}
	for path, want := range map[string]int{"broken.ass.vtt": 422, "big.srt.vtt": 422, "Film.mkv.vtt": 404} {
		if res := do(t, http.MethodGet, base+"/t/"+fakeHash+"/"+path); res.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, res.Status, want)
		}
	}
}

// TestPagesLeavePaddingOut, and number the files as everything else does.
func TestPagesLeavePaddingOut(t *testing.T) {
	_, base := serve(t, stream.Config{}, newTorrent(
		newFile("a.mkv", []byte("a")), newFile(".pad/16383", []byte("0")), newFile("b.mkv", []byte("b")),
	))
	page := bodyOf(t, do(t, http.MethodGet, base+"/"))
	if strings.Contains(page, ".pad") || !strings.Contains(page, `<li value="2" class="video">`) || !strings.Contains(page, "2 files") {
		t.Errorf("got %s", page)
	}
}

func TestPagesEscapeEverything(t *testing.T) {
	torrent := awkwardTorrent()
	torrent.name = `"><img src=x onerror=alert(1)>`
	_, base := serve(t, stream.Config{}, torrent)
	for _, path := range []string{"/", "/t/" + fakeHash, "/t/" + fakeHash + "/"} {
		res := do(t, http.MethodGet, base+path)
		body := bodyOf(t, res)
		if res.StatusCode != 200 || strings.Contains(body, "<img") || strings.Contains(body, "<script") {
			t.Errorf("%s: %s\n%s", path, res.Status, body)
		}
		if !strings.Contains(body, "/with%20space.mp4") || !strings.Contains(body, `class="video"`) {
			t.Errorf("%s lacks its files", path)
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	if res := do(t, http.MethodGet, base+"/style.css"); res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("style: %s %v", res.Status, res.Header)
	}
}

func TestStatsTellOfEachReader(t *testing.T) {
	file := newFile("a.mp4", randomBytes(4<<20))
	for i := range 40 { // 1.25 of 4 MiB
		file.verify(i)
	}
	_, base := serve(t, stream.Config{}, newTorrent(file))
	res := do(t, http.MethodGet, base+"/t/"+fakeHash+"/0", "User-Agent", "player/1")
	if _, err := io.CopyN(io.Discard, res.Body, 40*fakePiece); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Readers []stream.ReaderStats
	}
	var got answer
	for deadline := time.Now().Add(10 * time.Second); ; {
		got = answer{}
		if err := json.Unmarshal([]byte(bodyOf(t, do(t, http.MethodGet, base+"/t/"+fakeHash+"/stats.json"))), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Readers) == 1 && got.Readers[0].Stalls == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no stall was counted: %+v", got)
		}
	}
	r := got.Readers[0]
	if r.Position != 40*fakePiece || r.Sent != r.Position || r.Buffered != 0 || !r.Waiting || r.Agent != "player/1" ||
		r.Window < 2*fakePiece || r.StalledSeconds < 0.5 || r.File != "a.mp4" || r.Length != 4<<20 {
		t.Errorf("got %+v", r)
	}
}

func FuzzPath(f *testing.F) {
	torrent := awkwardTorrent()
	for _, name := range awkward {
		f.Add("/t/"+fakeHash+"/"+name, "")
		f.Add("/t/"+fakeHash+"/"+url.PathEscape(name)+".vtt", "q=%zz")
	}
	s := stream.New(stream.Config{Torrents: func() []stream.Torrent { return []stream.Torrent{torrent} }})
	defer s.Close()
	f.Fuzz(func(t *testing.T, path, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = &url.URL{Path: path, RawPath: path, RawQuery: query}
		r.Host = "localhost"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%q?%q: status %d", path, query, w.Code)
		}
	})
}
