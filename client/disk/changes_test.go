package disk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lookNow makes the next read look at the files.
func (s *session) lookNow() {
	for i := range s.due {
		s.due[i].Store(0)
	}
}

// losses collects what is lost.
type losses struct {
	mu     sync.Mutex
	pieces []int
}

func (l *losses) add(pieces []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pieces = append(l.pieces, pieces...)
}

func (l *losses) sorted() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.pieces))
}

// until waits for a condition.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// seeding is a torrent of three files that is complete and known.
func seeding(t *testing.T) (s *session, lost *losses, path string) {
	tr, dir := three(t), t.TempDir()
	st := finished(t, tr, dir, true, nil, all(tr)...)
	lost = &losses{}
	s = start(t, tr, dir, func(c *Config) { c.Lost = lost.add })
	if missing, err := s.claim(st); len(missing) > 0 || err != nil {
		t.Fatal(missing, err)
	}
	s.wantPieces(all(tr)...)
	return s, lost, filepath.Join(dir, "t/a")
}

// scribble writes to a piece of a file, its size kept.
func scribble(t *testing.T, path string, piece int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("scribble"), int64(piece)*pieceLength+5); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
}

// What somebody changes is not served any more; what else is in the file is.
func TestChangedFileIsNotServed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, path string)
		lost   []int
	}{
		"overwritten": {func(t *testing.T, path string) { scribble(t, path, 1) }, []int{1}},
		"truncated": {func(t *testing.T, path string) {
			if err := os.Truncate(path, 2*pieceLength-1); err != nil {
				t.Fatal(err)
			}
		}, []int{1, 2}},
		"replaced": {func(t *testing.T, path string) {
			if err := replace(path); err != nil {
				t.Fatal(err)
			}
		}, []int{0, 1, 2}},
		"replaced by a copy": {func(t *testing.T, path string) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path+"2", data)
			if err := os.Rename(path+"2", path); err != nil {
				t.Fatal(err)
			}
		}, nil},
		"longer": {func(t *testing.T, path string) {
			if err := os.Truncate(path, 9*pieceLength); err != nil {
				t.Fatal(err)
			}
		}, nil},
		"touched": {func(t *testing.T, path string) {
			if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, lost, path := seeding(t)
			c.change(t, path)
			s.lookNow()
			buf := make([]byte, 1000)
			for piece := range 7 {
				err := s.ReadBlocks(buf, uint32(piece), 0)
				if wrong := slices.Contains(c.lost, piece); wrong != errors.Is(err, ErrLost) || !wrong && err != nil {
					t.Errorf("piece %d is read with %v", piece, err)
				}
			}
			until(t, "end of the check", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.doubts.suspects) == 0 && !s.doubts.running
			})
			if got := lost.sorted(); !slices.Equal(got, c.lost) {
				t.Errorf("lost are %v, want %v", got, c.lost)
			}
			if got, want := s.Verified(), set(7, all(s.torrent)...); slices.Equal(got, want) != (c.lost == nil) {
				t.Errorf("verified are %08b", got)
			}
		})
	}
}

// The other pieces of the file are checked without being asked for.
func TestRestOfAChangedFileIsChecked(t *testing.T) {
	s, lost, path := seeding(t)
	scribble(t, path, 0)
	scribble(t, path, 2)
	s.lookNow()
	if err := s.ReadBlocks(make([]byte, 10), 1, 0); err != nil {
		t.Errorf("the piece that is right: %v", err)
	}
	until(t, "loss of both", func() bool { return slices.Equal(lost.sorted(), []int{0, 2}) })
	// What is wrong is not saved as right with a new time.
	s.Close()
	s = start(t, s.torrent, filepath.Dir(filepath.Dir(path)), nil)
	if missing, err := s.claim(nil); err != nil || !slices.Equal(missing, []int{0, 2}) {
		t.Errorf("the next run misses %v, %v", missing, err)
	}
}

// A change that is only seen when the state is saved does not get into it as right.
func TestChangeIsNotSavedAsRight(t *testing.T) {
	s, _, path := seeding(t)
	before, err := s.Stamps()
	s.must(err)
	s.cfg.Pool.Close() // nothing is hashed any more
	scribble(t, path, 1)
	after, err := s.Stamps()
	s.must(err)
	if after[0] != before[0] {
		t.Error("the changed file has the stamp of one that was verified")
	}
}

// A file that is touched again and again is hashed once each time it is looked at, and
// looked at less and less often.
func TestTouchedFileIsHashedOnce(t *testing.T) {
	var reads atomic.Int64
	tr, dir := three(t), t.TempDir()
	st := finished(t, tr, dir, true, nil, all(tr)...)
	s := start(t, tr, dir, func(c *Config) {
		c.Handles.SetFault(func(op, _ string) error {
			if op == "read" {
				reads.Add(1)
			}
			return nil
		})
	})
	if _, err := s.claim(st); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "t/a")
	s.must(os.Chtimes(path, time.Time{}, time.Unix(1, 0)))
	s.lookNow()
	for range 50 {
		s.wantPieces(0, 1, 2)
	}
	until(t, "end of the check", func() bool { return s.doubts.count.Load() == 0 })
	if n := reads.Load(); n > 50*3+3 {
		t.Errorf("%d reads for 150 pieces: it was hashed more than once", n)
	}
	if s.looks[0].interval < 2*lookInterval {
		t.Errorf("it is looked at every %v", s.looks[0].interval)
	}
}

// Our own writing is nobody else's, even into a file that grows with it.
func TestOwnWritesAreNoChanges(t *testing.T) {
	tr, dir := three(t), t.TempDir()
	write(t, filepath.Join(dir, "t/a"), tr.data[:10])
	lost := &losses{}
	s := start(t, tr, dir, func(c *Config) { c.Lost = lost.add; c.Overwrite = true })
	if _, err := s.claim(nil); err != nil {
		t.Fatal(err)
	}
	for i := range tr.NumPieces() {
		s.must(s.download(i))
		s.lookNow()
		s.wantPieces(i)
		if _, err := s.Stamps(); err != nil || s.doubts.round != 0 {
			t.Fatalf("after piece %d: %v, %d changes seen", i, err, s.doubts.round)
		}
	}
	if len(lost.sorted()) > 0 {
		t.Errorf("lost are %v", lost.sorted())
	}
}

// A lost piece can be downloaded again, as long as something in the file is right; a file
// that somebody replaced is his.
func TestLostPieceIsMended(t *testing.T) {
	s, lost, path := seeding(t)
	scribble(t, path, 1)
	s.lookNow()
	_ = s.ReadBlocks(make([]byte, 1), 1, 0)
	until(t, "loss", func() bool { return slices.Equal(lost.sorted(), []int{1}) })
	s.must(s.download(1))
	s.lookNow()
	s.wantPieces(all(s.torrent)...)

	own := noise(3 * pieceLength)
	write(t, path, own)
	s.lookNow()
	_ = s.ReadBlocks(make([]byte, 1), 1, 0)
	until(t, "loss of all", func() bool { return slices.Equal(lost.sorted(), []int{0, 1, 1, 2}) })
	if err := s.download(1); !isTaken(err) {
		t.Errorf("%v; want that the file is not the torrent's any more", err)
	}
	wantFile(t, path, own)
}
