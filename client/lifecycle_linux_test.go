package client

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
)

// A full disk ends the torrent, until there is room and Start is called.
func TestStartAfterTheDiskWasFull(t *testing.T) {
	l := newLife(t, func(_ *Config, _ *meta.Source, opts *TorrentOptions) {
		if err := syscall.Mount("tmpfs", opts.Dir, "tmpfs", 0, "size=2m"); err != nil {
			t.Skipf("a file system cannot be mounted here: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(opts.Dir, syscall.MNT_DETACH) })
	})
	ballast := filepath.Join(l.dir, "ballast")
	l.must(os.WriteFile(ballast, make([]byte, 1500<<10), 0o666))
	for range 2 { // it fails again while there is no room
		l.must(l.Start(l.ctx()))
		select {
		case <-l.Failed():
		case <-time.After(20 * time.Second):
			t.Fatalf("it goes on with a disk that is full: %+v", l.Stats())
		}
		if !disk.IsFull(l.Err()) {
			t.Errorf("it failed with %v", l.Err())
		}
	}
	before := l.Stats()
	l.must(os.Remove(ballast))
	l.finish()
	// On a slow machine a late block is asked for again.
	const again = 4 * 16 << 10
	if s := l.Stats(); s.Downloaded-before.Downloaded > s.Length-before.Completed+again {
		t.Errorf("%d bytes came for %d that were lacking", s.Downloaded-before.Downloaded, s.Length-before.Completed)
	}
	l.nothingLeft()
}
