package main

import (
	"errors"

	"golang.org/x/sys/windows"
)

// ignoreBrokenPipes has nothing to do: Windows knows no such signal.
func ignoreBrokenPipes() {}

// isReaderGone tells whether a write failed because nobody reads any more.
func isReaderGone(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA)
}
