package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

func TestSelectDownloadsTheChosenFilesOnly(t *testing.T) {
	files := []fixture.File{
		{Path: "season 1/one.mkv", Size: 700_001}, {Path: "season 1/one.srt", Size: 3_000},
		{Path: "season 2/two.mkv", Size: 600_000}, {Path: "season 2/two.srt", Size: 0},
		{Path: "notes.txt", Size: 500_007},
	}
	cases := []struct {
		selection string
		want      []int
		from      realpeer.Program
	}{
		{"0,3-4", []int{0, 3, 4}, realpeer.Libtorrent},
		{"*.mkv", []int{0, 2}, realpeer.Aria2},
		{"season 2/", []int{2, 3}, realpeer.Transmission},
		{"notes.txt,1", []int{1, 4}, realpeer.Libtorrent},
	}
	for _, c := range cases {
		t.Run(c.selection, func(t *testing.T) {
			t.Parallel()
			tor := makeTorrent(t, files, fixture.Options{PieceLength: 64 << 10})
			peer := realpeer.Start(t, realpeer.Options{Program: c.from, Torrent: tor.Path, Dir: tor.Dir, Seed: true})
			dir := t.TempDir()
			run := start(t, args([]string{
				"download", tor.Path, "-o", dir, "--peer", peer.Addr, "--select", c.selection,
			}, alone)...)
			waitExit(t, run, 0)
			for i := range files {
				if slices.Contains(c.want, i) {
					if err := tor.CompareFile(dir, i); err != nil {
						t.Error(err)
					}
					continue
				}
				// The edges of shared pieces must not show up as files of their own.
				if _, err := os.Stat(tor.FilePath(dir, i)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("file %s was not selected but is there (%v)", files[i].Path, err)
				}
			}
		})
	}
}

func TestFileOfMoreThanFourGiB(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 4 GiB: not with -short")
	}
	const size = 4<<30 + 12_345
	dir, err := os.MkdirTemp(roomy(t, 3*size/2), "causeway-4g")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tor := makeTorrentIn(t, dir, []fixture.File{{Size: size, Sparse: true}}, fixture.Options{PieceLength: 4 << 20})
	t.Run("download", func(t *testing.T) {
		peer := realSeed(t, tor, realpeer.Options{})
		out := filepath.Join(dir, "downloaded")
		run := start(t, args([]string{"download", tor.Path, "-o", out, "--peer", peer.Addr, "--encryption", "off"}, alone)...)
		finish(t, run, tor, out)
		os.RemoveAll(out) // makes room for the next
	})
	t.Run("seed", func(t *testing.T) {
		_, addr := seed(t, tor, args([]string{"--encryption", "off"}, alone)...)
		out := filepath.Join(dir, "received")
		peer := realpeer.Start(t, realpeer.Options{
			Program: realpeer.Libtorrent, Torrent: tor.Path, Dir: out, Peers: []string{addr},
		})
		received(t, peer, tor, out)
	})
}

// roomy returns a folder with room for so many bytes, tmpfs first.
func roomy(t *testing.T, size int64) string {
	t.Helper()
	for _, dir := range []string{"/dev/shm", os.TempDir()} {
		if free, err := freeBytes(dir); err == nil && free > size {
			return dir
		}
	}
	t.Skipf("no folder with %d MiB of room", size>>20)
	return ""
}

func TestTenThousandSmallFiles(t *testing.T) {
	t.Parallel()
	var files []fixture.File
	for i := range 10_000 {
		files = append(files, fixture.File{Path: fmt.Sprintf("%02d/%04d", i/100, i), Size: int64(i % 700)})
	}
	tor := makeTorrent(t, files, fixture.Options{PieceLength: 64 << 10})
	t.Run("download", func(t *testing.T) {
		t.Parallel()
		peer := realSeed(t, tor, realpeer.Options{})
		dir := t.TempDir()
		run := start(t, args([]string{"download", tor.Path, "-o", dir, "--peer", peer.Addr}, alone)...)
		finish(t, run, tor, dir)
	})
	t.Run("seed", func(t *testing.T) {
		t.Parallel()
		_, addr := seed(t, tor, alone...)
		dir := t.TempDir()
		peer := realpeer.Start(t, realpeer.Options{
			Program: realpeer.Libtorrent, Torrent: tor.Path, Dir: dir, Peers: []string{addr},
		})
		received(t, peer, tor, dir)
	})
}

// Two processes of our own, from `create` to the copy, knowing only the magnet link
// that `seed` prints and the address of the seed.
func TestCausewayToCausewayByMagnet(t *testing.T) {
	t.Parallel()
	tor := mixed(t)
	_, addr := seed(t, tor, alone...)
	dir := t.TempDir()
	run := start(t, args([]string{tor.Magnet(addr), "-o", dir}, alone)...)
	finish(t, run, tor, dir)
}

// Torrents that other programs made, with the infohashes that they computed; see
// testdata/README.md.
func TestTorrentsOfOtherPrograms(t *testing.T) {
	testdata := filepath.Join("..", "..", "testdata")
	for name, infoHash := range map[string]string{
		"transmission":      "07477fddd03b600ccab2efb20da8760aec15a684",
		"libtorrent-v1":     "5c86b99b635449f4a0ba1b90e6866a1bf33786f8",
		"libtorrent-hybrid": "7dd9deec16cd2d64672611b90b1a01171f57cc86",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(testdata, "torrents", name+".torrent")
			info := start(t, "info", path)
			waitExit(t, info, 0)
			e, ok := info.Last("torrent")
			if !ok || e.InfoHash != infoHash || e.Name != "sample" {
				t.Errorf("info: infohash %q, name %q; want %q, \"sample\"", e.InfoHash, e.Name, infoHash)
			}
			waitExit(t, start(t, "verify", path, testdata), 0)

			damaged := t.TempDir()
			if err := os.CopyFS(damaged, os.DirFS(testdata)); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(filepath.Join(damaged, "sample", "numbers", "primes.txt"), 50_000); err != nil {
				t.Fatal(err)
			}
			waitExit(t, start(t, "verify", path, damaged), 1)
		})
	}
}
