//go:build unix

package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// What is no file does not hang whoever opens it.
func TestPipesAndDevicesInTheWay(t *testing.T) {
	tr := edges(t)
	for name, make := range map[string]func(path string) error{
		"a pipe": func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"a link to a pipe": func(path string) error {
			return errors.Join(syscall.Mkfifo(path+".pipe", 0o666), os.Symlink(path+".pipe", path))
		},
		"a device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"a folder": func(path string) error { return os.Mkdir(path, 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			// Before the torrent comes, and after it has looked.
			for _, late := range []bool{false, true} {
				for _, at := range []string{"t/a", "." + hexHash(tr) + ".parts"} {
					dir := t.TempDir()
					s := start(t, tr, dir, selecting(0))
					s.must(os.Mkdir(filepath.Join(dir, "t"), 0o777))
					if late {
						if _, err := s.claim(nil); err != nil {
							t.Fatal(err)
						}
					}
					s.must(make(filepath.Join(dir, at)))
					err := s.fetchOr(late)
					if err == nil || !strings.Contains(err.Error(), "in the way") {
						t.Errorf("%s, late %v: %v; want what is in the way", at, late, err)
					}
					s.Close()
				}
			}
		})
	}
}

// fetchOr downloads, after a claim if there was none.
func (s *session) fetchOr(claimed bool) error {
	if claimed {
		return s.download(0, 1)
	}
	return s.fetch(nil)
}

// The folder of a torrent may be a link of the user's own.
func TestLinkedFolderIsFollowed(t *testing.T) {
	tr, dir, elsewhere := edges(t), t.TempDir(), t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(dir, "t")); err != nil {
		t.Fatal(err)
	}
	s := start(t, tr, dir, nil)
	s.must(s.fetch(nil))
	wantFile(t, filepath.Join(elsewhere, "a"), tr.file(0))
}

// A link that is where an empty file should be, as other programs make them of a torrent's
// links, is not followed: what it leads to is not emptied. And nothing is made through one
// that leads nowhere.
func TestLinksOfATorrentAreNotFollowed(t *testing.T) {
	tr := newTorrent(t, entry{"a", pieceLength, ""}, entry{"link", 0, ""}, entry{"b", pieceLength, ""})
	for _, target := range []string{"victim", "nowhere"} {
		dir := t.TempDir()
		victim := filepath.Join(dir, "victim")
		write(t, victim, []byte("mine"))
		write(t, filepath.Join(dir, "t/a"), tr.file(0))
		if err := os.Symlink(filepath.Join(dir, target), filepath.Join(dir, "t/link")); err != nil {
			t.Fatal(err)
		}
		s := start(t, tr, dir, nil)
		s.must(s.fetch(nil))
		for _, file := range s.Longer() {
			s.must(s.Cut(file))
		}
		wantFile(t, victim, []byte("mine"))
		if exists(filepath.Join(dir, "nowhere")) {
			t.Error("a file was made through a link")
		}
		s.must(os.Remove(filepath.Join(dir, "t/b")))
		if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "t/b")); err != nil {
			t.Fatal(err)
		}
		s.Close()
		s = start(t, tr, dir, nil)
		if err := s.fetch(nil); err == nil || exists(filepath.Join(dir, "nowhere")) {
			t.Errorf("a file was made through a link to nowhere, %v", err)
		}
	}
}

// The part file is not written through a link either.
func TestPartFileIsNoLink(t *testing.T) {
	tr, dir := edges(t), t.TempDir()
	victim := filepath.Join(dir, "victim")
	write(t, victim, []byte("mine"))
	if err := os.Symlink(victim, filepath.Join(dir, "."+hexHash(tr)+".parts")); err != nil {
		t.Fatal(err)
	}
	if err := start(t, tr, dir, selecting(0)).fetch(nil); err == nil {
		t.Error("it was written through a link")
	}
	wantFile(t, victim, []byte("mine"))
}

// The caches of two torrents in one folder, and of one in two processes, are two files.
func TestCachesAreNotShared(t *testing.T) {
	tr, dir := newTorrent(t, entry{"f", 8 * pieceLength, ""}), t.TempDir()
	victim := filepath.Join(dir, "victim")
	write(t, victim, []byte("mine"))
	if err := os.Symlink(victim, filepath.Join(dir, "."+hexHash(tr)+".cache")); err != nil {
		t.Fatal(err)
	}
	cached := func(c *Config) { c.Cache = 4 * pieceLength }
	one, two := start(t, tr, dir, cached), start(t, tr, dir, cached)
	var both sync.WaitGroup
	both.Go(func() { one.must(one.download(0, 1, 2, 3)) })
	both.Go(func() { two.must(two.download(7, 6, 5, 4)) })
	both.Wait()
	one.wantPieces(0, 1, 2, 3)
	two.wantPieces(4, 5, 6, 7)
	wantFile(t, victim, []byte("mine"))
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("the folder holds %v, %v; the cache has a name", left, err)
	}
	f, err := unlinked(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("the folder holds %v", left)
	}
}
