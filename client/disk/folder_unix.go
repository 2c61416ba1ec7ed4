//go:build unix

package disk

import "os"

// syncFolder brings the names in a folder to the disk, where the file system can do that.
func syncFolder(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}
