package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// moving is a torrent with a file of another's beside its own, and a part file.
func moving(t *testing.T, store *Store) (s *session, dir string) {
	tr := newTorrent(t, entry{"a", 100_000, ""}, entry{"sub/deep/b", 2 * pieceLength, ""}, entry{"c", 100_000, ""})
	dir = t.TempDir()
	s = start(t, tr, dir, func(c *Config) {
		selecting(0, 1)(c)
		c.Owners = NewOwners(store)
	})
	s.must(s.fetchSome(0, 1, 2, 3))
	write(t, filepath.Join(dir, "t/sub/notes"), []byte("mine"))
	return s, dir
}

// wantMoved checks that all is in one folder, and nothing in the other.
func wantMoved(t *testing.T, s *session, from, to string) {
	t.Helper()
	wantFile(t, filepath.Join(to, "t/a"), s.torrent.file(0))
	wantFile(t, filepath.Join(to, "t/sub/deep/b"), s.torrent.file(1))
	for _, name := range []string{"t/a", "t/sub/deep", "." + hexHash(s.torrent) + ".parts"} {
		if exists(filepath.Join(from, name)) {
			t.Errorf("%s is still there", name)
		}
	}
	wantFile(t, filepath.Join(from, "t/sub/notes"), []byte("mine"))
	left, err := filepath.Glob(filepath.Join(to, "*", ".*"))
	if more, _ := filepath.Glob(filepath.Join(to, "*", "*", "*", ".*")); err != nil || len(left)+len(more) > 0 {
		t.Errorf("left behind: %v %v %v", left, more, err)
	}
}

// elsewhere makes renames fail as between file systems.
func elsewhere(s *session, also func(op, path string) error) {
	s.cfg.Handles.SetFault(func(op, path string) error {
		if op == "rename" {
			return &os.LinkError{Op: "rename", Old: path, New: "", Err: crossDevice}
		}
		if also != nil {
			return also(op, path)
		}
		return nil
	})
}

const crossDevice = syscall.EXDEV

func TestMove(t *testing.T) {
	for _, copies := range []bool{false, true} {
		store := NewStore(t.TempDir())
		s, from := moving(t, store)
		s.must(store.Save(s.torrent.InfoHash, from, s.save(false, 0, 1, 2, 3)))
		if copies {
			elsewhere(s, nil)
		}
		to := filepath.Join(t.TempDir(), "new", "place")
		s.must(s.Move(t.Context(), to))
		wantMoved(t, s, from, to)
		if s.Dir() != to {
			t.Errorf("it is in %s", s.Dir())
		}
		s.lookNow()
		s.wantPieces(0, 1, 2, 3)
		if s.doubts.round != 0 {
			t.Error("its own move counts as a change by others")
		}
		st, err := store.Load(s.torrent.InfoHash, to)
		if err != nil || st == nil {
			t.Fatalf("the state did not move: %v, %v", st, err)
		}
		if old, _ := store.Load(s.torrent.InfoHash, from); old != nil {
			t.Error("the old place still has a state")
		}
		if to, err := store.MovingTo(s.torrent.InfoHash, from); to != "" || err != nil {
			t.Errorf("it is still being moved to %q, %v", to, err)
		}
		s.must(s.download(4))
		s.wantPieces(4)
		s.Close()
		// What was as it was is not hashed again.
		again := start(t, s.torrent, to, selecting(0, 1))
		st.Clean = true
		_, check, err := again.Plan(st)
		if err != nil || check.Has(0) || check.Has(2) && !copies {
			t.Errorf("it checks %08b, %v", check, err)
		}
	}
}

