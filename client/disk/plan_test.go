package disk

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// three is a torrent of three files of three, two and two whole pieces.
func three(t *testing.T) *torrent {
	return newTorrent(t, entry{"a", 3 * pieceLength, ""}, entry{"b", 2 * pieceLength, ""}, entry{"c", 2 * pieceLength, ""})
}

// finished downloads pieces in a first run and returns its last state.
func finished(t *testing.T, tr *torrent, dir string, clean bool, configure func(*Config), pieces ...int) *State {
	t.Helper()
	s := start(t, tr, dir, configure)
	s.must(s.download(pieces...))
	st := s.save(clean, pieces...)
	s.Close()
	return st
}

func TestPlanOfFilesThatAreAsTheyWere(t *testing.T) {
	tr, dir := three(t), t.TempDir()
	st := finished(t, tr, dir, true, nil, all(tr)...)
	s := start(t, tr, dir, nil)
	s.wantPlan(st, all(tr), nil)
	if len(s.cfg.Handles.open) != 0 {
		t.Errorf("%d files were opened to find that nothing has changed", len(s.cfg.Handles.open))
	}
}

func TestPlanWithoutAState(t *testing.T) {
	tr, dir := three(t), t.TempDir()
	start(t, tr, dir, nil).wantPlan(nil, nil, nil)
	finished(t, tr, dir, true, nil, 3)
	s := start(t, tr, dir, nil)
	s.wantPlan(nil, nil, []int{3, 4}) // a and c are not there
	right := s.checked(set(7, 0, 3, 4))
	if !bytes.Equal(right, set(7, 3)) {
		t.Errorf("right are %08b, want piece 3", right)
	}
	s.wantPlan(&State{Stamps: make([]Stamp, 9)}, nil, []int{3, 4}) // of another torrent
}

func TestPlanAfterAChange(t *testing.T) {
	tr := three(t)
	for _, c := range []struct {
		name   string
		change func(path string) error
		check  []int
	}{
		{"touched", func(path string) error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) }, []int{3, 4}},
		{"older", func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) }, []int{3, 4}},
		{"longer", func(path string) error { return os.Truncate(path, 3*pieceLength) }, []int{3, 4}},
		{"shorter", func(path string) error { return os.Truncate(path, 10) }, []int{3, 4}},
		{"gone", os.Remove, nil},
	} {
		for _, clean := range []bool{true, false} {
			if !clean && c.name == "longer" {
				continue
			}
			dir := t.TempDir()
			st := finished(t, tr, dir, clean, nil, all(tr)...)
			if err := c.change(filepath.Join(dir, "t/b")); err != nil {
				t.Fatal(err)
			}
			t.Run(c.name, func(t *testing.T) {
				start(t, tr, dir, nil).wantPlan(st, []int{0, 1, 2, 5, 6}, c.check)
			})
		}
	}
}

