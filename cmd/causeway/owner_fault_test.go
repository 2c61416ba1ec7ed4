package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
)

// put writes a file below a folder.
func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not as it was (%v)", path, err)
	}
}

// A file of the user's own is never overwritten without being asked to, whatever its
// size; nor deleted when a stream is to leave nothing behind.
func TestUsersOwnFileStays(t *testing.T) {
	t.Parallel()
	const pieceLength = 64 << 10
	tor := makeTorrent(t, []fixture.File{
		{Path: "track", Size: 5*pieceLength + 77}, {Path: "cover.jpg", Size: 4000}, {Path: "last", Size: 2 * pieceLength},
	}, fixture.Options{PieceLength: pieceLength})
	peer := scripted(t, tor, hostile.Honest())
	own := func(n int) []byte { return bytes.Repeat([]byte("my own "), n/7+1)[:n] }
	for name, c := range map[string]struct {
		file int
		data []byte
	}{
		"shorter":              {0, own(1000)},
		"longer":               {0, own(9 * pieceLength)},
		"of the same size":     {0, own(5*pieceLength + 77)},
		"small, shorter":       {1, own(10)},
		"small, longer":        {1, own(5000)},
		"small, the same size": {1, own(4000)},
	} {
		dir := t.TempDir()
		path := tor.FilePath(dir, c.file)
		put(t, path, c.data)
		for _, command := range [][]string{
			{"download", tor.Path, "-o", dir},
			{"stream", tor.Path, "--file", "0", "-o", dir, "--http", "127.0.0.1:0", "--remove"},
			{"seed", tor.Path, "--data", dir},
		} {
			if command[0] == "stream" && c.file != 0 {
				continue // it is not wanted, and so goes on
			}
			run := start(t, args(command, []string{"--peer", peer.Addr()}, alone)...)
			waitExit(t, run, 1)
			e, _ := run.Last("error")
			for _, word := range []string{path, "--out", "--overwrite"} {
				if !strings.Contains(e.Message, word) {
					t.Errorf("%s, %s: error %q, want it to say %s", name, command[0], e.Message, word)
				}
			}
			holds(t, path, c.data)
		}
		finish(t, start(t, args([]string{"download", tor.Path, "-o", dir, "--overwrite", "--peer", peer.Addr()}, alone)...), tor, dir)
	}
}

// albums are two torrents with a path in common, of other content.
func albums(t *testing.T) (a, b *fixture.Torrent) {
	const pieceLength = 32 << 10
	a = makeTorrent(t, []fixture.File{{Path: "a", Size: 300_001}, {Path: "cover.jpg", Size: 40_000}}, fixture.Options{PieceLength: pieceLength, Seed: 1})
	b = makeTorrent(t, []fixture.File{{Path: "b", Size: 300_001}, {Path: "cover.jpg", Size: 40_000}}, fixture.Options{PieceLength: pieceLength, Seed: 2})
	return a, b
}

// Of two torrents with a path in common, the second one fails, and the first one's file
// stays: in one command, one after the other, with the state of the first lost.
func TestTwoTorrentsOfOnePath(t *testing.T) {
	t.Parallel()
	a, b := albums(t)
	peerA, peerB := scripted(t, a, hostile.Honest()), scripted(t, b, hostile.Honest())
	peers := args([]string{"--peer", peerA.Addr(), "--peer", peerB.Addr()}, alone)
	whose := func(dir string) (tor *fixture.Torrent) {
		if a.CompareFile(dir, 1) == nil {
			return a
		}
		return b
	}
	for _, order := range [][2]*fixture.Torrent{{a, b}, {b, a}} {
		dir := t.TempDir()
		run := start(t, args([]string{"download", order[0].Path, order[1].Path, "-o", dir}, peers)...)
		waitExit(t, run, 1)
		var complete []string
		for _, e := range run.Events() {
			if e.Event == "complete" {
				complete = append(complete, e.InfoHash)
			}
		}
		owner := whose(dir)
		if len(complete) != 1 || complete[0] != owner.HexHash() {
			t.Errorf("in one command, %v are complete; the cover is that of %s", complete, owner.HexHash())
		}
		if err := owner.Compare(dir); err != nil {
			t.Error(err)
		}

		for _, keep := range []bool{true, false} {
			dir, state := t.TempDir(), t.TempDir()
			finish(t, start(t, args([]string{"download", order[0].Path, "-o", dir, "--state", state}, peers)...), order[0], dir)
			if !keep {
				state = t.TempDir()
			}
			command := args([]string{"download", order[1].Path, "-o", dir, "--state", state}, peers)
			for range 2 { // what it has by then does not change its mind
				failsWith(t, start(t, command...), "--overwrite")
				if err := order[0].Compare(dir); err != nil {
					t.Errorf("state kept %v: %v", keep, err)
				}
			}
			finish(t, start(t, args(command, []string{"--overwrite"})...), order[1], dir)
			failsWith(t, start(t, args([]string{"download", order[0].Path, "-o", dir, "--state", state}, peers)...), "--overwrite")
			if err := order[1].Compare(dir); err != nil {
				t.Error(err)
			}
		}
	}
}

