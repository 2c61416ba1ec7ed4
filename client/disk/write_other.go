//go:build !linux

package disk

import "os"

// writeAll writes parts one after the other from off on.
func writeAll(f *os.File, parts [][]byte, off int64) error {
	for _, p := range parts {
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// preallocate leaves the space to Truncate: there is no portable call for it.
func preallocate(*os.File, int64) error { return nil }

// nextData takes all bytes for data.
func nextData(_ *os.File, off, _ int64) int64 { return off }

// forgetCached does nothing: there is no portable call for it.
func forgetCached(*os.File) {}
