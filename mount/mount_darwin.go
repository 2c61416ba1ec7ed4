package mount

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// newServer mounts by macFUSE.
func newServer(k *kernel, dir string, o fuse.MountOptions) (*fuse.Server, error) {
	o.Options = append(o.Options, "ro", "noappledouble")
	server, err := fuse.NewServer(k, dir, &o)
	if err != nil {
		return nil, fmt.Errorf("%w; it takes macFUSE (--webdav does without)", err)
	}
	return server, nil
}

// unmount takes away what is mounted on a folder, with force even while files are open.
func unmount(dir string, force bool) error {
	flags := 0
	if force {
		flags = mntForce
	}
	return syscall.Unmount(dir, flags)
}

// mntForce is MNT_FORCE of sys/mount.h.
const mntForce = 0x80000

// clearStale takes away a mount whose process has ended.
func clearStale(dir string) error {
	_, err := os.Stat(dir)
	if !errors.Is(err, syscall.ENXIO) && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOTCONN) {
		return err
	}
	if err := unmount(dir, true); err != nil {
		return fmt.Errorf("taking away what a killed process has left on %s: %w", dir, err)
	}
	_, err = os.Stat(dir)
	return err
}
