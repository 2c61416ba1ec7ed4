package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/web"
)

// onLoopback keeps a share on the loopback interface, at any ports.
var onLoopback = append([]string{"--http", "127.0.0.1:0", "--no-dht"}, base...)

// sharing starts a share and returns it with its link.
func sharing(t *testing.T, flags ...string) (*cli.Run, string) {
	t.Helper()
	run := start(t, args([]string{"share"}, flags)...)
	serving, err := run.WaitEvent(within(t, patience), "serving")
	if err != nil {
		t.Fatal(err)
	}
	return run, serving.URL
}

// fetched makes a request, as a browser's page does, and returns status and body.
func fetched(t *testing.T, method, link string, body io.Reader, prepare func(*http.Request)) (int, http.Header, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t, patience), method, link, body)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(request)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, content
}

func described(t *testing.T, link string) (s web.Share) {
	t.Helper()
	status, _, body := fetched(t, "GET", link+"share.json", nil, nil)
	if err := json.Unmarshal(body, &s); err != nil || status != 200 {
		t.Fatalf("share.json: %d %v %s", status, err, body)
	}
	return s
}

// at resolves a link of a page.
func at(t *testing.T, link, reference string) string {
	t.Helper()
	base, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	to, err := base.Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	return to.String()
}

// TestShareServesFilesTorrentAndTracker: what the page is told leads to the bytes, by HTTP
// and, for classic programs, by the torrent.
func TestShareServesFilesTorrentAndTracker(t *testing.T) {
	tor := mixed(t)
	content := filepath.Join(tor.Dir, "content")
	_, link := sharing(t, args([]string{content}, onLoopback)...)
	status, header, page := fetched(t, "GET", link, nil, nil)
	if policy := header.Get("Content-Security-Policy"); status != 200 || !strings.Contains(policy, "default-src 'none'") || !bytes.Contains(page, []byte("Causeway")) {
		t.Errorf("the page: %d, policy %q", status, policy)
	}
	s := described(t, link)
	if len(s.Torrents) != 1 || len(s.Announce) != 1 || s.Page == "" {
		t.Fatalf("share.json: %+v", s)
	}
	for _, file := range s.Torrents[0].Files {
		status, _, body := fetched(t, "GET", at(t, link, file.URL), nil, nil)
		want, err := os.ReadFile(filepath.Join(content, filepath.FromSlash(file.Path)))
		if err != nil || status != 200 || !bytes.Equal(body, want) {
			t.Errorf("%s: %d, %d bytes, %v", file.Path, status, len(body), err)
		}
	}
	_, _, encoded := fetched(t, "GET", at(t, link, s.Torrents[0].Torrent), nil, nil)
	parsed, err := meta.ParseTorrent(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.WebSeeds) != 1 || len(parsed.Trackers) != 2 {
		t.Errorf("the torrent leads to %v and %v", parsed.Trackers, parsed.WebSeeds)
	}
	// Somebody who knows no peer downloads by the torrent: the tracker counts him.
	torrent := filepath.Join(t.TempDir(), "x.torrent")
	if err := os.WriteFile(torrent, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	leech := start(t, args([]string{"download", torrent, "-o", t.TempDir(), "--no-dht"}, base)...)
	if _, err := leech.WaitFor(within(t, patience), "a reply of the share's tracker", func(e cli.Event) bool {
		return e.Event == "tracker" && e.State == "ok" && strings.HasPrefix(e.URL, "http://")
	}); err != nil {
		t.Error(err)
	}
	waitExit(t, leech, 0)
	for _, other := range []string{"announce?info_hash=%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11%12%13%14&peer_id=aaaaaaaaaaaaaaaaaaaa&port=1&left=0"} {
		if _, _, body := fetched(t, "GET", link+other, nil, nil); !bytes.Contains(body, []byte("not shared here")) {
			t.Errorf("the tracker is open to all: %q", body)
		}
	}
	if status, _, _ := fetched(t, "GET", link, nil, func(r *http.Request) { r.Host = "evil.example" }); status != 403 {
		t.Errorf("a foreign Host: %d", status)
	}
}

// TestShareOfSeveralSources: a file and a magnet link whose metadata comes from a peer are on one
// page, with the bytes of both.
func TestShareOfSeveralSources(t *testing.T) {
	file, remote := single(t, 100_000), single(t, 300_000)
	_, seeder := seed(t, remote, alone...)
	_, link := sharing(t, args([]string{file.FilePath(file.Dir, 0), remote.Magnet(seeder), "-o", t.TempDir()}, onLoopback)...)
	eventually(t, patience, "both are described", func() bool {
		s := described(t, link)
		return len(s.Torrents) == 2 && len(s.Torrents[0].Files) == 1 && len(s.Torrents[1].Files) == 1
	})
	for i, tor := range []*fixture.Torrent{file, remote} {
		shared := described(t, link).Torrents[i].Files[0]
		want, err := os.ReadFile(tor.FilePath(tor.Dir, 0))
		if err != nil {
			t.Fatal(err)
		}
		if status, _, body := fetched(t, "GET", at(t, link, shared.URL), nil, nil); status != 200 || !bytes.Equal(body, want) {
			t.Errorf("source %d: %d, %d of %d bytes", i, status, len(body), len(want))
		}
	}
}

// TestShareGivesTheSameLinkAgain: also when another share runs at the same time.
func TestShareGivesTheSameLinkAgain(t *testing.T) {
	first, second := single(t, 300_000), single(t, 200_000)
	state := t.TempDir()
	flags := func(tor *fixture.Torrent) []string {
		return args([]string{filepath.Join(tor.Dir, "content"), "--state", state, "--listen", "127.0.0.1", "--no-dht"})
	}
	run, link := sharing(t, flags(first)...)
	other, otherLink := sharing(t, flags(second)...)
	before, _ := run.Last("serving")
	listening, _ := run.Last("listening")
	if link == otherLink {
		t.Fatalf("two shares have the link %s", link)
	}
	for l, length := range map[string]int64{link: 300_000, otherLink: 200_000} {
		if s := described(t, l); s.Torrents[0].Length != length {
			t.Errorf("%s has %d bytes", l, s.Torrents[0].Length)
		}
	}
	run.Stop()
	if s := described(t, otherLink); s.Torrents[0].Length != 200_000 {
		t.Error("the end of one share changed the other")
	}
	again, sameLink := sharing(t, flags(first)...)
	after, _ := again.Last("serving")
	ports, _ := again.Last("listening")
	if sameLink != link || after.InfoHash != before.InfoHash || ports.UDP != listening.UDP {
		t.Errorf("the link was %s (%s, %s) and is %s (%s, %s)", link, before.InfoHash, listening.UDP, sameLink, after.InfoHash, ports.UDP)
	}
	other.Stop()
}

// TestShareEnds: by its time, and by its views; with status 0, after telling pages so.
func TestShareEnds(t *testing.T) {
	t.Parallel()
	content := filepath.Join(single(t, 100_000).Dir, "content")
	t.Run("expire", func(t *testing.T) {
		t.Parallel()
		run, link := sharing(t, args([]string{content, "--expire", "2s"}, onLoopback)...)
		if status, _, _ := fetched(t, "GET", link+"status.json", nil, nil); status != 200 {
			t.Errorf("before: %d", status)
		}
		if _, err := run.WaitEvent(within(t, patience), "ended"); err != nil {
			t.Fatal(err)
		}
		if status, _, _ := fetched(t, "GET", link+"status.json", nil, nil); status != 410 {
			t.Errorf("a page that asks at the end is answered %d", status)
		}
		waitExit(t, run, 0)
	})
	t.Run("views", func(t *testing.T) {
		if testing.Short() {
			t.Skip("takes 80 seconds: not with -short")
		}
		t.Parallel()
		run, link := sharing(t, args([]string{content, "--views", "1"}, onLoopback)...)
		_, header, _ := fetched(t, "GET", link, nil, nil)
		cookie := strings.Split(header.Get("Set-Cookie"), ";")[0]
		if status, _, _ := fetched(t, "GET", link+"share.json", nil, func(r *http.Request) { r.Header.Set("Cookie", cookie) }); status != 200 {
			t.Fatalf("the first view: %d", status)
		}
		if status, _, _ := fetched(t, "GET", link, nil, nil); status != 410 {
			t.Errorf("a second browser: %d", status)
		}
		waitExit(t, run, 0) // 75 seconds after the last question
	})
}

func TestSharePassword(t *testing.T) {
	content := filepath.Join(single(t, 100_000).Dir, "content")
	run, link := sharing(t, args([]string{content, "--password", "open sesame"}, onLoopback)...)
	if _, err := run.WaitFor(within(t, patience), "a warning that nothing is encrypted", func(e cli.Event) bool {
		return e.Event == "warning" && strings.Contains(e.Message, "without encryption")
	}); err != nil {
		t.Error(err)
	}
	torrent, err := run.WaitEvent(within(t, patience), "torrent")
	if err != nil {
		t.Fatal(err)
	}
	file := link + "t/" + torrent.InfoHash + "/0"
	for _, closed := range []string{link, link + "share.json", file, link + "torrent/" + torrent.InfoHash + ".torrent", link + "announce"} {
		if status, _, _ := fetched(t, "GET", closed, nil, nil); status != 401 {
			t.Errorf("%s without the password: %d", closed, status)
		}
	}
	status, header, _ := fetched(t, "POST", link+"login", strings.NewReader("password=open+sesame"), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	})
	if status != 303 {
		t.Fatalf("with it: %d", status)
	}
	cookie := strings.Split(header.Get("Set-Cookie"), ";")[0]
	status, _, body := fetched(t, "GET", file, nil, func(r *http.Request) { r.Header.Set("Cookie", cookie) })
	if status != 200 || len(body) != 100_000 {
		t.Errorf("the file: %d, %d bytes", status, len(body))
	}
	if status, _, _ := fetched(t, "GET", file, nil, func(r *http.Request) { r.SetBasicAuth("", "open sesame") }); status != 200 {
		t.Errorf("a player with the password: %d", status)
	}
	if private, ok := run.Last("torrent"); !ok || !strings.Contains(run.Output(), `"private":true`) {
		t.Errorf("the torrent is open to the DHT: %+v", private)
	}
}

