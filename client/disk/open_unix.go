//go:build unix

package disk

import (
	"errors"
	"syscall"
)

// openNoWait keeps the opening of a pipe without a writer from hanging; openNoFollow
// refuses a symbolic link as the file itself.
const (
	openNoWait   = syscall.O_NONBLOCK
	openNoFollow = syscall.O_NOFOLLOW
)

// cannotSync tells whether a file, or its file system, has nothing to sync.
func cannotSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EBADF) ||
		errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS)
}

// otherDevice tells whether a rename failed because its ends are on two file systems.
func otherDevice(err error) bool { return errors.Is(err, syscall.EXDEV) }
