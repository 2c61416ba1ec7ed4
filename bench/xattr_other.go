//go:build !linux

package main

import "errors"

// attribute reads an extended attribute of a file, where the mount has them.
func attribute(string, string) (string, error) { return "", errors.ErrUnsupported }