// TestShareOfHostileNames: they are told as they are, lead to their bytes, and to nothing else.
func TestShareOfHostileNames(t *testing.T) {
	root := filepath.Join(t.TempDir(), "<b>names</b>")
	names := []string{`<img src=x onerror=alert(1)>.txt`, "a\u202egpj.exe", strings.Repeat("é", 120), "100% & ?#;.mp4", `"'><script>`, "..%2f..%2fx"}
	for i, name := range names {
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), fmt.Appendf(nil, "file %d", i), 0o600); err != nil {
			t.Skipf("this file system has no such name: %v", err)
		}
	}
	_, link := sharing(t, args([]string{root}, onLoopback)...)
	_, _, page := fetched(t, "GET", link, nil, nil)
	if bytes.Contains(page, []byte("<img src=x")) || bytes.Contains(page, []byte("<b>names")) || bytes.Contains(page, []byte("'><script>")) {
		t.Errorf("names came into the page as HTML:\n%s", page)
	}
	files := described(t, link).Torrents[0].Files
	if len(files) != len(names) {
		t.Errorf("%d files of %d", len(files), len(names))
	}
	for _, file := range files {
		if status, _, body := fetched(t, "GET", at(t, link, file.URL), nil, nil); status != 200 || !bytes.HasPrefix(body, []byte("file ")) {
			t.Errorf("%q by %s: %d %q", file.Path, file.URL, status, body)
		}
	}
	for _, path := range []string{
		"t/x", "t/" + strings.Repeat("0", 40) + "/0", "t/" + described(t, link).Torrents[0].InfoHash + "/99", "t/..%2f..%2fetc%2fpasswd",
		"torrent/%00.torrent", "k/x/announce", "receive/upload", "assets/%2e%2e/x", strings.Repeat("a/", 2000),
	} {
		if status, _, body := fetched(t, "GET", link+path, nil, nil); status != 404 && status != 400 {
			t.Errorf("%.60s: %d %q", path, status, body)
		}
	}
}

