package mount

import (
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// backing is the file on disk that the kernel reads by itself (FUSE_PASSTHROUGH), as long
// as anybody has ours open. All who have must have it so, or none.
type backing struct {
	decided bool // somebody has it open
	id      int32
	on      *os.File
	server  *fuse.Server
}

func (b *backing) close() {
	if b.on != nil {
		_ = b.server.UnregisterBackingFd(b.id) // it fails once the mount is gone, and takes them along
		b.on = nil
	}
}

// passThrough has the kernel read a finished file by itself, where it can and we may.
func (k *kernel) passThrough(f *file, out *fuse.OpenOut) {
	whole := f.isWhole()
	f.mu.Lock()
	defer f.mu.Unlock()
	b := &f.backing
	if !b.decided {
		b.decided = true
		if whole && k.mayPass() && !f.closed {
			k.back(f)
		}
	}
	if b.on != nil {
		out.OpenFlags, out.BackingID = fuse.FOPEN_PASSTHROUGH, b.id
		return
	}
	k.readAhead.set(whole)
}

// mayPass: the kernel lets only root do it, and only some kernels can.
func (k *kernel) mayPass() bool {
	return os.Geteuid() == 0 && !k.fs.noPass.Load() && k.server.KernelSettings().Flags64()&fuse.CAP_PASSTHROUGH != 0
}

// back tells the kernel the file on disk. f.mu is held.
func (k *kernel) back(f *file) {
	on, fileOff, avail, ok := f.base.Section(0, f.info.Length)
	if !ok || fileOff != 0 || avail < f.info.Length {
		return
	}
	id, errno := k.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(on.Fd())})
	if errno != 0 {
		k.fs.log.Debug("no passthrough", "err", errno)
		if errno == syscall.EPERM || errno == syscall.EOPNOTSUPP || errno == syscall.ENOTTY || errno == syscall.EINVAL {
			k.fs.noPass.Store(true)
		}
		return
	}
	f.backing.id, f.backing.on, f.backing.server = id, on, k.server
}
