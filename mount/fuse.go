//go:build linux || darwin

package mount

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// maxRead is how much one request of the kernel reads at most, in bytes.
	maxRead = 1 << 20
	// maxBackground is how many reads ahead the kernel may have waiting, of all files: some
	// that no peer serves must not keep others from being read.
	maxBackground = 512
	// forever is for how long the kernel may keep what cannot change.
	forever = uint64(24 * time.Hour / time.Second)
	// blockSize is what statfs and stat count in.
	blockSize = 4096
	// typeName is the file system's type beside "fuse.".
	typeName = "causeway"
)

// Names of the extended attributes: bytes that are there, the infohash, and bytes per
// second at which the torrent downloads.
const (
	attrCompleted = "user.causeway.completed"
	attrInfoHash  = "user.causeway.infohash"
	attrRate      = "user.causeway.rate"
)

// kernel answers the kernel. It keeps nothing of what the kernel has looked up: all is in
// the numbers of nodes.
type kernel struct {
	fuse.RawFileSystem
	fs     *FS
	server *fuse.Server
	uid    uint32
	gid    uint32

	readAhead readAhead

	mu      sync.Mutex
	next    uint64
	handles map[uint64]*file
}

func newKernel(fs *FS) *kernel {
	return &kernel{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), fs: fs,
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), handles: make(map[uint64]*file),
	}
}

// String implements fuse.RawFileSystem.
func (*kernel) String() string { return typeName }

// Init implements fuse.RawFileSystem.
func (k *kernel) Init(s *fuse.Server) { k.server = s }

// attr is what stat shows.
func (k *kernel) attr(e entry, out *fuse.Attr) {
	at := k.fs.tree.modified(e)
	out.SetTimes(&at, &at, &at)
	out.Ino = k.fs.tree.id(e)
	out.Owner = fuse.Owner{Uid: k.uid, Gid: k.gid}
	out.Blksize = blockSize
	out.Mode, out.Nlink = mode(e), 1
	if e.isFolder() {
		out.Nlink = 2
		return
	}
	size := e.file().Length
	if target := e.target(); target != "" {
		size = int64(len(target))
	}
	out.Size = uint64(size)
	out.Blocks = (out.Size + 511) / 512
}

// mode is an entry's type and permissions. Nothing can be written.
func mode(e entry) uint32 {
	switch file := e.file(); {
	case e.isFolder():
		return syscall.S_IFDIR | 0o555
	case e.target() != "":
		return syscall.S_IFLNK | 0o777
	case file.Executable:
		return syscall.S_IFREG | 0o555
	}
	return syscall.S_IFREG | 0o444
}

// valid is for how many seconds the attributes of an entry may be kept: the root's change
// while torrents come.
func (k *kernel) valid(e entry) uint64 {
	if k.fs.tree.id(e) == rootID {
		return 1
	}
	return forever
}

func (k *kernel) entryOut(e entry, out *fuse.EntryOut) {
	out.NodeId = k.fs.tree.id(e)
	out.EntryValid, out.AttrValid = forever, k.valid(e)
	k.attr(e, &out.Attr)
}

// Lookup implements fuse.RawFileSystem. What is not there may come.
func (k *kernel) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	folder, ok := k.fs.tree.byID(header.NodeId)
	if !ok || !folder.isFolder() {
		return fuse.ENOENT
	}
	e, ok := k.fs.tree.child(folder, name)
	if !ok {
		return fuse.ENOENT
	}
	k.entryOut(e, out)
	return fuse.OK
}

// GetAttr implements fuse.RawFileSystem.
func (k *kernel) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	e, ok := k.fs.tree.byID(in.NodeId)
	if !ok {
		return fuse.ENOENT
	}
	out.AttrValid = k.valid(e)
	k.attr(e, &out.Attr)
	return fuse.OK
}

// Readlink implements fuse.RawFileSystem.
func (k *kernel) Readlink(_ <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	e, ok := k.fs.tree.byID(header.NodeId)
	if !ok {
		return nil, fuse.ENOENT
	}
	if target := e.target(); target != "" {
		return []byte(target), fuse.OK
	}
	return nil, fuse.EINVAL
}

// OpenDir implements fuse.RawFileSystem.
func (k *kernel) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	e, ok := k.fs.tree.byID(in.NodeId)
	if !ok || !e.isFolder() {
		return fuse.ENOENT
	}
	if k.valid(e) == forever {
		out.OpenFlags = fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
	}
	return fuse.OK
}

// ReadDir implements fuse.RawFileSystem.
func (k *kernel) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return k.readDir(in, func(e entry, d fuse.DirEntry) bool { return out.AddDirEntry(d) })
}

// ReadDirPlus implements fuse.RawFileSystem.
func (k *kernel) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return k.readDir(in, func(e entry, d fuse.DirEntry) bool {
		o := out.AddDirLookupEntry(d)
		if o != nil && d.Name != "." && d.Name != ".." {
			k.entryOut(e, o)
		}
		return o != nil
	})
}

// dots is how many entries come before a folder's own: itself and its parent.
const dots = 2

