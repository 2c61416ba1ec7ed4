package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// markSparse makes NTFS leave out what was never written.
func markSparse(f *os.File) error {
	var n uint32
	// File systems without sparse files refuse; they then hold zeros.
	_ = windows.DeviceIoControl(windows.Handle(f.Fd()), windows.FSCTL_SET_SPARSE, nil, 0, nil, 0, &n, nil)
	return nil
}

// IsFull tells whether a disk, or what a user may have of it, was full.
func IsFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// unlock has nothing to do: locks end with the file's handle.
func unlock(*os.File) {}
