package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// claim does what a torrent does at its start.
func (s *session) claim(st *State) (missing []int, err error) {
	s.t.Helper()
	have, check, err := s.Plan(st)
	if err != nil {
		return nil, err
	}
	right := s.checked(check)
	for i := range have {
		have[i] |= right[i]
	}
	for i := range s.torrent.NumPieces() {
		if !have.Has(i) {
			missing = append(missing, i)
		}
	}
	if err := s.Claim(have); err != nil {
		return missing, err
	}
	return missing, s.CreateEmpty()
}

// fetch claims the files and downloads what is missing of them.
func (s *session) fetch(st *State) error {
	s.t.Helper()
	missing, err := s.claim(st)
	if err != nil {
		return err
	}
	return s.download(missing...)
}

func isTaken(err error) bool {
	var taken *TakenError
	return errors.As(err, &taken)
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func noise(n int) []byte { return bytes.Repeat([]byte("mine"), n/4+1)[:n] }

// Files of the user's own are in the way of a torrent. None is touched, whatever its size,
// and the error says what to do; or it is taken, when that was asked for.
func TestFilesOfTheUsersOwn(t *testing.T) {
	big := newTorrent(t, entry{"a", 3*pieceLength + 100, ""}, entry{"b", 5 * pieceLength, ""})
	small := newTorrent(t, entry{"track", 2*pieceLength + 100, ""}, entry{"cover.jpg", 1000, ""}, entry{"empty", 0, ""}, entry{"last", 500, ""})
	single := newTorrent(t, entry{"f", 4 * pieceLength, ""})
	for _, c := range []struct {
		name string
		tr   *torrent
		file int
		own  []byte
	}{
		{"of the same size", big, 1, noise(5 * pieceLength)},
		{"shorter", big, 1, noise(70_000)},
		{"a few bytes", big, 1, []byte("note")},
		{"longer", big, 0, noise(9 * pieceLength)},
		{"with zeros in front", big, 1, append(make([]byte, 3*pieceLength), noise(2*pieceLength)...)},
		{"zeros but for the last byte", big, 1, append(make([]byte, 5*pieceLength-1), 1)},
		{"a single file", single, 0, noise(4 * pieceLength)},
		{"a single file, shorter", single, 0, []byte("x")},
		{"small", small, 1, noise(1000)},
		{"small, shorter", small, 1, noise(10)},
		{"small, longer", small, 1, noise(1001)},
		{"where an empty one should be", small, 2, noise(10)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := c.tr.Paths(dir)[c.file]
			write(t, path, c.own)
			s := start(t, c.tr, dir, nil)
			err := s.fetch(nil)
			if !isTaken(err) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--out") || !strings.Contains(err.Error(), "--overwrite") {
				t.Errorf("%v; want that the file is not the torrent's, and what to do", err)
			}
			s.Close()
			wantFile(t, path, c.own)
			if s.Owns(c.file) {
				t.Error("it may be removed")
			}

			s = start(t, c.tr, dir, func(c *Config) { c.Overwrite = true })
			s.must(s.fetch(nil))
			for _, file := range s.Longer() {
				s.must(s.Cut(file))
			}
			wantFile(t, path, c.tr.file(c.file))
		})
	}
}

// What an earlier run or another program has of the torrent is gone on with, with or
// without a state.
func TestPartOfTheTorrentIsItsOwn(t *testing.T) {
	tr := newTorrent(t, entry{"a", 3 * pieceLength, ""}, entry{"cover", 1000, ""}, entry{"b", 2*pieceLength - 1000, ""})
	for name, prepare := range map[string]func(dir string){
		"nothing":              func(string) {},
		"empty":                func(dir string) { write(t, dir+"/t/a", nil) },
		"zeros":                func(dir string) { write(t, dir+"/t/a", make([]byte, 3*pieceLength)) },
		"one piece":            func(dir string) { write(t, dir+"/t/a", append(bytes.Clone(tr.piece(0)), noise(2*pieceLength)...)) },
		"shorter":              func(dir string) { write(t, dir+"/t/a", tr.data[:pieceLength+10]) },
		"a small file":         func(dir string) { write(t, dir+"/t/cover", tr.file(1)) },
		"longer":               func(dir string) { write(t, dir+"/t/a", append(bytes.Clone(tr.file(0)), 'x')) },
		"all of it":            func(dir string) { write(t, dir+"/t/a", tr.file(0)); write(t, dir+"/t/b", tr.file(2)) },
		"a small one of zeros": func(dir string) { write(t, dir+"/t/cover", make([]byte, 100)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			prepare(dir)
			s := start(t, tr, dir, nil)
			s.must(s.fetch(nil))
			s.wantPieces(all(tr)...)
			for i := range tr.Files {
				if !s.Owns(i) {
					t.Errorf("file %d counts as another's", i)
				}
			}
		})
	}
}

