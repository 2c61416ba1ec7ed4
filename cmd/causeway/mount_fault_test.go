//go:build unix

package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// The peers are gone in the middle of a read: it fails after the timeout, everything else
// answers at once meanwhile, the reader can be killed, and when a peer is back it is read on.
func TestMountWhenPeersVanish(t *testing.T) {
	t.Parallel()
	const timeout = 4 * time.Second
	tor := makeTorrent(t, []fixture.File{{Path: "film", Size: 20_000_003}, {Path: "there", Size: 300_001}}, fixture.Options{PieceLength: 64 << 10})
	port, err := realpeer.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	seed := realSeed(t, tor, realpeer.Options{UpLimit: 1 << 20, Port: port})
	f := mounted(t, []string{tor.Path}, "--peer", seed.Addr, "--timeout", timeout.String())
	there := tool(t, "sha256sum", f.path("there"))
	reader, err := os.Open(f.path("film"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := reader.Read(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	seed.Kill()
	const gone = 15 << 20 // far from all that may have come
	failed := make(chan error, 1)
	go func() {
		began := time.Now()
		_, err := reader.ReadAt(make([]byte, 4096), gone)
		if took := time.Since(began); took < timeout || took > 3*timeout {
			err = fmt.Errorf("it took %v: %w", took, err)
		}
		failed <- err
	}()
	killed := exec.Command("cat", f.path("film"))
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		began := time.Now()
		if list := tool(t, "ls", "-l", f.dir); !strings.Contains(list, "film") {
			t.Errorf("ls says %q", list)
		}
		if again := tool(t, "sha256sum", f.path("there")); again != there {
			t.Error("the other file has other bytes")
		}
		if took := time.Since(began); took > timeout/2 {
			t.Errorf("ls and the other file took %v while a read waited", took)
		}
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	dead := make(chan error, 1)
	go func() { dead <- killed.Wait() }()
	select {
	case <-dead:
	case <-time.After(timeout / 2):
		t.Error("a reader that waits cannot be killed")
	}
	if err := <-failed; !errors.Is(err, syscall.EIO) || strings.HasPrefix(err.Error(), "it took") {
		t.Errorf("the read failed with %v, want EIO after %v", err, timeout)
	}
	realSeed(t, tor, realpeer.Options{Port: port})
	want := make([]byte, 4096)
	original, err := os.Open(tor.FilePath(tor.Dir, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer original.Close()
	if _, err := original.ReadAt(want, gone); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	eventually(t, patience, "a read after a peer is back", func() bool {
		_, err := reader.ReadAt(got, gone)
		return err == nil
	})
	if !bytes.Equal(got, want) {
		t.Error("it read other bytes")
	}
}

// A killed run leaves a folder that nobody can read; the next run takes it over. While one
// runs, another is refused.
func TestMountAfterKill(t *testing.T) {
	t.Parallel()
	tor := makeTorrent(t, []fixture.File{{Path: "a", Size: 100_001}}, fixture.Options{})
	f := mounted(t, []string{tor.Path})
	second := start(t, f.args...)
	waitExit(t, second, 1)
	if !strings.Contains(second.Output(), "already") {
		t.Errorf("a second mount says %q", second.Output())
	}
	f.run.Kill()
	if _, err := os.ReadDir(f.dir); !errors.Is(err, syscall.ENOTCONN) {
		t.Fatalf("after the kill: %v, want %v", err, syscall.ENOTCONN)
	}
	f.start(t)
	if status, err := os.Stat(f.path("a")); err != nil || status.Size() != 100_001 {
		t.Errorf("the next run shows %v (%v)", status, err)
	}
	// Unmounted from outside, it ends.
	tool(t, "umount", f.dir)
	waitExit(t, f.run, 0)
}

// An interrupt while files are open unmounts all the same, and says so.
func TestMountInterruptedWhileOpen(t *testing.T) {
	t.Parallel()
	tor := makeTorrent(t, []fixture.File{{Path: "a", Size: 100_001}}, fixture.Options{})
	f := mounted(t, []string{tor.Path})
	open, err := os.Open(f.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	reading := make(chan error, 1)
	go func() {
		_, err := open.Read(make([]byte, 1))
		reading <- err
	}()
	if err := f.run.Interrupt(); err != nil {
		t.Fatal(err)
	}
	waitExit(t, f.run, 130)
	if e, ok := f.run.Last("warning"); !ok || !strings.Contains(e.Message, "still open") {
		t.Errorf("it warned of %q", e.Message)
	}
	if entries, err := os.ReadDir(f.dir); err != nil || len(entries) > 0 {
		t.Errorf("after the end %d files are in the folder (%v)", len(entries), err)
	}
	if err := <-reading; err == nil {
		t.Error("a read of what never came succeeded")
	}
}

// A thousand torrents are a thousand folders, at once and in little memory.
func TestMountThousandTorrents(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	const torrents, most, starts, finds = 1000, 100e6, 5 * time.Second, 3 * time.Second
	dir := t.TempDir()
	var sources []string
	for i := range torrents {
		tor, err := fixture.Make(filepath.Join(dir, fmt.Sprint(i)), fmt.Sprintf("torrent %04d", i), []fixture.File{{Path: "file", Size: 1_000_000, Sparse: true}}, fixture.Options{Seed: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, tor.Path)
	}
	tries(t, func() (faults []string) {
		began := time.Now()
		f := mounted(t, sources)
		if took := time.Since(began); took > starts {
			faults = append(faults, fmt.Sprintf("it took %v to start, want %v at most", took, starts))
		}
		began = time.Now()
		if found := strings.Count(tool(t, "find", f.dir, "-size", "+1", "-type", "f"), "\n"); found != torrents {
			t.Errorf("find found %d files, want %d", found, torrents)
		}
		if took := time.Since(began); took > finds {
			faults = append(faults, fmt.Sprintf("find took %v, want %v at most", took, finds))
		}
		if used, err := proc.RssAnon(f.run.PID()); err != nil || used > most {
			faults = append(faults, fmt.Sprintf("it takes %d bytes of memory (%v), want %.0f at most", used, err, most))
		} else {
			t.Logf("%d torrents take %d MB", torrents, used/1e6)
		}
		f.run.Stop()
		return faults
	})
}

// rawTorrent writes a torrent whose info dictionary has these entries of "files", which
// hold one byte in all.
func rawTorrent(t *testing.T, entries string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raw.torrent")
	// The SHA-1 of a byte that is 0.
	piece := "\x5b\xa9\x3c\x9d\xb0\xcf\xf9\x3f\x52\xb5\x21\xd7\x42\x0e\x43\xf6\xed\xa2\x78\x4f"
	put(t, path, fmt.Appendf(nil, "d8:announce9:udp://x:113:creation datei1234567890e4:infod5:filesl%se4:name1:n12:piece lengthi16384e6:pieces20:%see", entries, piece))
	return path
}

// pathOf is a bencoded list of components.
func pathOf(key string, path ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%sl", len(key), key)
	for _, part := range path {
		fmt.Fprintf(&b, "%d:%s", len(part), part)
	}
	return b.String() + "e"
}

// Names, links, times and permissions are as the torrent has them, as far as that leads
// nowhere else; and files have the same numbers in the next mount.
func TestMountHostileNames(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	file := func(length int, attr string, path []string, link ...string) string {
		s := "d"
		if attr != "" {
			s += fmt.Sprintf("4:attr%d:%s", len(attr), attr)
		}
		s += fmt.Sprintf("6:lengthi%de", length) + pathOf("path", path...)
		if link != nil {
			s += pathOf("symlink path", link...)
		}
		return s + "e"
	}
	torrent := rawTorrent(t, strings.Join([]string{
		file(1, "x", []string{"bin", "run"}),
		file(0, "", []string{"bin", "a/b\\c:\n\x1b[31m"}),
		file(0, "", []string{"CON"}),
		file(0, "", []string{"bin", strings.Repeat("long", 200)}),
		file(0, "l", []string{"deep", "er", "link"}, "bin", "run"),
		file(0, "l", []string{"folder"}, "bin"),
		file(0, "l", []string{"escape"}, "..", "..", "etc", "passwd"),
		file(0, "l", []string{"absolute"}, "/etc/passwd"),
		file(0, "l", []string{"missing"}, "nowhere"),
		file(0, "l", []string{"itself"}, "itself"),
		file(0, "l", []string{"through"}, "folder", "run"),
		file(0, "p", []string{".pad", "16384"}),
	}, ""))
	f := mounted(t, []string{torrent})
	type shown struct {
		mode   fs.FileMode
		target string
	}
	got := make(map[string]shown)
	numbers := make(map[string]uint64)
	look := func() {
		if err := filepath.WalkDir(f.dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(path, f.dir)
			target, _ := os.Readlink(path)
			got[name] = shown{info.Mode(), target}
			numbers[name] = info.Sys().(*syscall.Stat_t).Ino
			if path != f.dir && info.ModTime().Unix() != 1234567890 {
				t.Errorf("%s is of %v, want the creation date of the torrent", name, info.ModTime())
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	look()
	for name, want := range map[string]shown{
		"/bin":          {fs.ModeDir | 0o555, ""},
		"/bin/run":      {0o555, ""},
		"/_CON":         {0o444, ""},
		"/deep/er/link": {fs.ModeSymlink | 0o777, "../../bin/run"},
		"/folder":       {fs.ModeSymlink | 0o777, "bin"},
		"/escape":       {0o444, ""},
		"/absolute":     {0o444, ""},
		"/missing":      {0o444, ""},
		"/itself":       {0o444, ""},
		"/through":      {0o444, ""},
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if len(got) != 15 { // the root, three folders and eleven files
		t.Errorf("there are %d entries: %v", len(got), got)
	}
	for name := range got {
		if len(filepath.Base(name)) > 255 || strings.ContainsAny(name, "\n\x1b\\:") {
			t.Errorf("a name is %q", name)
		}
	}
	for _, try := range []func(string) error{
		func(p string) error { return os.WriteFile(p, nil, 0o644) },
		os.Remove,
		func(p string) error { return os.Chmod(p, 0o777) },
		func(p string) error { return os.Rename(p, p+"2") },
		func(p string) error { return os.Mkdir(p+"3", 0o755) },
	} {
		if err := try(f.path("bin", "run")); !errors.Is(err, syscall.EROFS) {
			t.Errorf("writing: %v, want EROFS", err)
		}
	}
	before := make(map[string]uint64)
	for name, number := range numbers {
		before[name] = number
	}
	f.run.Stop()
	f.start(t)
	look()
	for name, number := range numbers {
		if before[name] != number {
			t.Errorf("%s had number %d, and has %d in the next mount", name, before[name], number)
		}
	}
}

// A million files in one torrent are listed, in bounded time and memory.
// It runs alone: where others want the processors, garbage is collected late.
func TestMountMillionFiles(t *testing.T) {
	needFUSE(t)
	// 683 to 700 MB were measured, some 700 bytes for each. The bound is half as much again.
	const files, most = 1_000_000, 1050e6
	var entries strings.Builder
	entries.WriteString("d6:lengthi1e4:pathl1:0ee")
	for i := 1; i < files; i++ {
		name := fmt.Sprintf("%x", i)
		fmt.Fprintf(&entries, "d6:lengthi0e4:pathl2:d%d%d:%see", i%10, len(name), name)
	}
	f := mounted(t, []string{rawTorrent(t, entries.String())})
	if found := strings.Count(tool(t, "find", f.dir, "-type", "f"), "\n"); found != files {
		t.Errorf("find found %d files, want %d", found, files)
	}
	if used, err := proc.RssAnon(f.run.PID()); err != nil || used > most {
		t.Errorf("it takes %d bytes of memory (%v), want %.0f at most", used, err, most)
	} else {
		t.Logf("%d files take %d MB", files, used/1e6)
	}
	if kept, err := os.ReadDir(f.out); err != nil || len(kept) > 0 {
		t.Errorf("on disk there are %d entries (%v), of files that nobody read", len(kept), err)
	}
}

// A magnet link's folder comes when its metadata is there; --select, --cache and several
// torrents of one name.
func TestMountMagnetsAndChoices(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Libtorrent)
	files := []fixture.File{{Path: "keep/a", Size: 3_000_001}, {Path: "drop/b", Size: 200_000}}
	one := makeTorrent(t, files, fixture.Options{PieceLength: 32 << 10})
	two := makeTorrent(t, files, fixture.Options{PieceLength: 32 << 10, Seed: 2})
	first, second := realSeed(t, one, realpeer.Options{}), realSeed(t, two, realpeer.Options{})
	f := mounted(t, []string{one.Magnet(first.Addr), two.Path}, "--peer", second.Addr, "--select", "keep/", "--cache", "1M")
	names := func() []string {
		entries, err := os.ReadDir(f.dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	eventually(t, patience, "two folders", func() bool { return len(names()) == 2 })
	second2 := fmt.Sprintf("content (%.8s)", one.HexHash())
	if got := names(); !slices.Equal(got, []string{"content", second2}) {
		t.Errorf("the folders are %q", got)
	}
	for folder, tor := range map[string]*fixture.Torrent{"content": two, second2: one} {
		if _, err := os.Stat(f.path(folder, "drop")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what was not selected is there (%v)", err)
		}
		if got, want := fileSHA256(t, f.path(folder, "keep", "a")), fileSHA256(t, tor.FilePath(tor.Dir, 0)); got != want {
			t.Errorf("other bytes in %s", folder)
		}
		if got := tool(t, "getfattr", "--absolute-names", "--only-values", "-n", "user.causeway.infohash", f.path(folder, "keep", "a")); got != tor.HexHash() {
			t.Errorf("the infohash is %q", got)
		}
	}
	var statfs syscall.Statfs_t
	if err := syscall.Statfs(f.dir, &statfs); err != nil || statfs.Files != 2 || int64(statfs.Blocks)*statfs.Bsize < 6_000_002 || statfs.Bfree != 0 {
		t.Errorf("statfs says %+v (%v)", statfs, err)
	}
}

// What cannot be mounted is refused before anything starts, with what to do.
func TestMountUsage(t *testing.T) {
	t.Parallel()
	tor := makeTorrent(t, []fixture.File{{Path: "a", Size: 1}}, fixture.Options{})
	dir := t.TempDir()
	inside := filepath.Join(dir, "inside")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{tor.Path}, "folder"},
		{[]string{tor.Path, filepath.Join(dir, "none")}, "no folder"},
		{[]string{tor.Path, tor.Path}, "no folder"},
		{[]string{tor.Path, dir, "-o", dir}, "--out"},
		{[]string{tor.Path, dir, "-o", inside}, "--out"},
		{[]string{tor.Path, dir, "--timeout", "0s"}, "--timeout"},
		{[]string{tor.Path, "--webdav", "0.0.0.0:0"}, "--token"},
		{[]string{tor.Path, "--webdav", "here"}, "HOST:PORT"},
		{[]string{tor.Path, tor.Path, dir}, "same torrent"},
	} {
		run := start(t, args([]string{"mount"}, test.args, alone)...)
		waitExit(t, run, 2)
		if !strings.Contains(run.Output(), test.want) {
			t.Errorf("`causeway mount %q` says %q, want %q in it", test.args, run.Output(), test.want)
		}
	}
}
