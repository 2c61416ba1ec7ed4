package webrtcwire

import "time"

const (
	// minWindow is the least that may wait for a peer's acknowledgement. Chromium's sockets
	// hold about 50 packets of ours, a page takes some as they come: with 80,000 bytes
	// under way none is lost on a short path, with 112,000 some are.
	minWindow = 80_000

	// sendBuffer is the most that may wait, in pion's memory, which takes half as much again. 512 KiB
	// fill 5 MB/s at 100 ms.
	sendBuffer = 512 << 10

	// gathering is what a round trip under load takes beyond the path's: both ends let
	// packets gather (transport.UDPSocket) and wait for a processor.
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
//
// A loss is dear on a short path: SCTP halves its window, sends two packets a round trip
// until all is repeated, and if a repetition is lost too, waits for a second (pion/sctp's
// least timeout). So after one the allowance for gathering shrinks.
type window struct {
	size    int
	ceiling int // of what is allowed for gathering; shrinks with losses, grows back slowly

	began     time.Time // of the measurement
	delivered uint64    // by then
	limited   bool      // since then

	shortest, earlier time.Duration // round trips in this and the last rttMemory; 0: none
	epoch             time.Time
}

// path is what ICE and SCTP know of a path.
type path struct {
	rtt  time.Duration // 0: not known
	cwnd int           // SCTP's congestion window, bytes
}

func newWindow(now time.Time) window {
	return window{size: minWindow, ceiling: sendBuffer, began: now, epoch: now}
}

// due reports whether it is time to adapt.
func (w *window) due(now time.Time) bool { return now.Sub(w.began) >= windowInterval }

// adapt sets the size after delivered bytes were acknowledged since the connection began.
func (w *window) adapt(now time.Time, delivered uint64, p path) {
	if now.Sub(w.epoch) >= rttMemory {
		w.earlier, w.shortest, w.epoch = w.shortest, 0, now
	}
	if p.rtt > 0 && (w.shortest == 0 || p.rtt < w.shortest) {
		w.shortest = p.rtt
	}
	rtt := w.shortest
	if w.earlier > 0 {
		rtt = min(rtt, w.earlier)
	}
	elapsed := now.Sub(w.began)
	rate := float64(delivered-w.delivered) / elapsed.Seconds()
	// Over a pause, the rate says nothing of the path.
	if w.limited && elapsed < 2*windowInterval {
		// SCTP's window grows until it does not limit, so a small one has had a loss; or is at
		// its beginning on a long path, where the allowance matters little.
		if p.cwnd < w.size*3/4 {
			w.ceiling = max(w.size*3/4, minWindow)
		} else {
			w.ceiling = min(w.ceiling+w.ceiling/512, sendBuffer) // 1 % a second
		}
		inPath := max(int(2*rate*rtt.Seconds()), minWindow)
		gathered := int(2 * rate * (rtt + gathering).Seconds())
		w.size = min(max(inPath, min(gathered, w.ceiling)), sendBuffer)
	}
	w.began, w.delivered, w.limited = now, delivered, false
}
