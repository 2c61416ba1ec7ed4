package disk

import (
	"errors"

	"golang.org/x/sys/windows"
)

// Pipes are no files of a folder here, and symbolic links need rights that torrents
// do not have.
const (
	openNoWait   = 0
	openNoFollow = 0
)

// cannotSync tells whether a file, or its file system, has nothing to sync: what was
// opened for reading cannot be.
func cannotSync(err error) bool {
	return errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_INVALID_FUNCTION)
}

// otherDevice tells whether a rename failed because its ends are on two file systems.
func otherDevice(err error) bool { return errors.Is(err, windows.ERROR_NOT_SAME_DEVICE) }
