package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func all(tr *torrent) (pieces []int) {
	for i := range tr.NumPieces() {
		pieces = append(pieces, i)
	}
	return pieces
}

func TestFilesOfEveryKind(t *testing.T) {
	tr := newTorrent(t,
		entry{"a/first", 100000, ""}, entry{"empty", 0, ""}, entry{"tiny", 10, "x"}, entry{"b/empty too", 0, ""},
		entry{".pad/31062", 31062, "p"}, entry{"whole", pieceLength, ""}, entry{"last", 200001, ""}, entry{"end", 0, "x"})
	for _, allocation := range []Allocation{Sparse, Preallocated} {
		dir := t.TempDir()
		s := start(t, tr, dir, func(c *Config) { c.Allocation = allocation })
		s.must(s.CreateEmpty())
		s.must(s.download(all(tr)...))
		s.wantPieces(all(tr)...)
		for i, f := range tr.Files {
			if f.Pad {
				if exists(filepath.Join(dir, "t", ".pad")) {
					t.Error("padding was written")
				}
				continue
			}
			path := filepath.Join(dir, "t", f.DisplayPath())
			wantFile(t, path, tr.file(i))
			if info, err := os.Stat(path); err == nil && f.Executable != (info.Mode()&0o100 != 0) {
				t.Errorf("%s has mode %v", f.DisplayPath(), info.Mode())
			}
		}
	}
}

func TestFilesHaveTheirFullLengthAtOnce(t *testing.T) {
	tr := newTorrent(t, entry{path: "f", length: 10 * pieceLength})
	dir := t.TempDir()
	s := start(t, tr, dir, nil)
	s.must(s.download(3))
	info, err := os.Stat(filepath.Join(dir, "f"))
	if err != nil || info.Size() != 10*pieceLength {
		t.Errorf("after one piece: %v, %v", info, err)
	}
}

// edges is a torrent in which the first file shares its last piece with the second,
// and that its last with the third.
func edges(t testing.TB) *torrent {
	return newTorrent(t, entry{"a", 100000, ""}, entry{"b", 300000, ""}, entry{"c", 100000, ""})
}

func TestEdgesOfUnselectedFiles(t *testing.T) {
	tr, dir := edges(t), t.TempDir()
	s := start(t, tr, dir, selecting(0))
	s.must(s.CreateEmpty())
	s.must(s.download(0, 1))
	s.wantPieces(0, 1)
	wantFile(t, filepath.Join(dir, "t/a"), tr.file(0))
	if exists(filepath.Join(dir, "t/b")) || exists(filepath.Join(dir, "t/c")) {
		t.Error("a file that was not selected was made")
	}
	s.sync()
	if path, ok := s.OwnFile(0); !ok || path != filepath.Join(dir, "t/a") {
		t.Errorf("the selected file is at %q, %v", path, ok)
	}
	if _, ok := s.OwnFile(1); ok {
		t.Error("the edge counts as a file")
	}
}

func TestHandlesAreBounded(t *testing.T) {
	entries := make([]entry, 10000)
	for i := range entries {
		entries[i] = entry{fmt.Sprintf("%02d/%d", i%100, i), 100, ""}
	}
	tr := newTorrent(t, entries...)
	handles := NewHandles(16)
	s := start(t, tr, t.TempDir(), func(c *Config) { c.Handles = handles })
	s.must(s.download(all(tr)...))
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() { s.wantPieces(i, 15-i, 7) })
	}
	readers.Wait()
	if len(handles.open) != 16 || handles.used.Len() != 16 {
		t.Errorf("%d files open, want 16", len(handles.open))
	}
	stamps, err := s.Stamps()
	if err != nil || len(stamps) != len(entries)+1 {
		t.Errorf("%d stamps, %v", len(stamps), err)
	}
	s.Close()
	if len(handles.open) != 0 {
		t.Errorf("%d files open after Close", len(handles.open))
	}
}

func TestFilesThatWereClosedAreSynced(t *testing.T) {
	tr := edges(t)
	s := start(t, tr, t.TempDir(), func(c *Config) { c.Handles = NewHandles(1) })
	s.must(s.download(all(tr)...))
	if !reflect.DeepEqual(s.touched, []bool{true, true, true, false}) {
		t.Errorf("to be synced: %v", s.touched)
	}
	s.sync()
	if !reflect.DeepEqual(s.touched, make([]bool, 4)) {
		t.Errorf("left to be synced: %v", s.touched)
	}
}

