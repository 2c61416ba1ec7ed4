//go:build !windows

package main

import "os"

// enableEscapes makes the terminal obey escape sequences.
func enableEscapes(*os.File) bool { return os.Getenv("TERM") != "dumb" }
