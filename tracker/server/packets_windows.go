package server

import (
	"errors"

	"golang.org/x/sys/windows"
)

// refused says whether an error of a read is about a packet that was sent before, or
// one that was larger than the buffer.
func refused(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, windows.WSAENETRESET) || errors.Is(err, windows.WSAEMSGSIZE)
}
