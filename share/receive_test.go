package share

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/web"
)

var errDiskFull = errors.New("no space left")

// plainNames stands for what the command hands in.
func plainNames(name string) (string, error) {
	if name == ".." {
		return "", errors.New("leaves the folder")
	}
	return strings.Trim(strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name), " "), nil
}

// fakeFetch is a torrent whose file comes when the test wants.
type fakeFetch struct {
	bytes    int64
	files    int
	received atomic.Int64
	folder   string
	done     chan struct{}
	once     sync.Once
	err      error
	closed   atomic.Bool
}

func (f *fakeFetch) Size() (int64, int)     { return f.bytes, f.files }
func (f *fakeFetch) Start(dir string) error { f.folder = dir; return nil }
func (f *fakeFetch) Received() int64        { return f.received.Load() }
func (f *fakeFetch) Done() <-chan struct{}  { return f.done }
func (f *fakeFetch) Close() error           { f.closed.Store(true); return f.err }
func (f *fakeFetch) finish(err error)       { f.once.Do(func() { f.err = err; close(f.done) }) }

type receiverTest struct {
	t      *testing.T
	folder string
	r      *Receiver
	s      *Server
	fetch  *fakeFetch // what the next torrent is
	mu     sync.Mutex
	saved  map[string]int64
}

func receiver(t *testing.T, change func(*ReceiverConfig)) *receiverTest {
	t.Helper()
	rt := &receiverTest{t: t, folder: t.TempDir(), saved: map[string]int64{}}
	cfg := ReceiverConfig{
		Folder: rt.folder, MaxBytes: 1 << 20, MaxFiles: 20, SafeName: plainNames,
		IsFull: func(err error) bool { return errors.Is(err, errDiskFull) },
		Fetch: func([]byte) (Fetch, error) {
			if rt.fetch == nil {
				return nil, errors.New("no torrent")
			}
			return rt.fetch, nil
		},
		Saved: func(name string, bytes int64, _ bool) {
			rt.mu.Lock()
			defer rt.mu.Unlock()
			rt.saved[name] = bytes
		},
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if rt.r, err = NewReceiver(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.r.Close(); err != nil {
			t.Error(err)
		}
		rt.empty()
	})
	rt.s = newServer(t, Config{Receiver: rt.r})
	return rt
}

// empty checks that nothing of what failed is left.
func (rt *receiverTest) empty() {
	rt.t.Helper()
	left, err := filepath.Glob(filepath.Join(rt.folder, tempPrefix+"*"))
	if err != nil || len(left) > 0 {
		rt.t.Errorf("left behind: %v %v", left, err)
	}
}

func fromPage(r *http.Request) { r.Header.Set(pageHeader, "page") }

