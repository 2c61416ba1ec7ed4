package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
)

// failsWith waits for the download to end with status 1 and an error that holds one
// of the words.
func failsWith(t *testing.T, run *cli.Run, words ...string) {
	t.Helper()
	waitExit(t, run, 1)
	e, ok := run.Last("error")
	if !ok {
		t.Fatal("ended with status 1, but without an event \"error\"")
	}
	for _, w := range words {
		if strings.Contains(strings.ToLower(e.Message), w) {
			return
		}
	}
	t.Errorf("error %q: want it to say one of %q", e.Message, words)
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=6m")
	tor := makeTorrent(t, []fixture.File{
		{Path: "a", Size: 4 << 20}, {Path: "b", Size: 8 << 20},
	}, fixture.Options{PieceLength: 128 << 10})
	peer := scripted(t, tor, hostile.Slow(8<<20))
	command := args([]string{"download", tor.Path, "-o", dir, "--state", t.TempDir(), "--peer", peer.Addr()}, alone)

	run := start(t, command...)
	failsWith(t, run, "no space", "space left", "full")
	if e, _ := run.Last("error"); !strings.Contains(e.Message, "what was verified is kept") {
		t.Errorf("error %q: want it to say that what was verified is kept", e.Message)
	}
	sent := peer.Report().SentBytes()

	remount(t, dir, "size=64m")
	finish(t, start(t, command...), tor, dir)
	const kept = 4 << 20 // of the 6 MiB that fit; the rest may have been in flight
	if again := peer.Report().SentBytes() - sent; again > tor.Size-min(kept, sent/2) {
		t.Errorf("%d bytes were sent after there was room, although %d of %d had come before", again, sent, tor.Size)
	}
}

// What is not kept is not promised.
func TestDiskFullOfWhatIsRemoved(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=6m")
	tor := single(t, 8<<20)
	peer := scripted(t, tor, hostile.Honest())
	run := start(t, args([]string{"stream", tor.Path, "--file", "0", "-o", dir, "--http", "127.0.0.1:0", "--remove", "--peer", peer.Addr()}, alone)...)
	failsWith(t, run, "no space", "space left", "full")
	if e, _ := run.Last("error"); strings.Contains(e.Message, "kept") {
		t.Errorf("error %q, but nothing is", e.Message)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestUnwritableFolder(t *testing.T) {
	t.Parallel()
	var dir string
	if os.Getuid() == 0 {
		dir = mount(t, "ro,size=1m") // root may write to any folder that can be written to
	} else {
		dir = t.TempDir()
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	tor := single(t, 300_000)
	peer := scripted(t, tor, hostile.Honest())
	run := start(t, args([]string{"download", tor.Path, "-o", dir, "--peer", peer.Addr()}, alone)...)
	failsWith(t, run, "read-only", "permission", "not writable", "cannot write")
	if e, _ := run.Last("error"); !strings.Contains(e.Message, dir) {
		t.Errorf("error %q: want it to name the folder %s", e.Message, dir)
	}
}

// When the folder goes away under a download, it either fails with a clear error or
// puts everything in place again; it never claims success over missing data. After
// that, the same command gets it.
func TestDataFolderVanishes(t *testing.T) {
	t.Parallel()
	tor := makeTorrent(t, []fixture.File{
		{Path: "a", Size: 2 << 20}, {Path: "d/b", Size: 2 << 20}, {Path: "e/c", Size: 2 << 20},
	}, fixture.Options{PieceLength: 128 << 10})
	peer := scripted(t, tor, hostile.Slow(2<<20))
	dir := filepath.Join(t.TempDir(), "out")
	command := args([]string{"download", tor.Path, "-o", dir, "--state", t.TempDir(), "--peer", peer.Addr()}, alone)
	run := start(t, command...)
	eventually(t, patience, "two mebibytes to arrive", func() bool { return peer.Report().SentBytes() > 2<<20 })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	err := run.Wait(within(t, patience))
	switch run.ExitCode() {
	case 0:
		if err := tor.Compare(dir); err != nil {
			t.Errorf("the download claims success, but %v", err)
		}
	case 1:
		if e, ok := run.Last("error"); !ok || e.Message == "" {
			t.Error("the download failed without saying why")
		}
	default:
		t.Fatalf("status %d (%v), want 0 or 1", run.ExitCode(), err)
	}
	finish(t, start(t, command...), tor, dir)
}

// A file that changed after the download is noticed, and nothing else is doubted.
func TestChangedFileIsCheckedAgain(t *testing.T) {
	t.Parallel()
	const pieceLength = 128 << 10
	tor := makeTorrent(t, []fixture.File{
		{Path: "a", Size: 40 * pieceLength}, {Path: "b", Size: 4 * pieceLength}, {Path: "c", Size: 40 * pieceLength},
	}, fixture.Options{PieceLength: pieceLength})
	peer := scripted(t, tor, hostile.Honest())
	dir := t.TempDir()
	command := args([]string{"download", tor.Path, "-o", dir, "--state", t.TempDir(), "--peer", peer.Addr()}, alone)
	finish(t, start(t, command...), tor, dir)
	before := len(peer.Report().Requests)

	// Unchanged: nothing is asked for, nothing is read.
	finish(t, start(t, command...), tor, dir)
	if n := len(peer.Report().Requests); n != before {
		t.Errorf("%d requests for finished data, want none", n-before)
	}

	path := tor.FilePath(dir, 1)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("changed"), pieceLength+10); err != nil {
		t.Fatal(err)
	}
	f.Close()
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	// The same number of wrong bytes in a file whose size and time say nothing: to
	// notice it, everything would have to be read again, which must not happen.
	untouched := tor.FilePath(dir, 2)
	st, err := os.Stat(untouched)
	if err != nil {
		t.Fatal(err)
	}
	f, err = os.OpenFile(untouched, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	original := make([]byte, 7)
	if _, err := f.ReadAt(original, 10*pieceLength); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("changed"), 10*pieceLength); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(untouched, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}

	waitExit(t, start(t, command...), 0)
	for _, r := range peer.Report().Requests[before:] {
		if r.Piece != 41 {
			t.Errorf("piece %d was asked for, want only piece 41 of the changed file", r.Piece)
		}
	}
	if _, err := f.WriteAt(original, 10*pieceLength); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := tor.Compare(dir); err != nil {
		t.Error(err)
	}
}
