package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a torrent whose pieces come when a test says so.
type fake struct {
	name    string
	files   []File
	mu      sync.Mutex
	here    map[int64]bool // pieces of the one file that is read
	came    chan struct{}  // closed, and replaced, when there are more
	arrived int
	readers []*fakeReader
}

const fakePiece = 64 << 10

func newFake(name string, files ...File) *fake {
	return &fake{name: name, files: files, here: make(map[int64]bool), came: make(chan struct{})}
}

func (f *fake) InfoHash() string       { return fmt.Sprintf("%040x", f.name) }
func (f *fake) Name() string           { return f.name }
func (f *fake) Created() time.Time     { return time.Unix(1234567890, 0) }
func (f *fake) PieceLength() int64     { return fakePiece }
func (f *fake) NumFiles() int          { return len(f.files) }
func (f *fake) File(i int) File        { return f.files[i] }
func (f *fake) Completed(int) int64    { return 0 }
func (f *fake) Rate() float64          { return 0 }
func (f *fake) Arrived(int, int64) int { f.mu.Lock(); defer f.mu.Unlock(); return f.arrived }

func (f *fake) Open(ctx context.Context, i int) (Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &fakeReader{of: f, length: f.files[i].Length}
	f.readers = append(f.readers, r)
	return r, nil
}

// come says that pieces are there.
func (f *fake) come(pieces ...int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range pieces {
		f.here[p] = true
	}
	f.arrived++
	close(f.came)
	f.came = make(chan struct{})
}

// wanted are the windows of all readers: positions and lengths, but for empty ones.
func (f *fake) wanted() (windows [][2]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.readers {
		if !r.closed && r.window > 0 {
			windows = append(windows, [2]int64{r.pos, r.window})
		}
	}
	return windows
}

type fakeReader struct {
	of          *fake
	length      int64
	pos, window int64
	closed      bool
}

func (r *fakeReader) ReadNow(p []byte, off int64) (int, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	n := 0
	for n < len(p) && off+int64(n) < r.length && r.of.here[(off+int64(n))/fakePiece] {
		p[n] = byte((off + int64(n)) / fakePiece)
		n++
	}
	return n, nil
}

