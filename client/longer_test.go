package client

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/client/meta"
)

// lengthen appends to a file.
func lengthen(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
}

// Files that are in a download's way may be longer than in the torrent. They are not
// afterwards, whether anything of them had to be downloaded or not; but for those that
// were not selected, which are none of its business.
func TestDownloadCutsLongerFiles(t *testing.T) {
	dir, torrent := makeFolder(t)
	seeder := newClient(t, plain(t))
	add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})

	s := seeding{t, t.TempDir(), torrent, t.TempDir()}
	data := filepath.Join(s.dir, "data")
	if err := os.CopyFS(data, os.DirFS(filepath.Join(dir, "data"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "b"), make([]byte, 500_000), 0o666); err != nil {
		t.Fatal(err)
	}
	lengthen(t, filepath.Join(data, "a"))
	lengthen(t, filepath.Join(data, "c"))
	cfg := plain(t)
	cfg.StateDir = s.state
	c := newClient(t, cfg)
	leech := add(t, c, &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: s.dir, Select: "a,b", Peers: []string{seeder.TCPAddr().String()}})
	await(t, "the download", leech, leech.Complete())
	sameFile(t, filepath.Join(dir, "data", "a"), filepath.Join(data, "a"))
	sameFile(t, filepath.Join(dir, "data", "b"), filepath.Join(data, "b"))
	if info, err := os.Stat(filepath.Join(data, "c")); err != nil || info.Size() != 101_000 {
		t.Errorf("the file that was not selected: %v, %v", info, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// Now c as well, of which all bytes are there.
	for range 2 {
		if e := s.run(); e.Length != 0 {
			t.Errorf("%d bytes were hashed at the next start", e.Length)
		}
		sameFile(t, filepath.Join(dir, "data", "c"), filepath.Join(data, "c"))
	}
}

// A file of the user's own that has grown is seeded as far as the torrent goes, and not
// cut.
func TestSeedLeavesLongerFiles(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 200_000)
	path := filepath.Join(dir, "data.bin")
	lengthen(t, path)
	cfg := plain(t)
	var mu sync.Mutex
	var warnings []string
	cfg.OnEvent = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e, ok := e.(WarningEvent); ok {
			warnings = append(warnings, e.Message)
		}
	}
	seed := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir, KeepLonger: true})
	await(t, "the check", seed, seed.Complete())
	if info, err := os.Stat(path); err != nil || info.Size() != 201_000 {
		t.Errorf("the file: %v, %v", info, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(warnings) != 1 || !strings.Contains(warnings[0], path+" is longer than in the torrent") {
		t.Errorf("warned of %q", warnings)
	}
}