// sender sends files over HTTP as the page does.
type sender struct {
	t    *testing.T
	link string
}

func (s sender) ask(method, path string, body io.Reader) (int, web.Receiving, string) {
	s.t.Helper()
	status, _, text := fetched(s.t, method, s.link+"receive/"+path, body, func(r *http.Request) { r.Header.Set("X-Causeway", "page") })
	var state web.Receiving
	if status == 200 {
		if err := json.Unmarshal(text, &state); err != nil {
			s.t.Fatalf("%s: %v", text, err)
		}
	}
	return status, state, string(text)
}

func (s sender) announce(files ...web.UploadFile) (int, web.Receiving, string) {
	s.t.Helper()
	body, err := json.Marshal(web.Upload{Files: files})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.ask("POST", "upload", bytes.NewReader(body))
}

// send sends one file, and returns the last answer.
func (s sender) send(name, content string) (int, web.Receiving, string) {
	s.t.Helper()
	status, state, text := s.announce(web.UploadFile{Name: name, Length: int64(len(content))})
	if status != 200 {
		return status, state, text
	}
	if status, _, text := s.ask("PUT", state.ID+"/0?offset=0", strings.NewReader(content)); status != 200 {
		return status, state, text
	}
	return s.ask("POST", state.ID+"/done", nil)
}

