//go:build unix

package disk

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

func markSparse(*os.File) error { return nil }

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// umask reads the process's file mode mask, which can only be read by setting it.
var umask = sync.OnceValue(func() fs.FileMode {
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	return fs.FileMode(mask)
})
