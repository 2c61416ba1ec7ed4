package disk

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxIovecs is IOV_MAX of Linux.
const maxIovecs = 1024

// writeAll writes parts one after the other from off on, with one system call per
// maxIovecs of them.
func writeAll(f *os.File, parts [][]byte, off int64) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	for len(parts) > 0 {
		batch := parts[:min(len(parts), maxIovecs)]
		var n int
		var writeErr error
		err := conn.Write(func(fd uintptr) bool {
			n, writeErr = unix.Pwritev(int(fd), batch, off)
			return true
		})
		if err != nil {
			return err
		}
		if errors.Is(writeErr, unix.EINTR) {
			continue
		}
		if writeErr != nil {
			return &os.PathError{Op: "write", Path: f.Name(), Err: writeErr}
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		off += int64(n)
		_, parts = split(parts, int64(n))
	}
	return nil
}

func preallocate(f *os.File, length int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, length)
	if errors.Is(err, unix.EOPNOTSUPP) || length == 0 {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}

// nextData returns the first offset at or behind off that holds data, and length
// if none does.
func nextData(f *os.File, off, length int64) int64 {
	at, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return length
	}
	if err != nil {
		return off // the file system cannot tell
	}
	return at
}

// forgetCached drops what the system keeps of a file in memory and has written, or has
// given up to write: what is read then is what the disk holds.
func forgetCached(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