func TestPlanChecksEdgesWithTheirFile(t *testing.T) {
	tr, dir := edges(t), t.TempDir()
	st := finished(t, tr, dir, true, nil, all(tr)...)
	if err := os.Chtimes(filepath.Join(dir, "t/a"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	start(t, tr, dir, nil).wantPlan(st, []int{2, 3, 4, 5, 6, 7}, []int{0, 1})
}

// TestPlanAfterAKill: what was written behind the last save is found by the holes
// around it, and nothing else is hashed.
func TestPlanAfterAKill(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("holes in files are looked for on Linux only")
	}
	tr, dir := three(t), t.TempDir()
	s := start(t, tr, dir, nil)
	s.must(s.download(0, 5))
	st := s.save(false, 0, 5)
	s.must(s.download(2, 4))
	s.Close()
	s = start(t, tr, dir, nil)
	s.wantPlan(st, []int{0, 5}, []int{2, 4})
	if right := s.checked(set(7, 2, 4)); !bytes.Equal(right, set(7, 2, 4)) {
		t.Errorf("of them %08b are right", right)
	}
	// Had we ended in order, it would be somebody else who wrote to a and b.
	s.wantPlan(&State{
		Have: st.Have, Synced: st.Synced, Boot: st.Boot, Stamps: st.Stamps, Saved: st.Saved, Clean: true,
	}, []int{5}, []int{0, 1, 2, 3, 4})
}

func TestPlanAfterACrashOfTheSystem(t *testing.T) {
	tr, dir := three(t), t.TempDir()
	st := finished(t, tr, dir, false, nil, all(tr)...)
	st.Synced = set(7, 0, 5)
	st.Boot = "another"
	start(t, tr, dir, nil).wantPlan(st, []int{0, 5}, []int{1, 2, 3, 4, 6})
	st.Clean, st.Synced = true, st.Have
	start(t, tr, dir, nil).wantPlan(st, all(tr), nil)
}

func TestPlanWithoutThePartFile(t *testing.T) {
	tr, dir := edges(t), t.TempDir()
	st := finished(t, tr, dir, true, selecting(0), 0, 1)
	s := start(t, tr, dir, selecting(0))
	s.wantPlan(st, []int{0, 1}, nil)
	s.wantPieces(0, 1)
	s.Close()
	if err := os.Remove(s.paths[s.part()]); err != nil {
		t.Fatal(err)
	}
	start(t, tr, dir, selecting(0)).wantPlan(st, []int{0}, nil)
}

// TestFileBecomesSelected: the edges of b, and all of its pieces that a reader
// fetched, are in the part file when b becomes wanted.
func TestFileBecomesSelected(t *testing.T) {
	tr := edges(t)
	for name, c := range map[string]struct {
		state       bool
		have, check []int
	}{
		"with a state":    {true, []int{0, 1, 3, 6, 7}, nil},
		"without a state": {false, nil, []int{0, 1, 3, 6, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			if !c.state && runtime.GOOS != "linux" {
				t.Skip("holes in files are looked for on Linux only")
			}
			dir := t.TempDir()
			st := finished(t, tr, dir, true, selecting(0, 2), 0, 1, 3, 6, 7)
			part := filepath.Join(dir, "."+hexHash(tr)+".parts")
			if !exists(part) || exists(filepath.Join(dir, "t/b")) {
				t.Fatal("the bytes of b are not in the part file")
			}
			if !c.state {
				st = nil
			}
			s := start(t, tr, dir, nil)
			s.wantPlan(st, c.have, c.check)
			s.wantPieces(0, 1, 3, 6, 7)
			if exists(part) {
				t.Error("the part file stays though nothing is in it")
			}
			s.must(s.download(2, 4, 5))
			wantFile(t, filepath.Join(dir, "t/b"), tr.file(1))
			st = s.save(true, all(tr)...)
			s.Close()
			start(t, tr, dir, nil).wantPlan(st, all(tr), nil)
		})
	}
}

func TestPartFileStaysWhileItIsNeeded(t *testing.T) {
	tr, dir := edges(t), t.TempDir()
	st := finished(t, tr, dir, true, selecting(1), 1, 2, 3, 4, 5, 6)
	s := start(t, tr, dir, selecting(0, 1))
	s.wantPlan(st, []int{1, 2, 3, 4, 5, 6}, nil)
	s.wantPieces(1, 6)
	if !exists(s.paths[s.part()]) || !exists(filepath.Join(dir, "t/a")) {
		t.Error("the edge of a was not moved, or that of c is lost")
	}
}

// TestDeletedFileIsNotTakenForAPartOfThePartFile: b was a file, is deleted and no
// longer wanted; the part file never had its bytes.
func TestDeletedFileIsNotTakenForAPartOfThePartFile(t *testing.T) {
	tr, dir := edges(t), t.TempDir()
	st := finished(t, tr, dir, true, selecting(0, 1), 0, 1, 2, 3, 4, 5, 6)
	if err := os.Remove(filepath.Join(dir, "t/b")); err != nil {
		t.Fatal(err)
	}
	for _, selected := range [][]int{{0}, {0, 1}} {
		start(t, tr, dir, selecting(selected...)).wantPlan(st, []int{0}, nil)
	}
}

func TestUnselectedFileThatExistsIsUsed(t *testing.T) {
	tr, dir := edges(t), t.TempDir()
	st := finished(t, tr, dir, true, nil, all(tr)...)
	s := start(t, tr, dir, selecting(0))
	s.wantPlan(st, all(tr), nil)
	s.wantPieces(all(tr)...)
}