// What a run finds counts as synced after the first Sync, so it has to be; it may be
// read-only.
func TestDataThatIsFoundIsSynced(t *testing.T) {
	tr, dir := three(t), t.TempDir()
	st := finished(t, tr, dir, true, nil, all(tr)...)
	st.Synced = set(7, 0, 1, 2, 5)
	s := start(t, tr, dir, nil)
	s.must(os.Chmod(filepath.Join(dir, "t/b"), 0o444))
	s.wantPlan(st, all(tr), nil)
	if !reflect.DeepEqual(s.found, []bool{false, true, true, false}) {
		t.Errorf("to be synced: %v", s.found)
	}
	s.sync()
	if !reflect.DeepEqual(s.found, make([]bool, 4)) {
		t.Errorf("left to be synced: %v", s.found)
	}
	s.must(os.Chtimes(filepath.Join(dir, "t/a"), time.Time{}, time.Unix(1, 0)))
	s.wantPlan(st, []int{3, 4, 5, 6}, []int{0, 1, 2})
	if !s.found[0] {
		t.Error("what is to be checked is not synced")
	}
}

func TestHandleIsNotClosedUnderItsUser(t *testing.T) {
	dir := t.TempDir()
	h := NewHandles(1)
	how := &creation{0o666, func(*os.File) error { return nil }}
	a, err := h.acquire(filepath.Join(dir, "a"), access{write: true, create: how})
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.acquire(filepath.Join(dir, "b"), access{write: true, create: how})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.WriteAt([]byte("x"), 0); err != nil {
		t.Errorf("a file in use was closed: %v", err)
	}
	h.release(a)
	if _, err := a.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a file that had to go was kept open: %v", err)
	}
	h.release(b)
	h.drop(filepath.Join(dir, "b"))
}

func TestReadOnlyDataCanBeSeeded(t *testing.T) {
	tr, dir := newTorrent(t, entry{"a", 1000, ""}, entry{"empty", 0, ""}), t.TempDir()
	s := start(t, tr, dir, nil)
	s.must(s.CreateEmpty())
	s.must(s.download(0))
	s.Close()
	for _, name := range []string{"a", "empty"} {
		s.must(os.Chmod(filepath.Join(dir, "t", name), 0o444))
	}
	s = start(t, tr, dir, nil)
	if _, _, err := s.Plan(nil); err != nil {
		t.Fatal(err)
	}
	s.must(s.CreateEmpty())
	s.wantPieces(0)
	if h := s.cfg.Handles.open[s.paths[0]]; h == nil || h.writable {
		t.Error("a file that is only read was opened for writing")
	}
}

func TestVanishedFiles(t *testing.T) {
	tr := newTorrent(t, entry{"f", 10 * pieceLength, ""})
	for name, vanish := range map[string]func(dir string) error{
		"removed":  func(dir string) error { return os.Remove(filepath.Join(dir, "d/f")) },
		"folder":   func(dir string) error { return os.RemoveAll(filepath.Join(dir, "d")) },
		"replaced": func(dir string) error { return replace(filepath.Join(dir, "d/f")) },
	} {
		for _, open := range []bool{true, false} {
			dir := t.TempDir()
			s := start(t, tr, filepath.Join(dir, "d"), nil)
			s.must(s.download(0, 1))
			if !open {
				if name == "replaced" {
					continue // nobody could tell
				}
				s.cfg.Handles.drop(s.paths...)
			}
			if err := vanish(dir); err != nil {
				t.Fatal(err)
			}
			_, err := s.Stamps()
			if !errors.Is(err, ErrVanished) || !strings.Contains(err.Error(), "put it back") {
				t.Errorf("%s: the stamps end with %v, want ErrVanished and what to do", name, err)
			}
			if open {
				continue
			}
			if err := s.download(2); !errors.Is(err, ErrVanished) {
				t.Errorf("%s: the next piece ends with %v, want ErrVanished", name, err)
			}
			if exists(filepath.Join(dir, "d/f")) {
				t.Errorf("%s: the file was made anew without what was in it", name)
			}
			if _, err := s.Sync(set(10)); !errors.Is(err, ErrVanished) {
				t.Errorf("%s: Sync ends with %v, want ErrVanished", name, err)
			}
			if _, err := s.Sync(set(10)); !errors.Is(err, ErrVanished) {
				t.Errorf("%s: the second Sync forgets what the first could not do: %v", name, err)
			}
		}
	}
}

