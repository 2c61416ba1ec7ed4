package transport

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
)

const (
	// maxTrain bounds the packets that go as one, in bytes: the largest that one system
	// call takes.
	maxTrain = 64000
	// maxSegments bounds their number (UDP_MAX_SEGMENTS of Linux).
	maxSegments = 64
	// maxQueued bounds the bytes that wait in [UDPSocket.Queue]. Writers block beyond, as
	// they would on a full socket buffer.
	maxQueued = 256 << 10
)

// Batch is packets that are sent together. The zero value is an empty one; it can be used
// again after Reset.
type Batch struct {
	data    []byte // the packets, one after the other
	packets []outgoing
}

type outgoing struct {
	to   netip.AddrPort
	size int
}

// Add appends a copy of a packet.
func (b *Batch) Add(packet []byte, to netip.AddrPort) {
	b.data = append(b.data, packet...)
	b.packets = append(b.packets, outgoing{to, len(packet)})
}

// Len returns the number of packets.
func (b *Batch) Len() int { return len(b.packets) }

// Size returns their bytes.
func (b *Batch) Size() int { return len(b.data) }

// Reset empties the batch, and keeps its memory.
func (b *Batch) Reset() { b.data, b.packets = b.data[:0], b.packets[:0] }

// train returns how many of the first packets can go as one, and their bytes: all to one
// address, all of one size except that the last may be smaller.
func train(packets []outgoing) (n, size int) {
	first := packets[0]
	for n < len(packets) && n < maxSegments {
		next := packets[n]
		if next.to != first.to || next.size > first.size || size+next.size > maxTrain {
			break
		}
		n++
		size += next.size
		if next.size < first.size {
			break
		}
	}
	return max(n, 1), max(size, first.size)
}

// WriteBatch sends the packets of b in their order: many with one system call, and those of
// one size to one address as one packet that the kernel or the network card cuts (generic
// segmentation offload), where the system knows how. What cannot be sent is lost, as in the
// network; the error says that the socket is closed. It may be called by many at once.
func (u *UDPSocket) WriteBatch(b *Batch) error {
	if len(b.packets) == 0 {
		return nil
	}
	return u.sender.send(b)
}

// WriteSegments sends b to one address as packets of size bytes, the last of which may be
// shorter: as one where the system cuts it (see WriteBatch), else one by one. There may be 64
// of them, and 64,000 bytes. It copies nothing. The error is of the first packet that could not
// be sent, such as one too large for the network; n is the bytes before that. EMSGSIZE with all of b says that
// all went, but in fragments.
func (u *UDPSocket) WriteSegments(b []byte, size int, to netip.AddrPort) (n int, err error) {
	var tooLarge error
	if len(b) > size {
		var refused bool
		n, refused, tooLarge = u.sender.segments(b, size, to)
		if errors.Is(tooLarge, syscall.EMSGSIZE) {
			// WriteFragmentable may have made the measure smaller for a moment, which is over once it has ended.
			u.whole.Lock()
			n, refused, tooLarge = u.sender.segments(b, size, to)
			u.whole.Unlock()
		}
		if !refused {
			return n, tooLarge
		}
	}
	for n < len(b) {
		end := min(n+size, len(b))
		if _, err := u.conn.WriteToUDPAddrPort(b[n:end], to); err != nil {
			return n, err
		}
		n = end
	}
	return n, tooLarge
}

// sendPlain sends packets one by one.
func sendPlain(conn *net.UDPConn, data []byte, packets []outgoing) (err error) {
	for _, p := range packets {
		if _, e := conn.WriteToUDPAddrPort(data[:p.size], p.to); isClosed(e) {
			err = e
		}
		data = data[p.size:]
	}
	return err
}

// queue is the packets that wait to be sent by a goroutine of the socket. Which go together
// is decided by the writers' pace alone: while one batch is being sent the next gathers, and
// nothing waits for more to come.
type queue struct {
	mu      sync.Mutex
	room    sync.Cond // the queue was taken
	work    sync.Cond // the queue is not empty, or closed
	batch   Batch
	started bool
	closed  bool
	done    chan struct{}
}

func (q *queue) init() {
	q.room.L, q.work.L = &q.mu, &q.mu
	q.done = make(chan struct{})
}

// Queue has a goroutine of the socket send a packet, together with others that are queued
// meanwhile: for writers that each have one packet at a time. It waits while too much is
// queued. What cannot be sent is lost.
func (u *UDPSocket) Queue(b []byte, to netip.AddrPort) (int, error) {
	q := &u.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.batch.data) > maxQueued && !q.closed {
		q.room.Wait()
	}
	if q.closed {
		return 0, net.ErrClosed
	}
	if !q.started {
		q.started = true
		go u.sendQueued()
	}
	q.batch.Add(b, to)
	if len(q.batch.packets) == 1 {
		q.work.Signal()
	}
	return len(b), nil
}

// sendQueued sends until the queue is closed, and then what is left: the last packets tell
// peers that we are going.
func (u *UDPSocket) sendQueued() {
	q := &u.queue
	defer close(q.done)
	var taken Batch
	for {
		taken.Reset()
		q.mu.Lock()
		for len(q.batch.packets) == 0 && !q.closed {
			q.work.Wait()
		}
		ended := len(q.batch.packets) == 0
		q.mu.Unlock()
		if ended {
			return
		}
		runtime.Gosched() // lets a writer that is at it add what it has
		q.mu.Lock()
		q.batch, taken = taken, q.batch
		q.room.Broadcast()
		q.mu.Unlock()
		_ = u.WriteBatch(&taken)
	}
}

// close ends the queue once all of it is sent.
func (q *queue) close() {
	q.mu.Lock()
	started := q.started
	q.closed = true
	q.room.Broadcast()
	q.work.Signal()
	q.mu.Unlock()
	if started {
		<-q.done
	}
}
