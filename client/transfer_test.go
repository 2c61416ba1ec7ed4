package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

// quiet is a configuration that finds no peers but those it is given.
func quiet(t *testing.T) Config {
	return Config{
		ListenHost: "127.0.0.1", StateDir: t.TempDir(),
		DisableDHT: true, DisableLSD: true, DisableTrackers: true,
	}
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// makeTorrent writes a file of random bytes to a new folder, and returns the folder
// and the torrent.
func makeTorrent(t *testing.T, name string, size int) (dir string, torrent *meta.Torrent) {
	t.Helper()
	return makeTorrentOf(t, 64<<10, name, size)
}

// makeTorrentOf is makeTorrent with a choice of the piece length.
func makeTorrentOf(t *testing.T, pieceLength int64, name string, size int) (dir string, torrent *meta.Torrent) {
	t.Helper()
	dir = t.TempDir()
	data := make([]byte, size)
	rand.Read(data)
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
		t.Fatal(err)
	}
	raw, err := meta.Create(context.Background(), filepath.Join(dir, name), meta.CreateOptions{PieceLength: pieceLength})
	if err != nil {
		t.Fatal(err)
	}
	if torrent, err = meta.ParseTorrent(raw); err != nil {
		t.Fatal(err)
	}
	return dir, torrent
}

func add(t *testing.T, c *Client, src *meta.Source, opts TorrentOptions) *Torrent {
	t.Helper()
	torrent, err := c.Add(src, opts)
	if err != nil {
		t.Fatal(err)
	}
	return torrent
}

func await(t *testing.T, what string, torrent *Torrent, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-torrent.Failed():
		t.Fatalf("waiting for %s: %v", what, torrent.Err())
	case <-time.After(30 * time.Second):
		t.Fatalf("waiting for %s: %+v", what, torrent.Stats())
	}
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Fatalf("%s and %s differ", a, b)
	}
}

func TestDownloadByMagnet(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 3<<20+12345)
	seeder := newClient(t, quiet(t))
	seed := add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	await(t, "the seed's check", seed, seed.Complete())

	leecher, out := newClient(t, quiet(t)), t.TempDir()
	magnet := torrent.Magnet()
	magnet.Peers = []string{seeder.TCPAddr().String()}
	leech := add(t, leecher, &meta.Source{Magnet: magnet}, TorrentOptions{Dir: out})
	await(t, "the metadata", leech, leech.GotInfo())
	await(t, "the download", leech, leech.Complete())
	sameFile(t, filepath.Join(dir, "data.bin"), filepath.Join(out, "data.bin"))
	s := leech.Stats()
	if s.State != StateSeeding || s.Left != 0 || s.Downloaded != torrent.Info.Length || s.Wasted != 0 {
		t.Errorf("stats after the download: %+v", s)
	}
}