// The pieces of all zeros in a file of the user's own prove nothing.
func TestZerosProveNothing(t *testing.T) {
	data := append(make([]byte, pieceLength), noise(pieceLength)...)
	own := append(make([]byte, pieceLength), bytes.Repeat([]byte("own"), pieceLength/3)...)
	tr, dir := newTorrentWith(t, data), t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, own)
	if err := start(t, tr, dir, nil).fetch(nil); !isTaken(err) {
		t.Errorf("%v; want that the file is not the torrent's", err)
	}
	wantFile(t, path, own)
}

// A file that is not wanted is left alone, and its edges go to the part file; also in the
// next run.
func TestUnselectedFileOfTheUsersOwn(t *testing.T) {
	tr := edges(t)
	for _, own := range [][]byte{noise(300000), noise(10), noise(500000)} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "t/b"), own)
		s := start(t, tr, dir, selecting(0))
		s.must(s.fetch(nil)) // all of it, with what is not wanted
		s.wantPieces(all(tr)...)
		st := s.save(true, all(tr)...)
		s.Close()
		wantFile(t, filepath.Join(dir, "t/b"), own)
		s = start(t, tr, dir, selecting(0))
		s.wantPlan(st, all(tr), nil)
		s.wantPieces(all(tr)...)
		s.Close()
		s = start(t, tr, dir, nil)
		if err := s.fetch(st); !isTaken(err) {
			t.Errorf("when it becomes wanted: %v", err)
		}
		wantFile(t, filepath.Join(dir, "t/b"), own)
	}
}

// A file that comes to be after the look at the folder is not written over.
func TestFileThatAppears(t *testing.T) {
	tr := newTorrent(t, entry{"f", 4 * pieceLength, ""})
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	s := start(t, tr, dir, nil)
	if _, err := s.claim(nil); err != nil {
		t.Fatal(err)
	}
	write(t, path, noise(4*pieceLength))
	if err := s.download(0); !isTaken(err) {
		t.Errorf("%v; want that the file is not the torrent's", err)
	}
	wantFile(t, path, noise(4*pieceLength))
	s.Close()

	// Of the same torrent in another process, it is.
	s.must(os.Remove(path))
	s = start(t, tr, dir, nil)
	if _, err := s.claim(nil); err != nil {
		t.Fatal(err)
	}
	other := start(t, tr, dir, nil)
	s.must(other.fetch(nil))
	s.must(s.download(all(tr)...))
	wantFile(t, path, tr.data)
}

// twins are torrents of the same paths.
func twins(t *testing.T) (a, same, other *torrent) {
	entries := []entry{{"track", 3*pieceLength + 5000, ""}, {"cover.jpg", 40_000, ""}, {"more/last", 2*pieceLength + 7, ""}}
	return newTorrentOf(t, 1, pieceLength, entries...), newTorrentOf(t, 1, pieceLength/2, entries...),
		newTorrentOf(t, 2, pieceLength, entries...)
}

