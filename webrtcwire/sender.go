package webrtcwire

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
)

const (
	// maxBatch bounds a batch in bytes: the largest that one system call takes.
	maxBatch = 64000

	// maxSegments bounds the packets of one batch (UDP_MAX_SEGMENTS of Linux).
	maxSegments = 64

	// maxQueued bounds the bytes that wait to be sent. Writers block beyond, as
	// they would on a full socket buffer.
	maxQueued = 256 << 10
)

// batchConn is the part of *net.UDPConn that can send several packets at once,
// told to by control messages.
type batchConn interface {
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
}

// sender sends packets in batches by generic segmentation offload: one system call
// and one way through the network stack for up to 64 packets of one size to one
// address. Which packets go together is decided by the writers' pace alone: while
// one batch is being sent the next gathers, and nothing waits for more to come.
type sender struct {
	conn  batchConn
	plain func([]byte, netip.AddrPort) (int, error)

	mu      sync.Mutex
	room    sync.Cond // the queue was taken
	work    sync.Cond // the queue is not empty, or closed
	queue   outbound
	closed  bool
	refused bool // the system cannot: only plain from now on
}

// outbound is packets one after the other in one buffer.
type outbound struct {
	data    []byte
	packets []queuedPacket
}

type queuedPacket struct {
	to   netip.AddrPort
	size int
}

func newSender(conn batchConn, plain func([]byte, netip.AddrPort) (int, error)) *sender {
	s := &sender{conn: conn, plain: plain}
	s.room.L, s.work.L = &s.mu, &s.mu
	return s
}

// write queues a packet. Errors of the network show as loss.
func (s *sender) write(b []byte, to netip.AddrPort) (int, error) {
	s.mu.Lock()
	if s.refused {
		s.mu.Unlock()
		return s.plain(b, to)
	}
	defer s.mu.Unlock()
	for len(s.queue.data) > maxQueued && !s.closed {
		s.room.Wait()
	}
	if s.closed {
		return 0, net.ErrClosed
	}
	s.queue.data = append(s.queue.data, b...)
	s.queue.packets = append(s.queue.packets, queuedPacket{to, len(b)})
	if len(s.queue.packets) == 1 {
		s.work.Signal()
	}
	return len(b), nil
}

// run sends until close, and then what is left: the last packets tell peers that
// we are going.
func (s *sender) run() {
	var taken outbound
	for {
		taken.data, taken.packets = taken.data[:0], taken.packets[:0]
		s.mu.Lock()
		for len(s.queue.packets) == 0 && !s.closed {
			s.work.Wait()
		}
		ended := len(s.queue.packets) == 0
		s.mu.Unlock()
		if ended {
			return
		}
		runtime.Gosched() // lets a writer that is at it add what it has
		s.mu.Lock()
		s.queue, taken = taken, s.queue
		s.room.Broadcast()
		s.mu.Unlock()
		s.send(taken)
	}
}

func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.room.Broadcast()
	s.work.Signal()
}

func (s *sender) send(out outbound) {
	data := out.data
	for packets := out.packets; len(packets) > 0; {
		n, size := batch(packets)
		s.sendBatch(data[:size], packets[:n])
		data, packets = data[size:], packets[n:]
	}
}

// batch returns how many of the first packets can go together, and their size: all
// to one address, all of one size except that the last may be smaller.
func batch(packets []queuedPacket) (n, size int) {
	first := packets[0]
	for n < len(packets) && n < maxSegments {
		next := packets[n]
		if next.to != first.to || next.size > first.size || size+next.size > maxBatch {
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

func (s *sender) sendBatch(data []byte, packets []queuedPacket) {
	if len(packets) > 1 {
		var control [segmentControlSize]byte
		_, _, err := s.conn.WriteMsgUDPAddrPort(data, segmentControl(control[:0], packets[0].size), packets[0].to)
		if err == nil {
			return
		}
		if refusesSegments(err) {
			s.mu.Lock()
			s.refused = true
			s.mu.Unlock()
		}
	}
	for _, packet := range packets {
		_, _ = s.plain(data[:packet.size], packet.to) // a failure is loss
		data = data[packet.size:]
	}
}
