//go:build !linux

package path

import (
	"errors"
	"os"
	"time"
)

// errLinux is why there is never a path here; what else is below is never called.
var errLinux = errors.New("an emulated path needs Linux")

type tap struct{ file *os.File }

func openTAP(string) (*tap, error)        { return nil, errLinux }
func adoptTAP(int) (*tap, error)          { return nil, errLinux }
func (*tap) close()                       {}
func (*tap) read([]byte) int              { return 0 }
func (*tap) write([]byte)                 {}
func await(time.Duration, *tap, *tap)     {}
func nap(time.Duration)                   {}
func hurry()                              {}
func dropped(string) (int64, error)       { return 0, errLinux }
func setCongestion(uintptr, string) error { return errLinux }

// Congestion returns the name of the system's congestion control for TCP.
func Congestion() (string, error) { return "", errLinux }
