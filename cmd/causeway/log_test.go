package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// Whoever does not read the log does not stop the program, and learns later that he
// missed some.
func TestNobodyWaitsForTheLog(t *testing.T) {
	r, w := io.Pipe()
	p := newPrinter(io.Discard, w)
	for i := range 3 * maxLogLines { // nobody reads yet
		fmt.Fprintf(logWriter{&p}, "line %d\n", i)
	}
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		read <- string(all)
	}()
	p.log.flush()
	w.Close()
	all := <-read
	lines := strings.Count(all, "line ")
	if lines < maxLogLines || lines > 2*maxLogLines+1 || !strings.HasPrefix(all, "line 0\n") || !strings.Contains(all, "are left out") {
		t.Errorf("%d lines were printed; the last: %q", lines, all[max(0, len(all)-100):])
	}
}
