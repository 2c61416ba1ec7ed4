//go:build unix

package disk

import (
	"errors"
	"os"
)

// unlinked makes a file under a random name, which it takes from it at once.
func unlinked(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".causeway-*.cache") // exclusively, mode 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