func (k *kernel) readDir(in *fuse.ReadIn, add func(entry, fuse.DirEntry) bool) fuse.Status {
	folder, ok := k.fs.tree.byID(in.NodeId)
	if !ok {
		return fuse.ENOENT
	}
	for at := in.Offset; ; at++ {
		e, name := folder, "."
		switch {
		case at == 1:
			e, name = k.fs.tree.parent(folder), ".."
		case at >= dots:
			if e, ok = k.fs.tree.childAt(folder, int(at-dots)); !ok {
				return fuse.OK
			}
			name = e.name()
		}
		if !add(e, fuse.DirEntry{Name: name, Mode: mode(e), Ino: k.fs.tree.id(e), Off: at + 1}) {
			return fuse.OK
		}
	}
}

// Open implements fuse.RawFileSystem. What was read before stays in the kernel's cache:
// it cannot change.
func (k *kernel) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	e, ok := k.fs.tree.byID(in.NodeId)
	switch {
	case !ok:
		return fuse.ENOENT
	case e.isFolder():
		return fuse.Status(syscall.EISDIR)
	case in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY:
		return fuse.EROFS
	}
	f, err := k.fs.openFile(e)
	if err != nil {
		k.fs.log.Debug("opening", "file", e.name(), "err", err)
		return fuse.EIO
	}
	k.mu.Lock()
	k.next++
	out.Fh = k.next
	k.handles[out.Fh] = f
	k.mu.Unlock()
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	k.passThrough(f, out)
	return fuse.OK
}

// Release implements fuse.RawFileSystem.
func (k *kernel) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	k.mu.Lock()
	f := k.handles[in.Fh]
	delete(k.handles, in.Fh)
	k.mu.Unlock()
	if f != nil {
		f.release()
	}
}

func (k *kernel) handle(fh uint64) *file {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.handles[fh]
}

// Read implements fuse.RawFileSystem.
func (k *kernel) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f := k.handle(in.Fh)
	if f == nil {
		return nil, fuse.EBADF
	}
	off := int64(in.Offset)
	if on, fileOff, n, ok := f.section(off, int64(in.Size)); ok {
		return &onDisk{fuse.ReadResultFd(on.Fd(), fileOff, n), f}, fuse.OK
	}
	n, err := f.readAt(interrupt(cancel), buf[:min(int(in.Size), len(buf))], off)
	if err == nil || errors.Is(err, io.EOF) {
		return fuse.ReadResultData(buf[:n]), fuse.OK
	}
	select {
	case <-cancel:
		return nil, fuse.EINTR
	default:
	}
	k.fs.log.Debug("a read failed", "file", f.entry.name(), "offset", off, "err", err)
	return nil, fuse.EIO
}

// onDisk is what a read gets from disk, by splicing (splice(2)) where that can be.
type onDisk struct {
	fuse.ReadResult
	f *file
}

// Seekable is what go-fuse asks for to splice.
func (d *onDisk) Seekable() (fd uintptr, off int64, size int) {
	return d.ReadResult.(interface {
		Seekable() (uintptr, int64, int)
	}).Seekable()
}

// Done implements fuse.ReadResult: the file may be closed.
func (d *onDisk) Done() { d.f.fs.wg.Done() }

// interrupt is a context that ends when a channel is closed.
type interrupt <-chan struct{}

func (interrupt) Deadline() (time.Time, bool) { return time.Time{}, false }
func (i interrupt) Done() <-chan struct{}     { return i }
func (interrupt) Value(any) any               { return nil }

func (i interrupt) Err() error {
	select {
	case <-i:
		return context.Canceled
	default:
		return nil
	}
}

// StatFs implements fuse.RawFileSystem.
func (k *kernel) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	bytes, files := k.fs.tree.totals()
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, 255
	out.Blocks, out.Files = uint64(bytes+blockSize-1)/blockSize, uint64(files)
	return fuse.OK
}

// GetXAttr implements fuse.RawFileSystem.
func (k *kernel) GetXAttr(_ <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	e, ok := k.fs.tree.byID(header.NodeId)
	if !ok || e.branch == nil {
		return 0, fuse.ENOATTR
	}
	var value string
	switch name {
	case attrCompleted:
		index := -1
		if !e.isFolder() {
			index = e.index()
		} else if e.node != 0 {
			return 0, fuse.ENOATTR
		}
		value = strconv.FormatInt(e.branch.torrent.Completed(index), 10)
	case attrInfoHash:
		value = e.branch.torrent.InfoHash()
	case attrRate:
		value = strconv.FormatInt(int64(e.branch.torrent.Rate()), 10)
	default:
		return 0, fuse.ENOATTR
	}
	return give(dest, value)
}

// ListXAttr implements fuse.RawFileSystem.
func (k *kernel) ListXAttr(_ <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	e, ok := k.fs.tree.byID(header.NodeId)
	if !ok || e.branch == nil {
		return 0, fuse.OK
	}
	names := attrInfoHash + "\x00" + attrRate + "\x00"
	if e.node == 0 || !e.isFolder() {
		names = attrCompleted + "\x00" + names
	}
	return give(dest, names)
}

func give(dest []byte, value string) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}