func (r *fakeReader) Await(ctx context.Context, off int64) error {
	for {
		r.of.mu.Lock()
		here, came := r.of.here[off/fakePiece], r.of.came
		r.of.mu.Unlock()
		if here {
			return nil
		}
		select {
		case <-came:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *fakeReader) Seek(off int64, _ int) (int64, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.pos = off
	return off, nil
}

func (r *fakeReader) SetWindow(n int64) int64 {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.window = n
	return n
}

func (r *fakeReader) Section(int64, int64) (*os.File, int64, int64, bool) { return nil, 0, 0, false }

func (r *fakeReader) Close() error {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.closed = true
	return nil
}

// opened shows a torrent of one file, and opens it.
func opened(t *testing.T, size int64, cfg Config) (*fake, *FS, *file) {
	t.Helper()
	torrent := newFake("film", File{Path: []string{"film"}, Length: size})
	fs := New(cfg)
	t.Cleanup(fs.Close)
	if err := fs.Add(torrent); err != nil {
		t.Fatal(err)
	}
	e, ok := fs.tree.find("/film")
	if !ok {
		t.Fatal("the file is not there")
	}
	f, err := fs.openFile(e)
	if err != nil {
		t.Fatal(err)
	}
	return torrent, fs, f
}

// pieces are the numbers from 0 to n.
func pieces(n int64) (all []int64) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// A window grows with what is read in order, and is short for looks at head and tail.
func TestWindowFollowsReading(t *testing.T) {
	const size = 100 << 20
	torrent, _, f := opened(t, size, Config{})
	torrent.come(pieces(size / fakePiece)...)
	p := make([]byte, 4096)
	for _, off := range []int64{0, size - 4096, size / 2, size / 3} {
		if n, err := f.readAt(t.Context(), p, off); n != len(p) || err != nil {
			t.Fatalf("at %d: %d, %v", off, n, err)
		}
	}
	for _, w := range torrent.wanted() {
		if w[1] > 64<<10 {
			t.Errorf("after looks of 4 KiB, %d bytes are wanted at %d", w[1], w[0])
		}
	}
	p = make([]byte, 128<<10)
	for off := int64(10 << 20); off < 14<<20; off += int64(len(p)) {
		if _, err := f.readAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.ContainsFunc(torrent.wanted(), func(w [2]int64) bool { return w[0] == 14<<20 && w[1] >= 4<<20 }) {
		t.Errorf("after 4 MiB in order, the windows are %v", torrent.wanted())
	}
	for i := range int64(50) { // more places than are followed
		if _, err := f.readAt(t.Context(), p[:4096], i*(3<<20)%(size-4096)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.cursors); n > maxCursors {
		t.Errorf("%d places are followed, want %d at most", n, maxCursors)
	}
	f.release()
	if left := torrent.wanted(); len(left) > 0 {
		t.Errorf("after the end, %v are wanted", left)
	}
}

// All who have a file open share it, and it ends with the last.
func TestOpenFilesAreShared(t *testing.T) {
	_, fs, f := opened(t, 1<<20, Config{})
	again, err := fs.openFile(f.entry)
	if err != nil || again != f {
		t.Fatalf("opened again, it is another file (%v)", err)
	}
	f.release()
	if f.ctx.Err() != nil {
		t.Error("it ended while somebody has it open")
	}
	again.release()
	if f.ctx.Err() == nil || len(fs.open) > 0 {
		t.Error("it did not end with the last")
	}
}

// What nobody sends fails after the timeout, and then at once for a moment; as long as
// something comes it is waited for.
func TestReadTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 16 * time.Second
		torrent, _, f := opened(t, 1<<20, Config{Timeout: timeout})
		defer f.release()
		p := make([]byte, 10)
		fails := func(what string, off int64, want error, after time.Duration) {
			t.Helper()
			began := time.Now()
			if n, err := f.readAt(t.Context(), p, off); n != 0 || !errors.Is(err, want) {
				t.Errorf("%s: %d bytes and %v, want %v", what, n, err, want)
			}
			if took := time.Since(began); took != after {
				t.Errorf("%s: it failed after %v, want %v", what, took, after)
			}
		}
		fails("what nobody sends", 0, errTimeout, timeout)
		fails("tried again", 0, errTimeout, 0)
		time.Sleep(failureLasts - 1)
		fails("tried again until a moment has passed", 0, errTimeout, 0)
		fails("another place", 3*fakePiece, errTimeout, timeout)
		fails("again", 3*fakePiece, errTimeout, 0)
		time.Sleep(failureLasts)
		fails("tried later", 3*fakePiece, errTimeout, timeout)
		torrent.come(3)
		if n, err := f.readAt(t.Context(), p, 3*fakePiece); n != len(p) || err != nil {
			t.Errorf("of what failed and is there now, %d bytes and %v", n, err)
		}
		// Something of the piece comes, again and again.
		began := time.Now()
		go func() {
			for n := range int64(8) {
				time.Sleep(timeout / 2)
				torrent.come(100 + n)
			}
			torrent.come(9)
		}()
		if n, err := f.readAt(t.Context(), p, 9*fakePiece); n != len(p) || err != nil || p[0] != 9 {
			t.Errorf("of a slow piece, %d bytes and %v", n, err)
		}
		if took := time.Since(began); took != 8*timeout/2 {
			t.Errorf("a slow piece took %v, want %v", took, 8*timeout/2)
		}
	})
}

// Who is interrupted waits no longer.
func TestReadIsInterrupted(t *testing.T) {
	_, _, f := opened(t, 1<<20, Config{})
	defer f.release()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("a signal")
	cancel(why)
	if _, err := f.readAt(ctx, make([]byte, 10), 5*fakePiece); !errors.Is(err, why) {
		t.Errorf("interrupted, it ended with %v", err)
	}
}

// At the end of the file there is less, and then nothing.
func TestReadAtTheEnd(t *testing.T) {
	torrent, _, f := opened(t, 1<<20, Config{})
	defer f.release()
	p := make([]byte, 10)
	if n, err := f.readAt(t.Context(), p, 1<<20); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	torrent.come(15)
	if n, err := f.readAt(t.Context(), p, 1<<20-4); n != 4 || err != nil {
		t.Errorf("across the end: %d, %v", n, err)
	}
}
