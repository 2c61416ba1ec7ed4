//go:build !windows

package server

import (
	"errors"
	"syscall"
)

// refused says whether an error of a read is about a packet that was sent before.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) ||
		errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EMSGSIZE)
}
