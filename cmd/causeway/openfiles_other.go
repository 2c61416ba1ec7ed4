//go:build !unix

package main

// openFiles is 0: there is no such limit.
func openFiles() int { return 0 }

// raiseOpenFiles does nothing: there is no such limit.
func raiseOpenFiles() {}
