//go:build unix && !linux

package disk

import "os"

// temporary makes a file in a folder that is gone when it is closed, or the process
// killed.
func temporary(dir string) (*os.File, error) { return unlinked(dir) }
