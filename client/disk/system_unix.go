//go:build unix

package disk

import (
	"errors"
	"os"
	"syscall"
)

func markSparse(*os.File) error { return nil }

// IsFull tells whether a disk, or what a user may have of it, was full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// unlock takes the lock off a file that bbolt has locked.
func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
