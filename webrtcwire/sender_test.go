package webrtcwire

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
)

// TestBatchesKeepPacketBorders sends packets of several sizes to two addresses: all arrive
// as they were written.
func TestBatchesKeepPacketBorders(t *testing.T) {
	from, err := net.ListenUDP("udp", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	s := newBatches(from, from.WriteToUDPAddrPort)
	for _, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback} {
		to, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
		if err != nil {
			t.Skipf("no loopback address %v: %v", ip, err)
		}
		defer to.Close()
		buffer := make([]byte, maxPacket)
		for _, sizes := range [][]int{{1200, 1200, 1200, 40}, {1200, 1200}, {7}, {9, 1}} {
			var b []byte
			for i, size := range sizes {
				packet := make([]byte, size)
				packet[0] = byte(i)
				b = append(b, packet...)
			}
			s.send(b, sizes[0], to.LocalAddr().(*net.UDPAddr).AddrPort())
			for i, size := range sizes {
				n, err := to.Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
				if n != size || buffer[0] != byte(i) {
					t.Errorf("%v: packet %d is number %d of %d bytes", sizes, i, buffer[0], n)
				}
			}
		}
	}
}

// TestBatchesFallBack has a system that refuses batches: for good, or, with EINVAL, only
// this one, since a peer may name an address to which nothing can be sent.
func TestBatchesFallBack(t *testing.T) {
	for err, refused := range map[error]bool{syscall.EIO: canSegment, syscall.EINVAL: false} {
		var plain int
		s := newBatches(refusing{err: err}, func(b []byte, _ netip.AddrPort) (int, error) { plain++; return len(b), nil })
		s.send(make([]byte, 25), 10, netip.MustParseAddrPort("192.0.2.1:1"))
		if plain != 3 {
			t.Errorf("%v: %d packets sent one by one, want 3", err, plain)
		}
		if s.refused.Load() != refused {
			t.Errorf("%v: refused is %v, want %v", err, s.refused.Load(), refused)
		}
	}
}

type refusing struct {
	net.PacketConn
	err error
}

func (r refusing) WriteMsgUDPAddrPort([]byte, []byte, netip.AddrPort) (int, int, error) {
	return 0, 0, r.err
}
