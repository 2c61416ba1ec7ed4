// Command causeway downloads, streams, seeds, makes and checks torrents. `causeway help`
// tells how. Each command has a file of its own; what they do is in the other
// packages.
package main

import (
	"os"
	"runtime"
)

// ballastSize is memory that counts as in use and is never touched, so it costs none:
// with a live heap of a few MB, as a seeder has, the garbage collector would else run
// many times a second (docs/PERFORMANCE.md).
const ballastSize = 12 << 20

func main() {
	ballast := make([]byte, ballastSize)
	code := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	runtime.KeepAlive(ballast)
	os.Exit(code)
}
