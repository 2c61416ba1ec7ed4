package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mount makes a small file system of its own, for root alone.
func mount(t *testing.T, flags uintptr, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestDiskFull(t *testing.T) {
	tr := newTorrent(t, entry{"f", 16 * pieceLength, ""})
	for _, allocation := range []Allocation{Sparse, Preallocated} {
		dir := mount(t, 0, "size=512k")
		ballast := filepath.Join(dir, "ballast")
		s := start(t, tr, dir, func(c *Config) { c.Allocation = allocation })
		s.must(os.WriteFile(ballast, make([]byte, 300<<10), 0o666))
		var err error
		var done []int
		for i := 0; i < 16 && err == nil; i++ {
			if err = s.download(i); err == nil {
				done = append(done, i)
			}
		}
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room") {
			t.Fatalf("%v; want that the disk is full, and what to do", err)
		}
		s.wantPieces(done...)
		if allocation == Preallocated && exists(filepath.Join(dir, "f")) {
			t.Error("a file that could not get its space was left behind")
		}
		s.must(os.Remove(ballast))
		s.must(syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=4m"))
		s.must(s.download(all(tr)...))
		s.wantPieces(all(tr)...)
		s.Close()
		wantFile(t, filepath.Join(dir, "f"), tr.data)
	}
}

func TestFolderThatCannotBeWrittenTo(t *testing.T) {
	tr := newTorrent(t, entry{"f", pieceLength, ""})
	var dir string
	if os.Geteuid() == 0 { // whom permissions do not hold back
		dir = mount(t, syscall.MS_RDONLY, "")
	} else {
		dir = t.TempDir()
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	err := start(t, tr, dir, nil).download(0)
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "--out") {
		t.Errorf("%v; want that it cannot be written, and what to do", err)
	}
}