// TestShareReceives: files are saved under names that are safe on every system, and replace
// nothing; what is too much is refused.
func TestShareReceives(t *testing.T) {
	inbox := filepath.Join(t.TempDir(), "inbox")
	run, link := sharing(t, args([]string{"--receive", inbox, "--receive-size", "1M", "--receive-files", "50"}, onLoopback)...)
	if s := described(t, link); s.Receive == nil || s.Receive.MaxBytes != 1<<20 || s.Receive.MaxFiles != 50 {
		t.Errorf("the page is told %+v", s.Receive)
	}
	s := sender{t, link}
	for name, saved := range map[string]string{
		"film.mp4": "film.mp4", "CON": "_CON", "nul.txt": "_nul.txt", ".profile": "_.profile", "a\u202egpj.exe": "a_gpj.exe",
		"new\nline": "new_line", "trailing. . .": "trailing", "C:\\x": "C__x", "Holiday/a.jpg": "Holiday/a.jpg",
	} {
		status, state, text := s.send(name, "of "+name)
		if status != 200 || state.State != web.ReceivingSaved {
			t.Errorf("%q: %d %s", name, status, text)
		}
		if content, err := os.ReadFile(filepath.Join(inbox, saved)); err != nil || string(content) != "of "+name {
			t.Errorf("%q was saved as %q? %q, %v", name, saved, content, err)
		}
	}
	if status, _, text := s.send("film.mp4", "another film.mp4"); status != 200 {
		t.Errorf("a second file of one name: %d %s", status, text)
	}
	for name, content := range map[string]string{"film.mp4": "of film.mp4", "film (2).mp4": "another film.mp4"} {
		if got, err := os.ReadFile(filepath.Join(inbox, name)); err != nil || string(got) != content {
			t.Errorf("%s has %q, %v", name, got, err)
		}
	}
	if _, err := run.WaitFor(within(t, patience), "the last one was received", func(e cli.Event) bool {
		return e.Event == "received" && filepath.Base(e.Path) == "film (2).mp4" && e.Length == int64(len("another film.mp4"))
	}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"../out", "..", "a/../../b", "x/..\\..\\y"} {
		if status, _, text := s.send(name, "x"); status != 400 {
			t.Errorf("%q: %d %s", name, status, text)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(inbox)); err != nil || len(entries) != 1 {
		t.Errorf("something came out of the folder: %v %v", entries, err)
	}
	tiny := make([]web.UploadFile, 10_000)
	for i := range tiny {
		tiny[i] = web.UploadFile{Name: fmt.Sprint(i), Length: 1}
	}
	if status, _, text := s.announce(tiny...); status != 413 || !strings.Contains(text, "too many files") {
		t.Errorf("10,000 tiny files: %d %s", status, text)
	}
	if status, _, text := s.announce(web.UploadFile{Name: "big", Length: 1 << 20}); status != 413 {
		t.Errorf("more than there is room for: %d %s", status, text)
	}
	if status, _, _ := fetched(t, "POST", link+"receive/upload", strings.NewReader(`{"files":[{"name":"x","length":1}]}`), nil); status != 403 {
		t.Errorf("another site's page: %d", status)
	}
}

func TestShareReceivesIntoAFullDisk(t *testing.T) {
	inbox := mount(t, "size=1m")
	run, link := sharing(t, args([]string{"--receive", inbox}, onLoopback)...)
	s := sender{t, link}
	status, _, text := s.send("big", strings.Repeat("x", 2<<20))
	if status != http.StatusInsufficientStorage || !strings.Contains(text, "disk is full") {
		t.Errorf("a file that does not fit: %d %s", status, text)
	}
	if left, err := os.ReadDir(inbox); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if status, _, text := s.send("small", "fits"); status != 200 {
		t.Errorf("one that does: %d %s", status, text)
	}
	select {
	case <-run.Done():
		t.Error("the share has ended")
	default:
	}
}

// TestShareNamesOfItsCertificate: they are in the link, and answered to; others are not.
func TestShareNamesOfItsCertificate(t *testing.T) {
	content := filepath.Join(single(t, 1000).Dir, "content")
	certificate, key := selfSigned(t, "localhost", "*.wild.example", "films.example", "127.0.0.1")
	run, link := sharing(t, args([]string{content, "--tls-cert", certificate, "--tls-key", key}, onLoopback)...)
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "https" || u.Hostname() != "films.example" {
		t.Fatalf("the link is %s, %v\n%s", link, err, run.Output())
	}
	here := "http://" + net.JoinHostPort("127.0.0.1", u.Port()) + "/" // which is served on this machine
	for host, answer := range map[string]int{u.Host: 200, "evil.example": 403, "a.wild.example": 403} {
		if status, _, _ := fetched(t, "GET", here, nil, func(r *http.Request) { r.Host = host }); status != answer {
			t.Errorf("Host %s: %d, want %d", host, status, answer)
		}
	}
}

// TestShareBehindAProxy: wrong passwords count against whom the proxy names.
func TestShareBehindAProxy(t *testing.T) {
	content := filepath.Join(single(t, 1000).Dir, "content")
	_, link := sharing(t, args([]string{content, "--password", "right", "--trust-proxy", "127.0.0.0/8"}, onLoopback)...)
	login := func(from, password string) int {
		status, _, _ := fetched(t, "POST", link+"login", strings.NewReader("password="+password), func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("X-Forwarded-For", from)
		})
		return status
	}
	for i := 0; login("198.51.100.1", "wrong") != 429; i++ {
		if i == 100 {
			t.Fatal("a hundred wrong passwords of one address were looked at")
		}
	}
	if status := login("198.51.100.2", "right"); status != 303 {
		t.Errorf("another address has to wait, too: %d", status)
	}
}

// TestShareIsThereWhole: who asks while it starts, as pages do that were open before, finds all of
// it or nothing.
func TestShareIsThereWhole(t *testing.T) {
	content := filepath.Join(single(t, 1000).Dir, "content")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	start(t, args([]string{"share", content, "--http", address, "--no-dht"}, base)...)
	link := "http://" + address + "/"
	eventually(t, patience, "an answer", func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		conn.Close()
		if found := described(t, link); len(found.Torrents) != 1 {
			t.Errorf("it has %d torrents", len(found.Torrents))
		}
		return true
	})
}