// The same data under two infohashes is shared: in one process, in two, and in turns.
func TestSameDataOfTwoTorrents(t *testing.T) {
	a, same, _ := twins(t)
	t.Run("at once in one process", func(t *testing.T) {
		dir, owners := t.TempDir(), NewOwners(nil)
		one := start(t, a, dir, func(c *Config) { c.Owners = owners })
		two := start(t, same, dir, func(c *Config) { c.Owners = owners })
		mineMissing, err := one.claim(nil)
		one.must(err)
		theirsMissing, err := two.claim(nil)
		one.must(err)
		var both sync.WaitGroup
		both.Go(func() { one.must(one.download(mineMissing...)) })
		both.Go(func() { two.must(two.download(theirsMissing...)) })
		both.Wait()
		one.wantPieces(all(a)...)
		two.wantPieces(all(same)...)
		if two.Owns(0) {
			t.Error("a shared file may be removed")
		}
	})
	t.Run("at once in two processes", func(t *testing.T) {
		dir, state := t.TempDir(), t.TempDir()
		one := start(t, a, dir, func(c *Config) { c.Owners = NewOwners(NewStore(state)) })
		two := start(t, same, dir, func(c *Config) { c.Owners = NewOwners(NewStore(state)) })
		mineMissing, err := one.claim(nil)
		one.must(err)
		theirsMissing, err := two.claim(nil)
		one.must(err)
		var both sync.WaitGroup
		both.Go(func() { one.must(one.download(mineMissing...)) })
		both.Go(func() { two.must(two.download(theirsMissing...)) })
		both.Wait()
		one.wantPieces(all(a)...)
		two.wantPieces(all(same)...)
	})
	for _, store := range []bool{true, false} {
		dir, state := t.TempDir(), t.TempDir()
		owners := func(c *Config) {
			if store {
				c.Owners = NewOwners(NewStore(state))
			}
		}
		one := start(t, a, dir, owners)
		one.must(one.download(0, 2)) // partly
		st := one.save(false, 0, 2)
		one.must(NewStore(state).Save(a.InfoHash, dir, st))
		one.Close()
		two := start(t, same, dir, owners)
		missing, err := two.claim(nil)
		two.must(err)
		if len(missing) == same.NumPieces() {
			t.Error("what is right was not found")
		}
		two.must(two.download(missing...))
		two.wantPieces(all(same)...)
		two.Close()
		one = start(t, a, dir, owners)
		if missing, err = one.claim(st); err != nil || len(missing) > 0 {
			t.Errorf("with a store %v: the first finds %v missing, %v", store, missing, err)
		}
	}
}

// The data of two torrents differs where their paths do not. The second one fails,
// whatever the order, and the first one's data stays.
func TestOtherDataOfTwoTorrents(t *testing.T) {
	a, _, b := twins(t)
	keep := func(t *testing.T, dir string, tr *torrent) {
		t.Helper()
		for i, path := range tr.Paths(dir) {
			wantFile(t, path, tr.file(i))
		}
	}
	t.Run("one after the other", func(t *testing.T) {
		for _, state := range []string{"", t.TempDir()} {
			dir := t.TempDir()
			owners := func(c *Config) {
				if state != "" {
					c.Owners = NewOwners(NewStore(state))
				}
			}
			s := start(t, a, dir, owners)
			s.must(s.fetch(nil))
			s.Close()
			s = start(t, b, dir, owners)
			if err := s.fetch(nil); !isTaken(err) {
				t.Errorf("%v; want that the files are another's", err)
			}
			keep(t, dir, a)
		}
	})
	t.Run("at once in one process", func(t *testing.T) {
		dir, owners := t.TempDir(), NewOwners(nil)
		one := start(t, a, dir, func(c *Config) { c.Owners = owners })
		two := start(t, b, dir, func(c *Config) { c.Owners = owners })
		for _, s := range []*session{one, two} {
			if _, err := s.claim(nil); err != nil {
				t.Fatal(err)
			}
		}
		one.must(one.download(3)) // the cover, and the end of the track
		if err := two.download(3); !isTaken(err) || !strings.Contains(err.Error(), "running") {
			t.Errorf("%v; want that the cover is used by another torrent", err)
		}
		if err := two.download(1); !isTaken(err) {
			t.Errorf("%v; want that it writes no more to the file that it has lost", err)
		}
		two.must(two.download(4)) // what nobody else has verified
		if err := one.download(4); !isTaken(err) {
			t.Errorf("%v; want that the last file is used by another torrent", err)
		}
		one.wantPieces(3)
		two.wantPieces(4)
	})
	t.Run("at once in one process, and the first has ended", func(t *testing.T) {
		dir, owners := t.TempDir(), NewOwners(NewStore(t.TempDir()))
		one := start(t, a, dir, func(c *Config) { c.Owners = owners })
		two := start(t, b, dir, func(c *Config) { c.Owners = owners })
		for _, s := range []*session{one, two} {
			if _, err := s.claim(nil); err != nil {
				t.Fatal(err)
			}
		}
		one.must(one.download(all(a)...))
		one.Close()
		for i := range b.NumPieces() {
			if err := two.download(i); !isTaken(err) {
				t.Errorf("piece %d: %v; want that the files are another's", i, err)
			}
		}
		keep(t, dir, a)
	})
	t.Run("at once in two processes", func(t *testing.T) {
		dir, state := t.TempDir(), t.TempDir()
		one := start(t, a, dir, func(c *Config) { c.Owners = NewOwners(NewStore(state)) })
		two := start(t, b, dir, func(c *Config) { c.Owners = NewOwners(NewStore(state)) })
		for _, s := range []*session{one, two} {
			if _, err := s.claim(nil); err != nil {
				t.Fatal(err)
			}
		}
		one.must(one.download(3))
		one.must(NewStore(state).Save(a.InfoHash, dir, one.save(false, 3)))
		if err := two.download(3); !isTaken(err) {
			t.Errorf("%v; want that the cover is another's", err)
		}
		// The other way round: the one that came first heeds who came later.
		two.must(NewStore(state).Save(b.InfoHash, dir, two.save(false)))
		one.wantPieces(3)
	})
	t.Run("of another length", func(t *testing.T) {
		longer := newTorrentOf(t, 1, pieceLength, entry{"track", 3*pieceLength + 5000, ""}, entry{"cover.jpg", 90_000, ""})
		for _, running := range []bool{true, false} {
			dir, state := t.TempDir(), t.TempDir()
			owners := NewOwners(NewStore(state))
			one := start(t, a, dir, func(c *Config) { c.Owners = owners })
			one.must(one.fetch(nil))
			one.must(NewStore(state).Save(a.InfoHash, dir, one.save(true, all(a)...)))
			if !running {
				one.Close()
				owners = NewOwners(NewStore(state))
			}
			two := start(t, longer, dir, func(c *Config) { c.Owners = owners })
			if err := two.fetch(nil); !isTaken(err) {
				t.Errorf("%v; want that the cover is another's", err)
			}
			keep(t, dir, a)
		}
	})
	t.Run("overwritten", func(t *testing.T) {
		dir, state := t.TempDir(), t.TempDir()
		one := start(t, a, dir, func(c *Config) { c.Owners = NewOwners(NewStore(state)) })
		one.must(one.fetch(nil))
		stA := one.save(true, all(a)...)
		one.must(NewStore(state).Save(a.InfoHash, dir, stA))
		one.Close()
		two := start(t, b, dir, func(c *Config) { c.Owners, c.Overwrite = NewOwners(NewStore(state)), true })
		missing, err := two.claim(nil)
		two.must(err)
		two.must(two.download(missing[:2]...))
		st := two.save(true, missing[:2]...)
		two.must(NewStore(state).Save(b.InfoHash, dir, st))
		two.Close()
		// Asked once, it goes on without being asked.
		two = start(t, b, dir, func(c *Config) { c.Owners = NewOwners(NewStore(state)) })
		two.must(two.fetch(st))
		keep(t, dir, b)
		two.Close()
		one = start(t, a, dir, func(c *Config) { c.Owners = NewOwners(NewStore(state)) })
		if err := one.fetch(stA); !isTaken(err) {
			t.Errorf("%v; want that the files are another's now", err)
		}
		keep(t, dir, b)
	})
}

