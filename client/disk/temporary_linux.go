package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// temporary makes a file in a folder that is gone when it is closed, or the process
// killed. It never has a name, where the file system can do that.
func temporary(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err == nil {
		return f, nil
	}
	return unlinked(dir)
}
