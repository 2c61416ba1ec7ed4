package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/client/meta"
)

// nosyPage tries all that a page may to get at a stream of another origin, by the URLs
// of a film, of a picture and of the folder, and reports what succeeded.
const nosyPage = `<!doctype html>
<meta charset="utf-8">
<body>
<script type="module">
const [film, picture, folder] = %s
const got = []
const attempt = async (name, run) => { try { if (await run()) got.push(name) } catch { /* refused */ } }
const element = (tag, url, loaded, more) => new Promise((resolve, reject) => {
  const e = Object.assign(document.createElement(tag), { ...more, [loaded]: () => resolve(true), onerror: reject })
  if (tag === 'script') e.type = 'text/javascript'
  e.src = url
  document.body.append(e)
})
await attempt('fetch', async () => (await fetch(film)).ok)
await attempt('range', async () => {
  const r = await fetch(film, { headers: { Range: 'bytes=1-9', 'Cache-Control': 'no-store' } })
  return r.status === 206 && (await r.arrayBuffer()).byteLength === 9 && r.headers.get('Content-Range').startsWith('bytes 1-9/')
})
await attempt('stats', async () => (await fetch(folder + '/stats.json')).ok)
await attempt('playlist', async () => (await fetch(folder + '.m3u8')).ok)
await attempt('opaque', async () => { await fetch(film, { mode: 'no-cors' }); return true })
await attempt('picture', () => element('img', picture, 'onload'))
await attempt('picture with CORS', () => element('img', picture, 'onload', { crossOrigin: 'anonymous' }))
await attempt('video', () => element('video', film, 'onloadedmetadata'))
await attempt('video with CORS', () => element('video', film, 'onloadedmetadata', { crossOrigin: 'anonymous' }))
await fetch('/event', { method: 'POST', body: JSON.stringify({ page: 0, event: 'tried', message: got.join(', ') }) })
</script>`

// smallFilm makes a folder with a film that browsers play, and a picture, and returns
// the folder around it.
func smallFilm(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "Films"), 0o755); err != nil {
		t.Fatal(err)
	}
	picture := "testsrc=size=160x120:rate=25:duration=3"
	tool(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-c:v", "libvpx", "-b:v", "300k", filepath.Join(root, "Films", "film.webm"))
	tool(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-frames:v", "1", filepath.Join(root, "Films", "cover.png"))
	encoded, err := meta.Create(t.Context(), filepath.Join(root, "Films"), meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "films.torrent"), encoded, 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

// A page of another origin gets nothing at all of a stream, whatever it tries, unless
// --allow-origin lets all.
func TestBrowserKeepsStreamFromForeignPages(t *testing.T) {
	realpeer.Need(t, realpeer.Chromium, realpeer.WebTorrent)
	root := smallFilm(t)
	for _, browser := range []realpeer.Program{realpeer.Chromium, realpeer.Firefox} {
		for _, test := range []struct{ name, flag, want string }{
			{"by default", "--allow-origin=https://another.example", "opaque"},
			{"allowed", "--allow-origin=*", "fetch, range, opaque, picture, picture with CORS, video, video with CORS"},
		} {
			t.Run(fmt.Sprint(browser, " ", test.name), func(t *testing.T) {
				run := start(t, "stream", filepath.Join(root, "films.torrent"), "-o", root, "--no-dht", "--no-trackers", "--no-lsd",
					"--listen", "127.0.0.1", "--port", "0", "--http", "127.0.0.1:0", test.flag)
				serving, err := run.WaitEvent(within(t, patience), "serving")
				if err != nil {
					t.Fatal(err)
				}
				folder, _, _ := strings.Cut(serving.URL, "/film.webm")
				urls, err := json.Marshal([]string{serving.URL, folder + "/cover.png", folder})
				if err != nil {
					t.Fatal(err)
				}
				b := realpeer.StartBrowser(t, realpeer.BrowserOptions{Browser: browser, HTML: fmt.Sprintf(nosyPage, urls)})
				tried, err := b.WaitPage(within(t, patience), 0, "tried")
				if err != nil {
					t.Fatal(err)
				}
				// An opaque answer is unreadable: what it has is only that it came.
				got := strings.TrimPrefix(tried.Message, "opaque")
				if want := strings.TrimPrefix(test.want, "opaque"); got != want {
					t.Errorf("a page of another origin succeeded with %q, want %q", tried.Message, test.want)
				}
			})
		}
	}
}

// Somebody who opens a film's address in a browser sees it: the browser's own player
// asks for it anew, as a page of ours.
func TestBrowserPlaysWhatIsOpened(t *testing.T) {
	realpeer.Need(t, realpeer.Chromium, realpeer.WebTorrent)
	root := smallFilm(t)
	run := start(t, "stream", filepath.Join(root, "films.torrent"), "-o", root, "--no-dht", "--no-trackers", "--no-lsd",
		"--listen", "127.0.0.1", "--port", "0", "--http", "127.0.0.1:0")
	serving, err := run.WaitEvent(within(t, patience), "serving")
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(serving.URL)
	if err != nil {
		t.Fatal(err)
	}
	var asked proc.Journal[string]
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", target.Host
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			asked.Add(fmt.Sprint(r.Request.Header.Get("Sec-Fetch-Dest"), " ", r.StatusCode))
			return nil
		},
	}
	between := httptest.NewServer(proxy)
	defer between.Close()
	b := realpeer.StartBrowser(t, realpeer.BrowserOptions{
		Browser: realpeer.Chromium, HTML: "<!doctype html>", Typed: []string{between.URL + target.Path},
	})
	defer b.Stop()
	answer, err := asked.Wait(within(t, patience), "the player to ask", func(answer string) bool {
		return strings.HasPrefix(answer, "video ")
	})
	if err != nil {
		t.Fatalf("%v; the browser got %q", err, asked.All())
	}
	switch answer {
	case "video 200", "video 206", "video 304": // it may have begun to keep the film
	default:
		t.Errorf("the player got %q", answer)
	}
}