// A file is known by what it is, not by how its folder is called.
func TestSharedThroughALink(t *testing.T) {
	a, _, b := twins(t)
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	owners := NewOwners(nil)
	one := start(t, a, dir, func(c *Config) { c.Owners = owners })
	two := start(t, b, link, func(c *Config) { c.Owners = owners })
	for _, s := range []*session{one, two} {
		if _, err := s.claim(nil); err != nil {
			t.Fatal(err)
		}
	}
	one.must(one.download(3))
	if err := two.download(3); !isTaken(err) {
		t.Errorf("%v; want that the cover is another's", err)
	}
}

// Those near a torrent are found by its root, whatever the order of names.
func TestTorrentsThatMayShareFiles(t *testing.T) {
	roots := []string{"/", "/d", "/d/a", "/d/a", "/d/a b", "/d/a-b", "/d/a-b/c", "/d/a.b", "/d/a/b", "/d/a/b/c", "/d/ab", "/d/b", "/e/a"}
	o := NewOwners(nil)
	var all []*claimant
	for i, root := range roots {
		root = filepath.FromSlash(root)
		c := &claimant{root: root, files: map[string]int{filepath.Join(root, strconv.Itoa(i)): 0}, key: claimKey{dir: strconv.Itoa(i)}, storage: &Storage{}}
		if err := o.enlist(c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	check := func() {
		t.Helper()
		for _, c := range all {
			var want []*claimant
			for _, other := range all {
				if other != c && (within(c.root, other.root) || within(other.root, c.root)) {
					want = append(want, other)
				}
			}
			got := o.near(c)
			if len(got) != len(want) || slices.ContainsFunc(want, func(other *claimant) bool { return !slices.Contains(got, other) }) {
				t.Errorf("near %s there are %d, want %d", c.root, len(got), len(want))
			}
		}
	}
	check()
	o.leave(all[3].storage)
	all = slices.Delete(all, 3, 4)
	check()
}
