package main

import "syscall"

// attribute reads an extended attribute of a file.
func attribute(path, name string) (string, error) {
	b := make([]byte, 64)
	n, err := syscall.Getxattr(path, name, b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}
