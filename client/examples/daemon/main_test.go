package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The example does what it says, and nothing is left of it.
func TestDaemon(t *testing.T) {
	local := client.Config{ListenHost: "127.0.0.1", DisableDHT: true, DisableLSD: true, DisableTrackers: true, DisableWebRTC: true}
	from, to := t.TempDir(), t.TempDir()
	seeder, err := client.New(local)
	if err != nil {
		t.Fatal(err)
	}
	defer seeder.Close()
	var links []string
	for _, name := range []string{"first", "second"} {
		if err := os.MkdirAll(filepath.Join(from, name), 0o777); err != nil {
			t.Fatal(err)
		}
		for i, file := range []string{"a", "b"} {
			if err := os.WriteFile(filepath.Join(from, name, file), make([]byte, 100_000*(i+1)), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := meta.Create(t.Context(), filepath.Join(from, name), meta.CreateOptions{PieceLength: 32 << 10})
		if err != nil {
			t.Fatal(err)
		}
		torrent, err := meta.ParseTorrent(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seeder.Add(&meta.Source{Torrent: torrent}, client.TorrentOptions{Dir: from}); err != nil {
			t.Fatal(err)
		}
		magnet := torrent.Magnet()
		magnet.Peers = []string{seeder.TCPAddr().String()}
		links = append(links, magnet.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	local.StateDir = t.TempDir()
	if err := run(ctx, local, links, to); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"done/first/a": true, "done/first/b": true, "first": false, "second": false,
	} {
		if _, err := os.Stat(filepath.Join(to, filepath.FromSlash(path))); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
}
