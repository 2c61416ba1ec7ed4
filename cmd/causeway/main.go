// Command causeway downloads, streams, seeds, makes and checks torrents. `causeway help`
// tells how. Each command has a file of its own; what they do is in the other
// packages.
package main

import (
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
