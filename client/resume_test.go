package client

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
)

// makeFolder writes a folder "data" of three files with random bytes to a new folder,
// and returns the new folder and the torrent. "b" has bytes in pieces 3 to 6, and shares the
// first and the last of them with its neighbours.
func makeFolder(t *testing.T) (dir string, torrent *meta.Torrent) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"a": 200_000, "b": 210_000, "c": 100_000} {
		content := make([]byte, size)
		rand.Read(content)
		if err := os.WriteFile(filepath.Join(dir, "data", name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := meta.Create(context.Background(), filepath.Join(dir, "data"), meta.CreateOptions{PieceLength: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if torrent, err = meta.ParseTorrent(raw); err != nil {
		t.Fatal(err)
	}
	return dir, torrent
}

// seeding are runs of a client that seeds the same data.
type seeding struct {
	t       *testing.T
	dir     string
	torrent *meta.Torrent
	state   string
}

// run seeds until all is there, and returns the last event of the check, the zero one if
// nothing was hashed. It must have been followed to its end.
func (s *seeding) run() (last CheckingEvent) {
	s.t.Helper()
	var mu sync.Mutex
	cfg := plain(s.t)
	cfg.StateDir = s.state
	cfg.OnEvent = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e, ok := e.(CheckingEvent); ok {
			last = e
		}
	}
	c := newClient(s.t, cfg)
	torrent := add(s.t, c, &meta.Source{Torrent: s.torrent}, TorrentOptions{Dir: s.dir})
	await(s.t, "the check", torrent, torrent.Complete())
	stats := torrent.Stats()
	if err := c.Close(); err != nil {
		s.t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if last.Checked != last.Length || stats.Checked != last.Checked || stats.ToCheck != last.Length {
		s.t.Errorf("the check ended at %d of %d bytes; the numbers say %d of %d", last.Checked, last.Length, stats.Checked, stats.ToCheck)
	}
	return last
}

// Data is hashed once after it was changed, touched or put back by others, and not again
// at each start.
func TestDataIsHashedOnce(t *testing.T) {
	dir, torrent := makeFolder(t)
	s := seeding{t, dir, torrent, t.TempDir()}
	again := func(after string) {
		t.Helper()
		if e := s.run(); e.Length != 0 {
			t.Errorf("%s, %d bytes were hashed at the second start", after, e.Length)
		}
	}
	if e := s.run(); e.Checked != 510_000 {
		t.Fatalf("%d bytes of unknown data were hashed", e.Checked)
	}
	again("at first")

	if err := os.Chtimes(filepath.Join(dir, "data", "b"), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if e := s.run(); e.Checked != 4*64<<10 {
		t.Errorf("after a touch of a file with bytes in four pieces, %d bytes were hashed", e.Checked)
	}
	again("after a touch")

	aside, data := filepath.Join(dir, "aside"), filepath.Join(dir, "data")
	if err := os.Rename(data, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(data, os.DirFS(aside)); err != nil {
		t.Fatal(err)
	}
	if e := s.run(); e.Checked == 0 {
		t.Error("a copy was not hashed")
	}
	again("after a copy took its place")

	s.reboot()
	again("after the system was started anew")
}

// reboot makes the state one of an earlier run of the operating system.
func (s *seeding) reboot() {
	s.t.Helper()
	store := disk.NewStore(s.state)
	state, err := store.Load(s.torrent.Info.InfoHash, s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	state.Boot = "another"
	if err := store.Save(s.torrent.Info.InfoHash, s.dir, state); err != nil {
		s.t.Fatal(err)
	}
}
