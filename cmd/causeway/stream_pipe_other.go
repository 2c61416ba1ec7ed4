//go:build !windows

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// ignoreBrokenPipes makes a write to a closed standard output an error, instead of
// the end of the process. The signal is caught, for programs that we start would
// inherit it if it were ignored.
func ignoreBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// isReaderGone tells whether a write failed because nobody reads any more.
func isReaderGone(err error) bool { return errors.Is(err, syscall.EPIPE) }
