package webrtcwire

import "time"

const (
	// minWindow is the least that may wait for a peer's acknowledgement. Chromium's sockets
	// hold about 50 packets of ours, a page takes some as they come: with 96,000 bytes
	// under way none is lost on a short path, with 128,000 some are, and a lost
	// packet halves SCTP's own window.
	minWindow = 96_000

	// sendBuffer is the most, in pion's memory, which takes half as much again. 512 KiB
	// fill 5 MB/s at 100 ms.
	sendBuffer = 512 << 10

	// gathering is what a round trip under load takes beyond that of an ICE check: both
	// ends let packets gather for a millisecond (transport.UDPSocket).
	gathering = 2 * time.Millisecond

	// windowInterval is between two measurements of the rate.
	windowInterval = 200 * time.Millisecond

	// rttMemory is how long at least the shortest round trip counts; a path may become
	// longer, and a queue that we filled ourselves makes it seem so.
	rttMemory = 5 * time.Minute
)

// window bounds the bytes of a connection that wait for acknowledgement to twice what the
// path takes in a round trip, so that SCTP, which slows down only after a loss, causes few
// by itself. Doubled, so that the rate can double from one measurement to the next.
type window struct {
	size int

	began     time.Time // of the measurement
	delivered uint64    // by then
	limited   bool      // since then

	shortest, earlier time.Duration // round trips in this and the last rttMemory; 0: none
	epoch             time.Time
}

func newWindow(now time.Time) window { return window{size: minWindow, began: now, epoch: now} }

// due reports whether it is time to adapt.
func (w *window) due(now time.Time) bool { return now.Sub(w.began) >= windowInterval }

// adapt sets the size after delivered bytes were acknowledged since the connection began.
// rtt is the newest round trip of an ICE check; 0: not known.
func (w *window) adapt(now time.Time, delivered uint64, rtt time.Duration) {
	if now.Sub(w.epoch) >= rttMemory {
		w.earlier, w.shortest, w.epoch = w.shortest, 0, now
	}
	if rtt > 0 && (w.shortest == 0 || rtt < w.shortest) {
		w.shortest = rtt
	}
	rtt = w.shortest
	if w.earlier > 0 {
		rtt = min(rtt, w.earlier)
	}
	rate := float64(delivered-w.delivered) / now.Sub(w.began).Seconds()
	if w.limited {
		w.size = min(max(int(2*rate*(rtt+gathering).Seconds()), minWindow), sendBuffer)
	}
	w.began, w.delivered, w.limited = now, delivered, false
}
