package main

import (
	"testing"

	"github.com/causeway-bt/causeway/tracker/server"
	"github.com/causeway-bt/causeway/wire/transport"
)

// TestTrackerPacketsOnThePeersPort compares what a tracker takes with what the peers' UDP port
// hands it: two rooms that know nothing of each other.
func TestTrackerPacketsOnThePeersPort(t *testing.T) {
	for first := range 256 {
		for _, size := range []int{15, 16, 36, 98} {
			b := make([]byte, size)
			b[0] = byte(first)
			copy(b[1:], "\x00\x04\x17\x27\x10\x19\x80")
			if takes, handed := server.IsPacket(b), transport.Classify(b) == transport.ClassTracker; takes != handed {
				t.Errorf("%d bytes that begin with %#x: the tracker takes them: %v; they are handed to it: %v", size, first, takes, handed)
			}
		}
	}
}