// A move that is broken off anywhere is finished by the next run, and there is never a
// moment in which a file is neither here nor there.
func TestMoveIsFinished(t *testing.T) {
	for _, op := range []string{"rename", "sync", "remove", "read"} {
		for _, copies := range []bool{true, false} {
			for n := 1; n <= 3; n++ {
				dir := t.TempDir()
				store := NewStore(dir)
				s, from := moving(t, store)
				st := s.save(false, 0, 1, 2, 3)
				s.must(store.Save(s.torrent.InfoHash, from, st))
				calls := 0
				killed := errors.New("killed")
				fault := func(what, path string) error {
					if what == op {
						if calls++; calls >= n {
							return killed
						}
					}
					return nil
				}
				if copies {
					elsewhere(s, fault)
				} else {
					s.cfg.Handles.SetFault(fault)
				}
				to := t.TempDir()
				err := s.Move(t.Context(), to)
				broken := err != nil
				if broken {
					if !errors.Is(err, killed) {
						t.Fatal(err)
					}
					for i, name := range []string{"t/a", "t/sub/deep/b"} {
						if !exists(filepath.Join(from, name)) {
							wantFile(t, filepath.Join(to, name), s.torrent.file(i))
						}
					}
				}
				s.Close()
				s = start(t, s.torrent, from, func(c *Config) {
					selecting(0, 1)(c)
					c.Owners = NewOwners(store)
				})
				target, err := store.MovingTo(s.torrent.InfoHash, from)
				if err != nil || (target == to) != broken {
					t.Fatalf("after %s number %d: it was being moved to %q, %v", op, n, target, err)
				}
				entries, err := store.List()
				if err != nil || len(entries) != 1 || entries[0].MovingTo != target {
					t.Fatalf("the store lists %v, %v", entries, err)
				}
				if broken {
					s.must(s.Move(t.Context(), target))
				} else {
					s.Close()
					s = start(t, s.torrent, to, selecting(0, 1))
				}
				st, err = store.Load(s.torrent.InfoHash, to)
				s.must(err)
				missing, err := s.claim(st)
				if err != nil || len(missing) != s.torrent.NumPieces()-4 {
					t.Errorf("after %s number %d: %v are missing, %v", op, n, missing, err)
				}
				wantMoved(t, s, from, to)
			}
		}
	}
}

func TestMoveDoesNotOverwrite(t *testing.T) {
	s, from := moving(t, NewStore(t.TempDir()))
	to := t.TempDir()
	path := filepath.Join(to, "t/sub/deep/b")
	write(t, path, []byte("mine"))
	if err := s.Move(t.Context(), to); !isTaken(err) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v; want what is in the way", err)
	}
	wantFile(t, path, []byte("mine"))
	wantFile(t, filepath.Join(from, "t/a"), s.torrent.file(0))
	s.wantPieces(0, 1, 2, 3)
	s.must(s.Move(t.Context(), from)) // it is there
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	elsewhere(s, nil)
	if err := s.Move(ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("a move that was given up: %v", err)
	}
	s.wantPieces(0, 1, 2, 3)
}

// Pieces come in and are read while the files move.
func TestMoveWhileItRuns(t *testing.T) {
	tr, dir := three(t), t.TempDir()
	s := start(t, tr, dir, func(c *Config) { c.Owners = NewOwners(nil) })
	s.must(s.fetchSome(0))
	elsewhere(s, nil)
	stop := make(chan struct{})
	moved := make(chan error, 1)
	go func() {
		defer close(moved)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, to := range []string{t.TempDir(), dir} {
				if err := s.Move(context.Background(), to); err != nil {
					moved <- err
					return
				}
			}
		}
	}()
	for i := 1; i < 7; i++ {
		s.must(s.download(i))
		s.lookNow()
		s.wantPieces(0, i)
	}
	close(stop)
	s.must(<-moved)
	s.wantPieces(all(tr)...)
	wantFile(t, filepath.Join(dir, "t/b"), tr.file(1))
}

func TestRemove(t *testing.T) {
	for _, data := range []bool{true, false} {
		s, dir := moving(t, nil)
		kept, err := s.Remove(t.Context(), data)
		if err != nil || len(kept) > 0 {
			t.Errorf("kept %v, %v", kept, err)
		}
		if exists(filepath.Join(dir, "t/a")) == data || exists(filepath.Join(dir, "t/sub/deep")) == data {
			t.Errorf("with data %v: wrong files are left", data)
		}
		if exists(filepath.Join(dir, "."+hexHash(s.torrent)+".parts")) {
			t.Error("the part file is left")
		}
		wantFile(t, filepath.Join(dir, "t/sub/notes"), []byte("mine"))
	}
}

