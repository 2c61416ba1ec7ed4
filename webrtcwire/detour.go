package webrtcwire

import (
	"sync"
	"time"
)

const (
	// detourQueue bounds the packets that wait to go by a detour; more are dropped, as a full
	// socket buffer would.
	detourQueue = 512

	// detourFarewell is how long what is queued at the end may take.
	detourFarewell = time.Second
)

// detour carries the packets of a connection that do not go from the shared socket, but over one of their
// own, by TCP or to a TURN server. Such may stand still, and an association does not wait for it.
type detour struct {
	write func([]byte) (int, error)
	over  chan struct{} // closed when all is sent

	mu     sync.Mutex
	queue  chan *packet // nil: nothing was sent so far
	closed bool
}

func newDetour(write func([]byte) (int, error)) *detour {
	return &detour{write: write, over: make(chan struct{})}
}

// send queues a packet, or drops it.
func (d *detour) send(b []byte) {
	if len(b) > maxPacket {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if d.queue == nil {
		d.queue = make(chan *packet, detourQueue)
		go d.carry()
	}
	p := packets.Get().(*packet)
	p.n = copy(p.data[:], b)
	select {
	case d.queue <- p:
	default:
		packets.Put(p)
	}
}

func (d *detour) carry() {
	defer close(d.over)
	for p := range d.queue {
		_, _ = d.write(p.data[:p.n]) // an error is a loss
		packets.Put(p)
	}
}

// close waits for what is queued, the farewell, for a short time.
func (d *detour) close() {
	d.mu.Lock()
	begun := d.queue != nil
	if begun && !d.closed {
		close(d.queue)
	}
	d.closed = true
	d.mu.Unlock()
	if !begun {
		return
	}
	select {
	case <-d.over:
	case <-time.After(detourFarewell):
	}
}
