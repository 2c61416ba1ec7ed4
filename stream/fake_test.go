package stream_test

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/stream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fakeHash  = "0123456789abcdef0123456789abcdef01234567"
	fakePiece = 32 << 10
)

// fakeTorrent is a torrent whose pieces become verified when a test says so.
type fakeTorrent struct {
	hash, name string
	files      []*fakeFile
}

func (t *fakeTorrent) InfoHash() string   { return t.hash }
func (t *fakeTorrent) Name() string       { return t.name }
func (t *fakeTorrent) PieceLength() int64 { return fakePiece }
func (t *fakeTorrent) Files() []stream.File {
	out := make([]stream.File, len(t.files))
	for i, f := range t.files {
		out[i] = f
	}
	return out
}

func newTorrent(files ...*fakeFile) *fakeTorrent {
	return &fakeTorrent{hash: fakeHash, name: "A Torrent", files: files}
}

type fakeFile struct {
	path string
	data []byte
	mod  time.Time
	disk string // where finished bytes are, for Section; empty: nowhere

	mu      sync.Mutex
	have    []bool        // by piece
	changed chan struct{} // closed and replaced when something is verified or wanted
	readers map[*fakeReader]struct{}
	opened  int
}

// newFile returns a file without any verified piece.
func newFile(path string, data []byte) *fakeFile {
	return &fakeFile{
		path:    path,
		data:    data,
		have:    make([]bool, (len(data)+fakePiece-1)/fakePiece),
		changed: make(chan struct{}),
		readers: make(map[*fakeReader]struct{}),
	}
}

// complete verifies everything.
func (f *fakeFile) complete() *fakeFile {
	for i := range f.have {
		f.verify(i)
	}
	return f
}

// onDisk writes the file to disk, from where its finished pieces are then served.
func (f *fakeFile) onDisk(t testing.TB) *fakeFile {
	t.Helper()
	f.disk = filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(f.disk, f.data, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fakeFile) verify(piece int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.have[piece] = true
	f.notify()
}

func (f *fakeFile) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeFile) Path() string       { return f.path }
func (f *fakeFile) Length() int64      { return int64(len(f.data)) }
func (f *fakeFile) ModTime() time.Time { return f.mod }

func (f *fakeFile) Open(ctx context.Context) (stream.Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &fakeReader{f: f, ctx: ctx}
	f.readers[r] = struct{}{}
	f.opened++
	f.notify()
	return r, nil
}

// await waits until ok holds for the file.
func (f *fakeFile) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		f.mu.Lock()
		done, changed := ok(), f.changed
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("still waiting for %s", what)
		}
	}
}

// supply verifies one piece per interval, those that readers wait for first,
// then those in their windows, then the others, until ctx ends. Of the others the
// last comes first: what is in order is so by the windows.
func (f *fakeFile) supply(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if piece := f.next(); piece >= 0 {
			f.verify(piece)
		}
	}
}

func (f *fakeFile) next() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	best, bestDistance := -1, int64(1<<62)
	for i, have := range f.have {
		if have {
			continue
		}
		if bestDistance == 1<<62 {
			best = i
		}
		for r := range f.readers {
			ahead := max(int64(i*fakePiece)-r.pos, 0)
			wanted := ahead < r.window || ahead == 0 && r.waiting
			if int64((i+1)*fakePiece) > r.pos && wanted && ahead < bestDistance {
				best, bestDistance = i, ahead
			}
		}
	}
	return best
}

type fakeReader struct {
	f       *fakeFile
	ctx     context.Context
	pos     int64
	window  int64
	disk    *os.File
	waiting bool // in Read
	closed  bool
}

func (r *fakeReader) Read(p []byte) (int, error) {
	for {
		r.f.mu.Lock()
		if r.pos >= int64(len(r.f.data)) {
			r.f.mu.Unlock()
			return 0, io.EOF
		}
		if n := r.buffered(); n > 0 {
			n = int64(copy(p[:min(n, int64(len(p)))], r.f.data[r.pos:]))
			r.pos += n
			r.waiting = false
			r.f.mu.Unlock()
			return int(n), nil
		}
		changed := r.f.changed
		r.waiting = true
		r.f.mu.Unlock()
		select {
		case <-changed:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
}

// buffered needs f.mu.
func (r *fakeReader) buffered() int64 {
	end := r.pos
	for end < int64(len(r.f.data)) && r.f.have[end/fakePiece] {
		end = min((end/fakePiece+1)*fakePiece, int64(len(r.f.data)))
	}
	return end - r.pos
}

func (r *fakeReader) Seek(off int64, whence int) (int64, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		off += r.pos
	case io.SeekEnd:
		off += int64(len(r.f.data))
	}
	r.pos = off
	return off, nil
}

func (r *fakeReader) SetWindow(n int64) int64 {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.window = n
	r.f.notify()
	return n
}

func (r *fakeReader) Buffered() int64 {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return r.buffered()
}

func (r *fakeReader) Section(off, n int64) (*os.File, int64, int64, bool) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.pos = off
	avail := min(n, r.buffered())
	if r.f.disk == "" || avail == 0 {
		return nil, 0, 0, false
	}
	if r.disk == nil {
		var err error
		if r.disk, err = os.Open(r.f.disk); err != nil {
			return nil, 0, 0, false
		}
	}
	return r.disk, off, avail, true
}

func (r *fakeReader) Close() error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.closed = true
	delete(r.f.readers, r)
	r.f.notify()
	if r.disk != nil {
		return r.disk.Close()
	}
	return nil
}

// randomBytes are the same on every run.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b)
	return b
}

// serve serves torrents until the test ends and returns the server and its address.
func serve(t testing.TB, cfg stream.Config, torrents ...*fakeTorrent) (*stream.Server, string) {
	t.Helper()
	cfg.Torrents = func() []stream.Torrent {
		out := make([]stream.Torrent, len(torrents))
		for i, t := range torrents {
			out[i] = t
		}
		return out
	}
	if testing.Verbose() && cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s := stream.New(cfg)
	return s, servedBy(t, s)
}

// servedBy runs a server until the test ends, and returns its address.
func servedBy(t testing.TB, s *stream.Server) string {
	t.Helper()
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.CloseClientConnections()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		h.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return h.URL
}

// do sends a request whose headers are given as name, value, ...
func do(t testing.TB, method, url string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func bodyOf(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
