//go:build unix

package main

import (
	"math"

	"golang.org/x/sys/unix"
)

// wantedFiles is how many files and connections a tracker may have open, if the system lets
// it: what Linux has at most by default (fs.nr_open).
const wantedFiles = 1 << 20

// openFiles is how many files this process may have open, 0 if there is no limit.
func openFiles() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || uint64(limit.Cur) > math.MaxInt32 { //nolint:unconvert // other widths on other systems
		return 0
	}
	return int(limit.Cur)
}

// raiseOpenFiles raises the limit of open files as far as this process may: Go itself goes to
// the hard limit, and root may go further.
func raiseOpenFiles() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || uint64(limit.Cur) >= wantedFiles { //nolint:unconvert // other widths on other systems
		return
	}
	raised := limit
	raised.Cur, raised.Max = wantedFiles, max(limit.Max, wantedFiles)
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) != nil {
		limit.Cur = limit.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) // then it stays as it is
	}
}
