package mount

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// newServer mounts: root by itself, others by fusermount, which may.
func newServer(k *kernel, dir string, o fuse.MountOptions) (*fuse.Server, error) {
	if os.Geteuid() == 0 {
		o.DirectMountStrict = true
		o.DirectMountFlags = syscall.MS_RDONLY | syscall.MS_NOSUID | syscall.MS_NODEV
	} else {
		o.Options = append(o.Options, "ro", "nosuid", "nodev")
	}
	server, err := fuse.NewServer(k, dir, &o)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w; the kernel has no FUSE (modprobe fuse)", err)
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w; install fuse3, which has it", err)
	}
	return server, err
}

// unmount takes away what is mounted on a folder, with lazy even while files are open.
func unmount(dir string, lazy bool) error {
	flags, option := 0, "-u"
	if lazy {
		flags, option = syscall.MNT_DETACH, "-uz"
	}
	err := syscall.Unmount(dir, flags)
	if err == nil || os.Geteuid() == 0 {
		return err
	}
	for _, name := range []string{"fusermount3", "fusermount"} {
		out, err := exec.Command(name, option, dir).CombinedOutput()
		if !errors.Is(err, exec.ErrNotFound) {
			if err != nil {
				return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
			}
			return nil
		}
	}
	return err
}

// clearStale takes away a mount of ours whose process has ended.
func clearStale(dir string) error {
	// Not Stat: what that says may be remembered by the kernel.
	var stat syscall.Statfs_t
	err := syscall.Statfs(dir, &stat)
	mounted, ours := mountedOn(dir)
	switch {
	case err == nil && mounted && ours:
		return fmt.Errorf("torrents are mounted on %s already; unmount them first (umount %s)", dir, dir)
	case !errors.Is(err, syscall.ENOTCONN):
		return err
	case !ours:
		return fmt.Errorf("what is mounted on %s does not answer, and is none of ours: %w", dir, err)
	}
	if err := unmount(dir, true); err != nil {
		return fmt.Errorf("taking away what a killed process has left on %s: %w", dir, err)
	}
	return clearStale(dir) // there may have been several
}

// mountedOn reports whether something is mounted on a folder, and whether the last that
// was is ours.
func mountedOn(dir string) (mounted, ours bool) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	} else if real, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil { // what is stale cannot be looked at
		dir = filepath.Join(real, filepath.Base(dir))
	}
	info, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false, false
	}
	defer info.Close()
	lines := bufio.NewScanner(info)
	for lines.Scan() {
		// proc(5): ID, parent, device, root, mount point, options, ..., -, type, ...
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if len(fields) > 4 && unescape.Replace(fields[4]) == dir {
			mounted, ours = true, strings.HasPrefix(after, "fuse."+typeName+" ")
		}
	}
	return mounted, ours
}

// unescape undoes what the kernel does to names in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
