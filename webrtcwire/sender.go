package webrtcwire

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// batchConn is the part of *net.UDPConn that can send several packets at once,
// told to by control messages.
type batchConn interface {
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
}

// batches sends packets by generic segmentation offload: one system call and one way through
// the network stack for up to 64 packets of one size to one address.
type batches struct {
	conn    batchConn // nil: none
	plain   func([]byte, netip.AddrPort) (int, error)
	refused atomic.Bool // the system cannot: only plain from now on
}

func newBatches(conn net.PacketConn, plain func([]byte, netip.AddrPort) (int, error)) *batches {
	b := &batches{plain: plain}
	if conn, ok := conn.(batchConn); ok && canSegment {
		b.conn = conn
	}
	return b
}

// send sends packets of size bytes that follow each other in b; the last may be smaller. Errors of
// the network show as loss.
func (s *batches) send(b []byte, size int, to netip.AddrPort) {
	if len(b) > size && s.conn != nil && !s.refused.Load() {
		var control [segmentControlSize]byte
		_, _, err := s.conn.WriteMsgUDPAddrPort(b, segmentControl(control[:0], size), to)
		if err == nil {
			return
		}
		if refusesSegments(err) {
			s.refused.Store(true)
		}
	}
	for len(b) > 0 {
		n := min(size, len(b))
		_, _ = s.plain(b[:n], to)
		b = b[n:]
	}
}
