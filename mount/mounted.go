//go:build linux || darwin

package mount

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Options are of one mount.
type Options struct {
	// AllowOther lets other users in, too. Whoever is not root needs user_allow_other in
	// /etc/fuse.conf for it.
	AllowOther bool
	// NoPassthrough keeps finished files from being read by the kernel alone, even where
	// it can.
	NoPassthrough bool
}

// Mounted is an FS that is mounted.
type Mounted struct {
	fs     *FS
	dir    string
	kernel *kernel
	server *fuse.Server
	done   chan struct{}
}

// Mount mounts the tree on a folder, and returns when it can be used. What is left there
// of a mount of this kind whose program was killed is taken away first; one that works is
// an error.
func (fs *FS) Mount(dir string, o Options) (*Mounted, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = clearStale(dir)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("mounting: %w", err)
	}
	fs.noPass.Store(o.NoPassthrough)
	m := &Mounted{fs: fs, dir: dir, kernel: newKernel(fs), done: make(chan struct{})}
	if m.server, err = newServer(m.kernel, dir, fuse.MountOptions{
		FsName: typeName, Name: typeName, AllowOther: o.AllowOther,
		Options:  []string{"default_permissions"},
		MaxWrite: maxRead, MaxReadAhead: maxRead, MaxBackground: maxBackground,
		EnableSymlinkCaching: true, IgnoreSecurityLabels: true,
		Logger:       slog.NewLogLogger(fs.log.Handler(), slog.LevelDebug),
		PanicHandler: m.panicked,
	}); err != nil {
		return nil, fmt.Errorf("mounting on %s: %w", dir, err)
	}
	go func() {
		defer close(m.done)
		m.server.Serve()
	}()
	if err := m.server.WaitMount(); err != nil {
		_, _ = m.Unmount() // what went wrong first is told
		return nil, fmt.Errorf("mounting on %s: %w", dir, err)
	}
	m.kernel.readAhead.find(dir)
	fs.mu.Lock()
	fs.shown[m] = struct{}{}
	fs.mu.Unlock()
	return m, nil
}

// panicked answers for a request that met a bug.
func (m *Mounted) panicked(fault any) fuse.Status {
	m.fs.log.Error("panic; please report this", "doing", "answering the kernel", "panic", fault, "stack", string(debug.Stack()))
	return fuse.EIO
}

// Dir is where it is mounted.
func (m *Mounted) Dir() string { return m.dir }

// Passthrough reports whether finished files are read by the kernel alone.
func (m *Mounted) Passthrough() bool { return m.kernel.mayPass() }

// Done is closed when it is not mounted any more, whoever ended it.
func (m *Mounted) Done() <-chan struct{} { return m.done }

// unmountWait is for how long the kernel may take to end what was unmounted.
const unmountWait = 5 * time.Second

// Unmount takes it away. Where files are open, it goes from the folder at once, and lives
// on until they are closed or the process ends; busy says that this is so.
func (m *Mounted) Unmount() (busy bool, err error) {
	m.fs.mu.Lock()
	delete(m.fs.shown, m)
	m.fs.mu.Unlock()
	select {
	case <-m.done:
		return false, nil
	default:
	}
	if err := unmount(m.dir, false); err == nil {
		select {
		case <-m.done:
			return false, nil
		case <-time.After(unmountWait):
			return true, nil // it is mounted elsewhere, too (mount --bind)
		}
	}
	select {
	case <-m.done: // somebody was quicker
		return false, nil
	default:
	}
	if err := unmount(m.dir, true); err != nil {
		return false, fmt.Errorf("unmounting %s: %w; `umount -l %s` takes it away", m.dir, err, m.dir)
	}
	return true, nil
}

// appeared tells the kernel that the root has changed. That something is not there it does
// not remember, and the root's entries it reads anew each time.
func (m *Mounted) appeared() {
	if status := m.server.InodeNotify(rootID, -1, 0); !status.Ok() && status != fuse.ENOENT {
		m.fs.log.Debug("telling the kernel of a new torrent", "err", status)
	}
}