func (rt *receiverTest) ask(method, path, body string) (*httptest.ResponseRecorder, web.Receiving) {
	rt.t.Helper()
	w := ask(rt.s, method, "/receive"+path, body, fromPage)
	var state web.Receiving
	if w.Code == 200 {
		if err := json.Unmarshal(w.Body.Bytes(), &state); err != nil {
			rt.t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return w, state
}

func (rt *receiverTest) announce(files ...web.UploadFile) (*httptest.ResponseRecorder, web.Receiving) {
	rt.t.Helper()
	body, err := json.Marshal(web.Upload{Files: files})
	if err != nil {
		rt.t.Fatal(err)
	}
	return rt.ask("POST", "/upload", string(body))
}

// upload sends files whole, and returns how it went.
func (rt *receiverTest) upload(content map[string]string) web.Receiving {
	rt.t.Helper()
	var files []web.UploadFile
	var bodies []string
	for name, text := range content {
		files = append(files, web.UploadFile{Name: name, Length: int64(len(text))})
		bodies = append(bodies, text)
	}
	w, state := rt.announce(files...)
	want(rt.t, w, 200, "")
	for i, body := range bodies {
		w, _ := rt.ask("PUT", fmt.Sprintf("/%s/%d?offset=0", state.ID, i), body)
		want(rt.t, w, 200, "")
	}
	w, state = rt.ask("POST", "/"+state.ID+"/done", "")
	want(rt.t, w, 200, "")
	return state
}

func (rt *receiverTest) has(name, content string) {
	rt.t.Helper()
	got, err := os.ReadFile(filepath.Join(rt.folder, name))
	if err != nil || string(got) != content {
		rt.t.Errorf("%s has %q, %v; want %q", name, got, err, content)
	}
}

func TestUploadIsSavedUnderNamesThatReplaceNothing(t *testing.T) {
	rt := receiver(t, nil)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(rt.folder, "link.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(rt.folder, "folder")); err != nil {
		t.Fatal(err)
	}
	if state := rt.upload(map[string]string{"film.mp4": "one"}); state.State != web.ReceivingSaved || state.Received != 3 {
		t.Errorf("state: %+v", state)
	}
	rt.upload(map[string]string{"film.mp4": "two"})
	rt.upload(map[string]string{"link.txt": "through the link"})
	rt.upload(map[string]string{"folder/new": "into the link"})
	rt.upload(map[string]string{".bashrc": "hidden", "a/.ssh/keys": "hidden"})
	rt.upload(map[string]string{"empty": "", "": "no name"})
	rt.has("film.mp4", "one")
	rt.has("film (2).mp4", "two")
	rt.has("link (2).txt", "through the link")
	rt.has("folder (2)/new", "into the link")
	rt.has("_.bashrc", "hidden")
	rt.has("a/_.ssh/keys", "hidden")
	if rt.saved["film (2).mp4"] != 3 || rt.saved["a"] != 6 || len(rt.saved) != 8 {
		t.Errorf("told as saved: %v", rt.saved)
	}
	rt.has("empty", "")
	rt.has("unnamed", "no name")
	if text, err := os.ReadFile(outside); err != nil || string(text) != "precious" {
		t.Errorf("outside of the folder: %q, %v", text, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(outside)); err != nil || len(entries) != 1 {
		t.Errorf("outside of the folder: %v, %v", entries, err)
	}
}

func TestUploadKeepsItsBounds(t *testing.T) {
	rt := receiver(t, nil)
	refused := func(status int, text string, files ...web.UploadFile) {
		t.Helper()
		w, _ := rt.announce(files...)
		want(t, w, status, text)
	}
	refused(413, "too large", web.UploadFile{Name: "a", Length: 1<<20 + 1})
	refused(413, "too large", web.UploadFile{Name: "a", Length: 1 << 62}, web.UploadFile{Name: "b", Length: 1 << 62}, web.UploadFile{Name: "c", Length: 1 << 62})
	refused(413, "too large", web.UploadFile{Name: "a", Length: 1 << 19}, web.UploadFile{Name: "b", Length: 1<<19 + 1})
	refused(413, "too large", web.UploadFile{Name: "a", Length: -1})
	refused(413, "too many files", make([]web.UploadFile, 10_000)...)
	refused(400, "nothing")
	refused(400, "out of the folder", web.UploadFile{Name: "../../etc/passwd"})
	refused(400, "too long", web.UploadFile{Name: strings.Repeat("x", 5000)})
	refused(400, "too many folders", web.UploadFile{Name: strings.Repeat("x/", 100)})
	refused(400, "a file's and a folder's", web.UploadFile{Name: "a"}, web.UploadFile{Name: "A/b"})
	w, _ := rt.ask("POST", "/upload", "{")
	want(t, w, 400, "")
	w, _ = rt.ask("POST", "/upload", strings.Repeat(" ", maxAnnouncement+1))
	want(t, w, 413, "")
	w, _ = rt.ask("POST", "/torrent", strings.Repeat(" ", maxTorrent+1))
	want(t, w, 413, "")

	// What was promised to others is not there for a second one, and comes back.
	w, state := rt.announce(web.UploadFile{Name: "a", Length: 1 << 20})
	want(t, w, 200, "")
	refused(413, "0 more bytes", web.UploadFile{Name: "b", Length: 1})
	w, _ = rt.ask("PUT", "/"+state.ID+"/0?offset=0", strings.Repeat("x", 1<<20+1))
	want(t, w, 413, "more than was announced")
	w, _ = rt.ask("PUT", "/"+state.ID+"/0?offset=5", "x")
	want(t, w, 409, "0 bytes")
	w, _ = rt.ask("PUT", "/"+state.ID+"/0?offset=-1", "x")
	want(t, w, 409, "")
	w, _ = rt.ask("POST", "/"+state.ID+"/done", "")
	want(t, w, 409, "not all")
	w, ended := rt.ask("DELETE", "/"+state.ID, "")
	want(t, w, 200, "")
	if ended.State != web.ReceivingFailed {
		t.Errorf("given up: %+v", ended)
	}
	rt.empty()
	w, _ = rt.announce(web.UploadFile{Name: "b", Length: 1 << 20})
	want(t, w, 200, "")
	for range maxSendings {
		w, _ = rt.announce(web.UploadFile{Name: "b", Length: 0})
	}
	want(t, w, 503, "at once")
}

func TestUploadGoesOnWhereItBrokeOff(t *testing.T) {
	rt := receiver(t, nil)
	w, state := rt.announce(web.UploadFile{Name: "a", Length: 10})
	want(t, w, 200, "")
	broken := httptest.NewRequest("PUT", "/receive/"+state.ID+"/0?offset=0", io.MultiReader(strings.NewReader("01234"), errReader{}))
	broken.Host, broken.RemoteAddr, broken.ContentLength = "192.0.2.1", "192.0.2.7:1", -1
	fromPage(broken)
	answer := httptest.NewRecorder()
	rt.s.ServeHTTP(answer, broken)
	want(t, answer, 400, "go on from byte 5")
	if _, there := rt.ask("GET", "/"+state.ID+"/0", ""); there.Received != 5 {
		t.Errorf("there are %d bytes", there.Received)
	}
	w, _ = rt.ask("PUT", "/"+state.ID+"/0?offset=5", "56789")
	want(t, w, 200, "")
	w, _ = rt.ask("POST", "/"+state.ID+"/done", "")
	want(t, w, 200, web.ReceivingSaved)
	rt.has("a", "0123456789")
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("cut") }

func TestSenderThatStopsIsGivenUp(t *testing.T) {
	rt := receiver(t, func(c *ReceiverConfig) { c.Patience = 100 * time.Millisecond })
	w, state := rt.announce(web.UploadFile{Name: "a", Length: 10})
	want(t, w, 200, "")
	w, _ = rt.ask("PUT", "/"+state.ID+"/0?offset=0", "0123")
	want(t, w, 200, "")
	rt.fetch = &fakeFetch{bytes: 5, files: 1, done: make(chan struct{})}
	w, seeded := rt.ask("POST", "/torrent", "a torrent")
	want(t, w, 200, "")
	for _, id := range []string{state.ID, seeded.ID} {
		waitFor(t, "it is given up", func() bool { _, s := rt.ask("GET", "/"+id, ""); return s.State == web.ReceivingFailed })
	}
	if !rt.fetch.closed.Load() {
		t.Error("the torrent goes on")
	}
	waitFor(t, "nothing is left", func() bool {
		left, _ := filepath.Glob(filepath.Join(rt.folder, "*"))
		return len(left) == 0
	})
	if d := rt.r.describe(); d.MaxBytes != 1<<20 || d.MaxFiles != 20 {
		t.Errorf("what failed counts: %+v", d)
	}
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func TestTorrentIsSavedWhenItIsThere(t *testing.T) {
	rt := receiver(t, nil)
	w, _ := rt.ask("POST", "/torrent", "x")
	want(t, w, 400, "no torrent")
	rt.fetch = &fakeFetch{bytes: 5, files: 1, done: make(chan struct{})}
	w, state := rt.ask("POST", "/torrent", "a torrent")
	want(t, w, 200, web.ReceivingWaits)
	rt.fetch.received.Store(2)
	if _, s := rt.ask("GET", "/"+state.ID, ""); s.State != web.ReceivingComes || s.Received != 2 {
		t.Errorf("on its way: %+v", s)
	}
	if err := os.WriteFile(filepath.Join(rt.fetch.folder, "film.mp4"), []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	rt.fetch.finish(nil)
	waitFor(t, "it is saved", func() bool { _, s := rt.ask("GET", "/"+state.ID, ""); return s.State == web.ReceivingSaved })
	rt.has("film.mp4", "bytes")

	rt.fetch = &fakeFetch{bytes: 5, files: 1, done: make(chan struct{})}
	_, state = rt.ask("POST", "/torrent", "a torrent")
	rt.fetch.finish(fmt.Errorf("writing: %w", errDiskFull))
	waitFor(t, "it has failed", func() bool {
		_, s := rt.ask("GET", "/"+state.ID, "")
		return s.State == web.ReceivingFailed && strings.Contains(s.Message, "disk is full")
	})

	rt.fetch = &fakeFetch{bytes: 1 << 30, files: 1, done: make(chan struct{})}
	w, _ = rt.ask("POST", "/torrent", "a torrent")
	want(t, w, 413, "too large")
	rt.fetch = &fakeFetch{bytes: 5, files: 10_000, done: make(chan struct{})}
	w, _ = rt.ask("POST", "/torrent", "a torrent")
	want(t, w, 413, "too many files")
}

func TestOnlyOurPageMaySend(t *testing.T) {
	rt := receiver(t, nil)
	for _, prepare := range []func(*http.Request){
		nil,
		func(r *http.Request) { fromPage(r); r.Header.Set("Origin", "https://evil.example") },
		func(r *http.Request) { fromPage(r); r.Header.Set("Sec-Fetch-Site", "cross-site") },
	} {
		want(t, ask(rt.s, "POST", "/receive/upload", `{"files":[{"name":"a","length":1}]}`, prepare), 403, "")
	}
	w := ask(rt.s, "OPTIONS", "/receive/upload", "", func(r *http.Request) {
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "x-causeway")
	})
	if w.Header().Get("Access-Control-Allow-Origin") != "" || w.Code != 403 {
		t.Errorf("a preflight: %d %v", w.Code, w.Header())
	}
	for _, path := range []string{"/", "/x", "/x/0", "/x/done", "/../torrent", "/torrent/1/2"} {
		w, _ := rt.ask("GET", path, "")
		want(t, w, 404, "")
	}
}

func TestManyOfOneNameAreAllKept(t *testing.T) {
	rt := receiver(t, func(c *ReceiverConfig) { c.MaxFiles = 1000 })
	const senders = 24
	var folders []string
	for i := range senders {
		folder := fmt.Sprintf("%s%d", tempPrefix, i)
		for _, name := range []string{"film.mp4", "album/.cover", "album/_.cover"} {
			path := filepath.Join(rt.folder, folder, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(name), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		folders = append(folders, folder)
	}
	var saving sync.WaitGroup
	for _, folder := range folders {
		saving.Go(func() {
			if _, err := rt.r.keep(folder); err != nil {
				t.Error(err)
			}
			_ = os.Remove(filepath.Join(rt.folder, folder))
		})
	}
	saving.Wait()
	rt.has("film.mp4", "film.mp4")
	rt.has("album/_.cover", "album/_.cover")
	rt.has("album/_ (2).cover", "album/.cover")
	for i := 2; i <= senders; i++ {
		rt.has(fmt.Sprintf("film (%d).mp4", i), "film.mp4")
		rt.has(fmt.Sprintf("album (%d)/_.cover", i), "album/_.cover")
	}
}

// slowBody is one of which nothing comes until it is closed.
type slowBody struct {
	*io.PipeReader
	asked chan struct{}
}

func (b slowBody) Read(p []byte) (int, error) {
	b.asked <- struct{}{}
	return b.PipeReader.Read(p)
}

func TestSmallBodiesAreReadAFewAtATime(t *testing.T) {
	rt := receiver(t, nil)
	var reading sync.WaitGroup
	var writers []*io.PipeWriter
	slow := func(address string) {
		reader, writer := io.Pipe()
		body := slowBody{reader, make(chan struct{})}
		r := httptest.NewRequest("POST", "/receive/torrent", body)
		r.Host, r.RemoteAddr = "192.0.2.1:8080", address+":1"
		fromPage(r)
		reading.Go(func() { rt.s.ServeHTTP(httptest.NewRecorder(), r) })
		<-body.asked
		writers = append(writers, writer)
	}
	fast := func(address string) *httptest.ResponseRecorder {
		return ask(rt.s, "POST", "/receive/upload", `{"files":[{"name":"a","length":1}]}`, func(r *http.Request) {
			fromPage(r)
			r.RemoteAddr = address + ":1"
		})
	}
	for range maxReadingOfOne {
		slow("198.51.100.1")
	}
	want(t, fast("198.51.100.1"), 503, "at once")
	want(t, fast("198.51.100.2"), 200, "")
	for i := 2; len(writers) < maxReading; i++ {
		slow(fmt.Sprintf("198.51.100.%d", i))
	}
	want(t, fast("198.51.100.99"), 503, "at once")
	for _, writer := range writers {
		writer.Close()
	}
	reading.Wait()
	want(t, fast("198.51.100.1"), 200, "")
}

func TestWhatCannotBeMadeIsSaid(t *testing.T) {
	rt := receiver(t, nil)
	w, _ := rt.announce(web.UploadFile{Name: "a", Length: 1}, web.UploadFile{Name: strings.Repeat("x", 300), Length: 1})
	want(t, w, 500, "could not save")
	rt.empty()
}

func TestWhatIsKeptOfAFailureCounts(t *testing.T) {
	rt := receiver(t, nil)
	rt.fetch = &fakeFetch{bytes: 5, files: 2, done: make(chan struct{})}
	w, state := rt.ask("POST", "/torrent", "a torrent")
	want(t, w, 200, "")
	film, link := filepath.Join(rt.fetch.folder, "film.mp4"), filepath.Join(rt.fetch.folder, "link")
	if err := errors.Join(os.WriteFile(film, []byte("bytes"), 0o600), os.Symlink("film.mp4", link)); err != nil {
		t.Fatal(err)
	}
	rt.fetch.finish(nil)
	waitFor(t, "it has failed", func() bool { _, s := rt.ask("GET", "/"+state.ID, ""); return s.State == web.ReceivingFailed })
	rt.has("film.mp4", "bytes")
	if d := rt.r.describe(); d.MaxBytes != 1<<20-5 || d.MaxFiles != 18 {
		t.Errorf("%+v more are taken", d)
	}
}

// FuzzNamer has no name lead anywhere but to a file of its own below the folder.
func FuzzNamer(f *testing.F) {
	for _, seed := range []string{"a\x00a\x00A", "../x", "a/b\x00a", "", "/", "a//b\x00a/./b", ".ssh/x", "x (2)\x00x\x00x", strings.Repeat("ä", 300) + ".mp4"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, names []byte) {
		n := newNamer(plainNames)
		seen := map[string]bool{}
		for name := range bytes.SplitSeq(names, []byte{0}) {
			p, err := n.path(string(name))
			if err != nil {
				continue
			}
			if !filepath.IsLocal(p) || strings.HasPrefix(p, ".") || strings.Contains(p, "/.") {
				t.Fatalf("%q leads to %q", name, p)
			}
			if seen[strings.ToLower(p)] {
				t.Fatalf("two files are %q", p)
			}
			seen[strings.ToLower(p)] = true
		}
	})
}
