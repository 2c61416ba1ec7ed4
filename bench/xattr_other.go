//go:build !linux

package main

import "errors"

// attribute fails: what is measured of mounts needs Linux.
func attribute(string, string) (string, error) { return "", errors.ErrUnsupported }