// replace puts another file where one was.
func replace(path string) error {
	if err := os.WriteFile(path+"2", make([]byte, 10*pieceLength), 0o666); err != nil {
		return err
	}
	return os.Rename(path+"2", path)
}

func TestThingsInTheWay(t *testing.T) {
	tr, dir := edges(t), t.TempDir()
	s := start(t, tr, filepath.Join(dir), nil)
	s.must(os.MkdirAll(filepath.Join(dir, "t/a"), 0o777))
	if _, _, err := s.Plan(nil); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("a folder where a file should be: %v", err)
	}
	blocked := filepath.Join(dir, "file")
	s.must(os.WriteFile(blocked, nil, 0o666))
	s = start(t, tr, blocked, nil)
	if _, _, err := s.Plan(nil); err == nil || !strings.Contains(err.Error(), blocked) {
		t.Errorf("a file where the folder should be: %v", err)
	}
}

func TestClosedStorage(t *testing.T) {
	tr := newTorrent(t, entry{"f", pieceLength, ""})
	s := start(t, tr, t.TempDir(), nil)
	s.must(s.download(0))
	s.Close()
	s.Close()
	_, stampErr := s.Stamps()
	_, syncErr := s.Sync(set(1))
	for what, err := range map[string]error{
		"ReadAt": s.ReadAt(make([]byte, 1), 0), "Sync": syncErr, "Stamps": stampErr, "CreateEmpty": s.writePiece(0, [][]byte{tr.data}),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func TestReadsDuringClose(t *testing.T) {
	tr := newTorrent(t, entry{"f", pieceLength, ""})
	s := start(t, tr, t.TempDir(), nil)
	s.must(s.download(0))
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for b := make([]byte, 100); ; {
				if err := s.ReadAt(b, 7); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	s.Wait()
	s.Close()
	readers.Wait()
}

func TestSpans(t *testing.T) {
	tr := newTorrent(t, entry{"a", 10, ""}, entry{"b", 0, ""}, entry{"c", 5, ""}, entry{"d", 0, ""}, entry{"e", 1, ""})
	for _, c := range []struct {
		off, n int64
		want   []span
	}{
		{0, 16, []span{{0, 0, 10}, {2, 0, 5}, {4, 0, 1}}},
		{9, 2, []span{{0, 9, 1}, {2, 0, 1}}},
		{10, 5, []span{{2, 0, 5}}},
		{15, 1, []span{{4, 0, 1}}},
		{3, 0, nil},
		{16, 5, nil},
	} {
		var got []span
		spans(tr.Info, c.off, c.n, func(sp span) error {
			got = append(got, sp)
			return nil
		})
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d bytes from %d: %v, want %v", c.n, c.off, got, c.want)
		}
	}
	if first, end := PieceRange(tr.Info, 1); first != end {
		t.Errorf("an empty file has the pieces %d to %d", first, end)
	}
}

func TestCheckStopsWhenAsked(t *testing.T) {
	tr := newTorrent(t, entry{"f", 20 * pieceLength, ""})
	s := start(t, tr, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Check(ctx, set(20, all(tr)...), func(int, bool) { t.Error("a piece was checked") })
}

func TestCacheHoldsABoundedNumberOfPieces(t *testing.T) {
	const slots = 8
	tr, dir := newTorrent(t, entry{"f", 20 * pieceLength, ""}), t.TempDir()
	s := start(t, tr, dir, func(c *Config) { c.Cache = slots*pieceLength + 1 })
	s.must(s.download(0, 5, 6, 19, 1, 2, 3, 4))
	s.wantPieces(0, 5, 6, 19, 1, 2, 3, 4)
	if s.Slots() != slots || s.Begin(7, false, false) != nil || s.memory.Reserved() != 0 {
		t.Errorf("a piece more than %d slots was begun, or kept its memory", s.Slots())
	}
	s.Evict(19)
	if err := s.ReadAt(make([]byte, 1), 19*pieceLength); err == nil {
		t.Error("an evicted piece can be read")
	}
	s.must(s.download(7))
	s.wantPieces(5, 7)
	s.Close()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left behind", left)
	}
}
