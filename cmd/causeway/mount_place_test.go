//go:build linux

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// A magnet link's torrent may turn out to be called as the folder that is mounted on, which
// would hide its data.
func TestMountRefusesAMagnetBelowItself(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	realpeer.Need(t, realpeer.Libtorrent)
	tor := makeTorrent(t, []fixture.File{{Path: "a", Size: 100_001}}, fixture.Options{})
	seed := realSeed(t, tor, realpeer.Options{})
	out := t.TempDir()
	dir := filepath.Join(out, tor.Name)
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	run := start(t, args([]string{"mount", tor.Magnet(seed.Addr), dir, "-o", out}, alone)...)
	waitExit(t, run, 2)
	if !strings.Contains(run.Output(), "--out") {
		t.Errorf("it says %q", run.Output())
	}
	if _, err := os.ReadDir(dir); err != nil {
		t.Errorf("it is still mounted: %v", err)
	}
}

// A working mount is recognised by whatever path it is reached.
func TestMountTwiceThroughASymlink(t *testing.T) {
	t.Parallel()
	tor := makeTorrent(t, []fixture.File{{Path: "a", Size: 1}}, fixture.Options{})
	f := mounted(t, []string{tor.Path})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(f.dir, link); err != nil {
		t.Fatal(err)
	}
	again := start(t, args([]string{"mount", tor.Path, link, "-o", f.out}, alone)...)
	waitExit(t, again, 1)
	if !strings.Contains(again.Output(), "already") {
		t.Errorf("it says %q", again.Output())
	}
}

// An interrupt ends the program although the mount is to be seen elsewhere, too.
func TestMountBoundElsewhere(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mount --bind needs root")
	}
	tor := makeTorrent(t, []fixture.File{{Path: "a", Size: 1}}, fixture.Options{})
	f := mounted(t, []string{tor.Path})
	elsewhere := t.TempDir()
	tool(t, "mount", "--bind", f.dir, elsewhere)
	t.Cleanup(func() { _ = syscall.Unmount(elsewhere, syscall.MNT_DETACH) })
	if err := f.run.Interrupt(); err != nil {
		t.Fatal(err)
	}
	waitExit(t, f.run, 130)
	if !strings.Contains(f.run.Output(), "still open") {
		t.Errorf("it says %q", f.run.Output())
	}
}