// What the user has changed, or another torrent uses, or was never the torrent's, stays.
func TestRemoveKeepsWhatIsNotItsOwn(t *testing.T) {
	a, same, _ := twins(t)
	dir, owners := t.TempDir(), NewOwners(NewStore(t.TempDir()))
	one := start(t, a, dir, func(c *Config) { c.Owners = owners })
	one.must(one.fetch(nil))
	two := start(t, same, dir, func(c *Config) { c.Owners = owners })
	two.must(two.fetch(nil))
	if kept, err := one.Remove(t.Context(), true); err != nil || len(kept) != 3 {
		t.Errorf("of a shared torrent it kept %v, %v", kept, err)
	}
	two.wantPieces(all(same)...)

	tr := three(t)
	s := start(t, tr, t.TempDir(), nil)
	s.must(s.fetchSome(all(tr)...))
	paths := tr.Paths(s.Dir())
	scribble(t, paths[1], 0)
	kept, err := s.Remove(t.Context(), true)
	if err != nil || len(kept) != 1 || kept[0] != paths[1] || exists(paths[0]) || !exists(paths[1]) {
		t.Errorf("it kept %v, %v; want what was changed", kept, err)
	}

	// Refused, and so nothing of it is the torrent's.
	dir = t.TempDir()
	write(t, tr.Paths(dir)[0], noise(1000))
	s = start(t, tr, dir, nil)
	if err := s.fetch(nil); !isTaken(err) {
		t.Fatal(err)
	}
	if kept, err := s.Remove(t.Context(), true); err != nil || len(kept) != 1 {
		t.Errorf("it kept %v, %v", kept, err)
	}
	wantFile(t, tr.Paths(dir)[0], noise(1000))
}

func TestSetSelected(t *testing.T) {
	tr, dir := edges(t), t.TempDir()
	s := start(t, tr, dir, selecting(0))
	s.must(s.fetchSome(0, 1, 3, 6))
	part := s.paths[s.part()]
	s.must(s.SetSelected(t.Context(), []bool{true, true, false}))
	if !exists(part) {
		t.Error("the part file is gone, with what it has of c")
	}
	s.wantPieces(0, 1, 3, 6)
	s.must(s.download(2, 4, 5))
	wantFile(t, filepath.Join(dir, "t/b"), tr.file(1))
	s.must(s.SetSelected(t.Context(), []bool{false, false, true}))
	if exists(part) || !exists(filepath.Join(dir, "t/a")) {
		t.Error("the part file is still there, or a file is gone")
	}
	s.must(s.download(7))
	s.wantPieces(all(tr)...)
	st := s.save(true, all(tr)...)
	s.Close()
	start(t, tr, dir, nil).wantPlan(st, all(tr), nil)

	dir = t.TempDir()
	write(t, filepath.Join(dir, "t/b"), noise(100))
	s = start(t, tr, dir, selecting(0))
	s.must(s.fetchSome(0, 1))
	if err := s.SetSelected(t.Context(), nil); !isTaken(err) {
		t.Errorf("%v; want that b is not the torrent's", err)
	}
	wantFile(t, filepath.Join(dir, "t/b"), noise(100))
	s.must(s.download(2, 3))
	s.wantPieces(0, 1, 2, 3)
}

// A check can be run at any time, and finds what is there now.
func TestPlanAgain(t *testing.T) {
	s, _, path := seeding(t)
	s.must(os.Remove(path))
	if _, err := s.Stamps(); !errors.Is(err, ErrVanished) {
		t.Errorf("a file that is gone: %v", err)
	}
	missing, err := s.claim(nil)
	if err != nil || len(missing) != 3 {
		t.Fatalf("missing are %v, %v", missing, err)
	}
	s.must(s.download(missing...))
	s.wantPieces(all(s.torrent)...)
	wantFile(t, path, s.torrent.file(0))
}

func TestStoreForgets(t *testing.T) {
	store, tr := NewStore(t.TempDir()), three(t)
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		s := start(t, tr, dir, func(c *Config) { c.Owners = NewOwners(store) })
		s.must(s.fetchSome(0))
		s.must(store.Save(tr.InfoHash, dir, s.save(true, 0)))
		s.Close()
	}
	for i, dir := range dirs {
		entries, err := store.List()
		if err != nil || len(entries) != 2-i {
			t.Errorf("it lists %v, %v", entries, err)
		}
		if raw, err := store.LoadInfo(tr.InfoHash); err != nil || raw == nil {
			t.Errorf("the info dictionary is gone with %d left: %v", 2-i, err)
		}
		if err := store.Delete(tr.InfoHash, dir); err != nil {
			t.Fatal(err)
		}
		if st, err := store.Load(tr.InfoHash, dir); st != nil || err != nil {
			t.Errorf("a state that was deleted: %v, %v", st, err)
		}
		claims, err := store.claimsNear(canonical(filepath.Join(dir, "t")))
		if err != nil || len(claims) > 0 {
			t.Errorf("claims are left: %v, %v", claims, err)
		}
	}
	if raw, err := store.LoadInfo(tr.InfoHash); raw != nil || err != nil {
		t.Errorf("the info dictionary is left: %q, %v", raw, err)
	}
	if err := store.Delete(tr.InfoHash, dirs[0]); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
}
