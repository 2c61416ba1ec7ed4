package web_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/web"
	"github.com/causeway-bt/causeway/web/testhost"
)

func TestConvertsWhatTheBrowserCannotPlay(t *testing.T) {
	for _, browser := range []realpeer.Program{realpeer.Chromium, realpeer.Firefox} {
		t.Run(string(browser), func(t *testing.T) {
			needPage(t, browser)
			file := mediaFile(t, "dolby.mkv")
			host, tracker := share(t, testhost.Options{Path: file})
			seed(t, host, file, tracker)
			var p played
			do(t, browser, "plays", host.URL(), &p, map[string]any{"tracks": false}, nil)
			if !strings.HasPrefix(p.Video.Src, "blob:") || !strings.Contains(p.Notice, "AC-3") {
				t.Errorf("it played %s and said %q", p.Video.Src, p.Notice)
			}
			if browser == realpeer.Chromium && p.Video.Decoded == 0 {
				t.Error("there was no sound")
			}
			if p.Sought.Took*processorShare() > 2*maxSeek {
				t.Errorf("a seek took %.0f ms", p.Sought.Took)
			}
		})
	}
}

func TestDrawsASS(t *testing.T) {
	needPage(t, realpeer.Chromium)
	ass := filepath.Join(t.TempDir(), "dropped.ass")
	script := `[Script Info]
ScriptType: v4.00+
PlayResX: 640
PlayResY: 360

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,60,&H0000FFFF,&H000000FF,&H00000000,&H00000000,1,0,0,0,100,100,0,0,1,2,0,5,10,10,20,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.00,0:00:29.00,Default,,0,0,0,,Drawn by libass
`
	if err := os.WriteFile(ass, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := folderOf(t, "dark.mp4")
	host, _ := share(t, testhost.Options{Path: dir})
	var found struct{ Early, Yellow int }
	do(t, realpeer.Chromium, "draws", host.URL(), &found, map[string]any{"file": ass}, nil)
	if found.Early != 0 {
		t.Error("the renderer was loaded before there was anything to render")
	}
	const least = 500
	if found.Yellow < least {
		t.Errorf("%d pixels are yellow", found.Yellow)
	}
}

func TestShowsTextAndImages(t *testing.T) {
	needPage(t, realpeer.Chromium)
	dir := folderOf(t, "picture.png")
	for name, content := range map[string]string{"notes.txt": "Grüße <b>not bold</b>\n", "other.bin": "\x00\x01"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, _ := share(t, testhost.Options{Path: dir})
	var found struct {
		Text  string
		Width int
		Card  string
	}
	do(t, realpeer.Chromium, "shows", host.URL(), &found, map[string]any{"hashes": []string{"#0", "#2", "#1"}}, nil)
	if found.Text != "Grüße <b>not bold</b>\n" || found.Width != 320 || !strings.Contains(found.Card, "Download it") {
		t.Errorf("it showed %+v", found)
	}
}

func TestHostileNamesAreText(t *testing.T) {
	needPage(t, realpeer.Chromium)
	dir := filepath.Join(t.TempDir(), `<img src=x onerror=attacked=true>`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	names := []string{
		`<img src=x onerror="attacked=true">.mp4`,
		"evil\u202e4pm.exe",
		`"><script>attacked=true<`,
		strings.Repeat("long ", 50) + ".txt",
		"%2e%2e%2f#?&.txt",
		"\u202e\u200f\u200e.mkv",
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := filepath.Join(dir, strings.Repeat("d", 250), strings.Repeat("e", 250), strings.Repeat("f", 250))
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(long, "deep.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	host, _ := share(t, testhost.Options{Path: dir})
	var found struct {
		Attacked, Isolated bool
		Images, Scripts    int
		Names              []string
		Tallest            float64
		Wide               int
	}
	do(t, realpeer.Chromium, "names", host.URL(), &found, nil, nil)
	if found.Attacked || found.Images != 0 || found.Scripts != 1 || !found.Isolated || found.Wide > 0 {
		t.Errorf("hostile names did %+v", found)
	}
	all := strings.Join(found.Names, "\n")
	if !strings.Contains(all, names[0]) || strings.ContainsAny(all, "\u202e\u200f\u200e") {
		t.Errorf("names are shown as %q", all)
	}
	const tallest = 80 // px: two lines
	if found.Tallest > tallest {
		t.Errorf("a name takes %.0f pixels", found.Tallest)
	}
}

func TestReceivesByUpload(t *testing.T) {
	needPage(t, realpeer.Chromium)
	folder := t.TempDir()
	host, _ := share(t, testhost.Options{Path: mediaFile(t, "clip.en.srt"), Receive: folder})
	const length = 3 << 20
	var found struct{ Said string }
	do(t, realpeer.Chromium, "sends", host.URL(), &found, map[string]any{"name": "letter.bin", "length": length}, nil)
	if !strings.Contains(found.Said, "Received") || fileSize(t, filepath.Join(folder, "letter.bin")) != length {
		t.Errorf("it said %q", found.Said)
	}
}

// TestReceivesFromThePageItself has Causeway fetch what the page seeds.
func TestReceivesFromThePageItself(t *testing.T) {
	needPage(t, realpeer.Chromium)
	program, err := causeway()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	var host *testhost.Host
	var tracker *realpeer.WebTracker
	host, tracker = share(t, testhost.Options{
		Path: mediaFile(t, "clip.en.srt"), Receive: t.TempDir(),
		Fetch: func(torrent []byte) {
			file := filepath.Join(folder, "sent.torrent")
			if err := os.WriteFile(file, torrent, 0o600); err != nil {
				t.Error(err)
			}
			run, err := cli.Start(program, "download", file, "-o", folder, "--listen", "127.0.0.1", "--port", "0", "--no-dht", "--no-lsd",
				"--no-webrtc=false", "--stun", "stun:127.0.0.1:9", "--state", t.TempDir(), "--tracker", tracker.URL)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(run.Stop)
			go func() {
				if _, err := run.WaitEvent(t.Context(), "complete"); err == nil {
					host.Saved()
				}
			}()
		},
	})
	const length = 5 << 20
	var found struct{ Said string }
	do(t, realpeer.Chromium, "sends", host.URL(), &found, map[string]any{"name": "letter.bin", "length": length}, nil)
	content, err := os.ReadFile(filepath.Join(folder, "letter.bin"))
	if err != nil || len(content) != length || !strings.Contains(found.Said, "directly") {
		t.Fatalf("it said %q, and %d bytes are there: %v", found.Said, len(content), err)
	}
	for i, b := range content {
		if int(b) != i*7%251 {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

func TestDownloadsAllAsZip(t *testing.T) {
	needPage(t, realpeer.Chromium)
	dir := folderOf(t, "film.mp4", "clip.webm", "film.en.srt")
	host, tracker := share(t, testhost.Options{Path: dir})
	seed(t, host, dir, tracker)
	folder := t.TempDir()
	var found struct{ Name string }
	do(t, realpeer.Chromium, "downloads", host.URL(), &found, map[string]any{"folder": folder, "selector": "#download-all", "name": "shared.zip"}, nil)
	archive, err := zip.OpenReader(filepath.Join(folder, "shared.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, name := range []string{"film.mp4", "clip.webm", "film.en.srt"} {
		inside, err := archive.Open("shared/" + name)
		if err != nil {
			t.Error(err)
			continue
		}
		content, err := io.ReadAll(inside) // checks its CRC, too
		original, _ := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(content, original) {
			t.Errorf("%s differs in the archive: %v", name, err)
		}
	}
}

// TestAccessibleInAllItsLooks has axe-core judge the page: light and dark, desktop and
// phone, a film, a folder, text, and a place to send to.
func TestAccessibleInAllItsLooks(t *testing.T) {
	for name, more := range map[string]map[string]any{
		"light":       {},
		"dark":        {"dark": true},
		"dark, phone": {"dark": true, "phone": true},
	} {
		t.Run(name, func(t *testing.T) {
			needPage(t, realpeer.Chromium)
			dir := folderOf(t, "clip.webm", "film.mp4", "film.en.srt")
			if err := os.Mkdir(filepath.Join(dir, "more"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "more", "notes.txt"), []byte("words"), 0o600); err != nil {
				t.Fatal(err)
			}
			host, _ := share(t, testhost.Options{Path: dir, Receive: t.TempDir()})
			more["hashes"] = []string{"", "#3"}
			var found struct {
				Violations []string
				Passes     int
			}
			do(t, realpeer.Chromium, "judges", host.URL(), &found, more, nil)
			const least = 60 // rules, of two states of two pages
			if found.Passes < least {
				t.Errorf("only %d rules were looked at", found.Passes)
			}
			for _, v := range found.Violations {
				t.Error(v)
			}
		})
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestPlaysWithoutTheBundle has the sources themselves served, as a program does that was
// built where there was no npm.
func TestPlaysWithoutTheBundle(t *testing.T) {
	for _, browser := range []realpeer.Program{realpeer.Chromium, realpeer.Firefox} {
		t.Run(string(browser), func(t *testing.T) {
			needPage(t, browser)
			host, _ := share(t, testhost.Options{Path: mediaFile(t, "clip.webm")})
			files := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host.Addr})
			page := web.NewUnbuilt(web.Options{
				Share:  func(*http.Request) web.Share { return host.Share() },
				Status: func(*http.Request) web.Status { return web.Status{Run: "once"} },
			})
			mux := http.NewServeMux()
			mux.Handle("/", page)
			mux.Handle("/f/", files)
			mux.Handle("/t/", files)
			server := httptest.NewServer(mux)
			defer server.Close()
			fallsBack(t, browser, server.URL, "built without the part")
		})
	}
}

// TestPlaysWithoutEncryption opens the page by a name that is no loopback address for the
// browser, which gives it no service worker.
func TestPlaysWithoutEncryption(t *testing.T) {
	needPage(t, realpeer.Chromium)
	host, _ := share(t, testhost.Options{Path: mediaFile(t, "film.mp4")})
	_, port, err := net.SplitHostPort(host.Addr)
	if err != nil {
		t.Fatal(err)
	}
	fallsBack(t, realpeer.Chromium, "http://film.test:"+port+"/", "no encryption", "--host-resolver-rules=MAP film.test 127.0.0.1")
}

func fallsBack(t *testing.T, browser realpeer.Program, url, words string, flags ...string) {
	t.Helper()
	var found struct {
		Notice, Src string
		Sought      struct{ Took float64 }
	}
	do(t, browser, "fallsBack", url, &found, map[string]any{"flags": append([]string{}, flags...)}, nil)
	if !strings.Contains(found.Notice, words) || strings.Contains(found.Src, "/~/") || found.Sought.Took*processorShare() > maxSeek {
		t.Errorf("it found %+v", found)
	}
}

func TestKeepsWithinItsBound(t *testing.T) {
	needPage(t, realpeer.Chromium)
	file := mediaFile(t, "film.mp4")
	host, tracker := share(t, testhost.Options{Path: file})
	seed(t, host, file, tracker)
	const limit = 2_000_000
	var found struct {
		Most, Files int64
		Came        struct{ Host, Causeway int64 }
	}
	do(t, realpeer.Chromium, "bounded", host.URL(), &found, map[string]any{"limit": limit}, nil)
	// It is read from three places, each of which may come once more.
	if all := found.Came.Host + found.Came.Causeway; all > 3*fileSize(t, file) {
		t.Errorf("%d bytes came", all)
	}
}

func TestForgets(t *testing.T) {
	needPage(t, realpeer.Chromium)
	host, _ := share(t, testhost.Options{Path: mediaFile(t, "film.mp4")})
	var found struct{ Figures figures }
	do(t, realpeer.Chromium, "forgets", host.URL(), &found, nil, nil)
	if found.Figures.Kept != 0 {
		t.Errorf("%d bytes were still there", found.Figures.Kept)
	}
}

// TestReadsDoNotWaitForTheStorage: what came of late is in memory; and a read brings more than the
// one piece that it waits for.
func TestReadsDoNotWaitForTheStorage(t *testing.T) {
	needPage(t, realpeer.Chromium)
	host, _ := share(t, testhost.Options{Path: mediaFile(t, "film.mp4")})
	const slow = 5000 // ms
	var found struct {
		Took   float64 // ms
		Length int     // bytes
	}
	do(t, realpeer.Chromium, "reads", host.URL(), &found, map[string]any{"slow": slow}, nil)
	if found.Took >= slow || found.Length != 512<<10 {
		t.Errorf("%d bytes took %.0f ms", found.Length, found.Took)
	}
}

// beside serves a host's files below another description of them.
func beside(t *testing.T, host *testhost.Host, describe func() web.Share, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	files := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host.Addr})
	mux := http.NewServeMux()
	mux.Handle("/", wrap(web.New(web.Options{
		Share:  func(*http.Request) web.Share { return describe() },
		Status: func(*http.Request) web.Status { return web.Status{Run: "once"} },
	})))
	mux.Handle("/f/", files)
	mux.Handle("/t/", files)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/"
}

func TestListsSeveralTorrents(t *testing.T) {
	needPage(t, realpeer.Chromium)
	host, _ := share(t, testhost.Options{Path: mediaFile(t, "film.mp4")})
	url := beside(t, host, func() web.Share {
		s := host.Share()
		s.Torrents = append(s.Torrents, web.Torrent{InfoHash: strings.Repeat("ab", 20), Name: "<b>not yet</b>", Pending: true})
		return s
	}, func(h http.Handler) http.Handler { return h })
	var found struct {
		Rows []string
		Hash string
		Back string
	}
	do(t, realpeer.Chromium, "lists", url, &found, nil, nil)
	if len(found.Rows) != 2 || !strings.Contains(found.Rows[1], "<b>not yet</b>") || found.Hash != "#"+host.InfoHash || found.Back == "" {
		t.Errorf("it found %+v", found)
	}
}

func TestTellsThatTheShareHasEnded(t *testing.T) {
	needPage(t, realpeer.Chromium)
	host, _ := share(t, testhost.Options{Path: mediaFile(t, "film.mp4")})
	url := beside(t, host, host.Share, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/share.json" {
				http.Error(w, "ended", http.StatusGone)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	var found struct{ Said string }
	do(t, realpeer.Chromium, "tells", url, &found, map[string]any{"words": "This share has ended"}, nil)
}
