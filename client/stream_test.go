package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

// startStream seeds a file of random bytes and adds it to a second client.
func startStream(t *testing.T, size int, cfg Config, opts TorrentOptions) (leech *Torrent, data []byte) {
	t.Helper()
	dir, torrent := makeTorrent(t, "data.bin", size)
	data, err := os.ReadFile(filepath.Join(dir, "data.bin"))
	if err != nil {
		t.Fatal(err)
	}
	seeder := newClient(t, cfg)
	add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	opts.Dir, opts.Peers = t.TempDir(), []string{seeder.TCPAddr().String()}
	leech = add(t, newClient(t, quiet(t)), &meta.Source{Torrent: torrent}, opts)
	return leech, data
}

func openFile(t *testing.T, torrent *Torrent) *FileReader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	r, err := torrent.OpenFile(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReadWhileDownloading(t *testing.T) {
	leech, data := startStream(t, 5<<20+321, quiet(t), TorrentOptions{})
	r := openFile(t, leech)
	defer r.Close()
	r.SetWindow(256 << 10)
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes (%v), which differ from the file", len(got), err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

// What a reader asks for comes before the rest: with a slow seeder, its piece is
// there long before the file is.
func TestSeekComesFirst(t *testing.T) {
	cfg := quiet(t)
	cfg.UpLimit = 1 << 20
	leech, data := startStream(t, 8<<20, cfg, TorrentOptions{})
	r := openFile(t, leech)
	defer r.Close()
	for _, at := range []int64{6 << 20, 1 << 20, 4 << 20} {
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 100<<10)
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, data[at:at+int64(len(got))]) {
			t.Fatalf("at %d: wrong bytes (%v)", at, err)
		}
	}
	if s := leech.Stats(); s.Completed > 3<<20 {
		t.Errorf("%d bytes were fetched for three reads of 100 KiB", s.Completed)
	}
}

// With a cache, the file passes through a bounded place on disk, and what was
// passed can be read again.
func TestCache(t *testing.T) {
	const cache = 5 << 20
	leech, data := startStream(t, 16<<20, quiet(t), TorrentOptions{Cache: cache})
	r := openFile(t, leech)
	defer r.Close()
	r.SetWindow(300 << 10)
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes (%v), which differ from the file", len(got), err)
	}
	for range 20 {
		at := rand.Int64N(int64(len(data)) - 1000)
		r.Seek(at, io.SeekStart)
		part := make([]byte, 1000)
		if _, err := io.ReadFull(r, part); err != nil || !bytes.Equal(part, data[at:at+1000]) {
			t.Fatalf("after a seek to %d: wrong bytes (%v)", at, err)
		}
	}
	if n := leech.content.Load().Slots() * int(leech.Info().PieceLength); n > cache {
		t.Errorf("the cache has room for %d bytes, want at most %d", n, cache)
	}
	leech.Close()
	if entries, _ := os.ReadDir(leech.Dir()); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}