// The same in two processes at a time, one of which is killed and comes again.
func TestTwoProcessesOfOnePath(t *testing.T) {
	t.Parallel()
	a, b := albums(t)
	peerA, peerB := scripted(t, a, hostile.Slow(200_000)), scripted(t, b, hostile.Slow(200_000))
	dir, state := t.TempDir(), t.TempDir()
	download := func(tor *fixture.Torrent, peer *hostile.Peer) *cli.Run {
		return start(t, args([]string{"download", tor.Path, "-o", dir, "--state", state, "--peer", peer.Addr()}, alone)...)
	}
	first, second := download(a, peerA), download(b, peerB)
	eventually(t, patience, "data of the first", func() bool { return peerA.Report().SentBytes() > 50_000 })
	first.Kill()
	first = download(a, peerA)
	codes := map[*fixture.Torrent]int{}
	for tor, run := range map[*fixture.Torrent]*cli.Run{a: first, b: second} {
		_ = run.Wait(within(t, patience))
		codes[tor] = run.ExitCode()
		if codes[tor] == 0 {
			if err := tor.Compare(dir); err != nil {
				t.Errorf("it says complete, but %v", err)
			}
		} else if e, _ := run.Last("error"); !strings.Contains(e.Message, "--o") {
			t.Errorf("error %q: want what to do", e.Message)
		}
	}
	if codes[a]+codes[b] != 1 {
		t.Errorf("they end with %d and %d, want that one is complete and one fails", codes[a], codes[b])
	}
}

// The same data under two infohashes is one: in one command, in two at a time, one of
// which is killed, one after the other, with the state lost.
func TestSameDataUnderTwoInfohashes(t *testing.T) {
	t.Parallel()
	files := []fixture.File{{Path: "a", Size: 900_001}, {Path: "cover.jpg", Size: 4_000}, {Path: "b/c", Size: 300_000}}
	a := makeTorrent(t, files, fixture.Options{PieceLength: 64 << 10})
	b := makeTorrent(t, files, fixture.Options{PieceLength: 32 << 10})
	peerA, peerB := scripted(t, a, hostile.Slow(600_000)), scripted(t, b, hostile.Slow(600_000))
	peers := args([]string{"--peer", peerA.Addr(), "--peer", peerB.Addr()}, alone)

	dir := t.TempDir()
	finish(t, start(t, args([]string{"download", a.Path, b.Path, "-o", dir}, peers)...), a, dir)

	dir, state := t.TempDir(), t.TempDir()
	download := func(tor *fixture.Torrent, state string) *cli.Run {
		return start(t, args([]string{"download", tor.Path, "-o", dir, "--state", state}, peers)...)
	}
	one, two := download(a, state), download(b, state)
	sent := peerA.Report().SentBytes()
	eventually(t, patience, "data of the first", func() bool { return peerA.Report().SentBytes() > sent+200_000 })
	one.Kill()
	one = download(a, state)
	waitExit(t, two, 0)
	finish(t, one, a, dir)

	for _, again := range []string{state, t.TempDir()} {
		before := len(peerB.Report().Requests)
		finish(t, download(b, again), b, dir)
		if n := len(peerB.Report().Requests); n != before {
			t.Errorf("%d requests for what is there", n-before)
		}
	}
	// Killed half-way, without a state after that.
	dir = t.TempDir()
	sent = peerA.Report().SentBytes()
	run := download(a, t.TempDir())
	eventually(t, patience, "data", func() bool { return peerA.Report().SentBytes() > sent+300_000 })
	run.Kill()
	finish(t, download(b, t.TempDir()), b, dir)
	finish(t, download(a, t.TempDir()), a, dir)
}

// A seeder whose file is overwritten, its size kept, serves no byte of what is wrong, and
// goes on with the rest.
func TestSeederNoticesChanges(t *testing.T) {
	t.Parallel()
	const pieceLength = 64 << 10
	tor := makeTorrent(t, []fixture.File{{Path: "a", Size: 20 * pieceLength}, {Path: "b", Size: 4 * pieceLength}}, fixture.Options{PieceLength: pieceLength})
	seeder, addr := seed(t, tor, alone...)
	f, err := os.OpenFile(tor.FilePath(tor.Dir, 0), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("changed"), 7*pieceLength+3); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	leech := start(t, args([]string{"download", tor.Path, "-o", t.TempDir(), "--peer", addr}, alone)...)
	ctx := within(t, patience)
	e, err := leech.WaitFor(ctx, "all but the changed piece", func(e cli.Event) bool {
		return e.Event == "progress" && e.Completed == tor.Size-pieceLength
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.Wasted > 0 {
		t.Errorf("%d wrong bytes were served", e.Wasted)
	}
	if _, err := seeder.WaitEvent(ctx, "warning"); err != nil {
		t.Error(err)
	}
	if e, _ := seeder.Last("warning"); !strings.Contains(e.Message, "changed") {
		t.Errorf("the seeder warns of %q", e.Message)
	}
}
