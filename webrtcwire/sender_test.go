package webrtcwire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

func TestBatch(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:1")
	many := make([]queuedPacket, 100)
	for i := range many {
		many[i] = queuedPacket{a, 1200}
	}
	for _, test := range []struct {
		packets []queuedPacket
		n, size int
	}{
		{[]queuedPacket{{a, 100}}, 1, 100},
		{[]queuedPacket{{a, 100}, {a, 100}, {a, 30}, {a, 30}}, 3, 230},
		{[]queuedPacket{{a, 100}, {a, 101}}, 1, 100},
		{[]queuedPacket{{a, 100}, {b, 100}}, 1, 100},
		{[]queuedPacket{{a, 0}, {a, 0}}, 2, 0},
		{[]queuedPacket{{a, 65000}, {a, 65000}}, 1, 65000},
		{many, 53, 53 * 1200},
	} {
		if n, size := batch(test.packets); n != test.n || size != test.size {
			t.Errorf("batch of %v: %d packets, %d bytes; want %d, %d", test.packets[:min(4, len(test.packets))], n, size, test.n, test.size)
		}
	}
}

// TestSenderKeepsPacketBorders sends packets of many sizes to two addresses and
// closes at once: all that was written arrives, as it was written.
func TestSenderKeepsPacketBorders(t *testing.T) {
	from, err := net.ListenUDP("udp", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var to [2]*net.UDPConn
	for i, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback} {
		if to[i], err = net.ListenUDP("udp", &net.UDPAddr{IP: ip}); err != nil {
			t.Skipf("no loopback address %v: %v", ip, err)
		}
		defer to[i].Close()
	}
	s := newSender(from, from.WriteToUDPAddrPort)
	sizes := []int{1200, 1200, 1200, 40, 1200, 1200, 7, 7, 7, 8, 1, 1200, 1200}
	for i, size := range sizes {
		packet := make([]byte, size)
		packet[0] = byte(i)
		if _, err := s.write(packet, to[i/4%2].LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
			t.Fatal(err)
		}
	}
	s.close()
	s.run()
	var got [2][]string
	var want [2][]string
	buffer := make([]byte, maxPacket)
	for i, size := range sizes {
		conn := to[i/4%2]
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		got[i/4%2] = append(got[i/4%2], fmt.Sprint(buffer[0], n))
		want[i/4%2] = append(want[i/4%2], fmt.Sprint(i, size))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if _, err := s.write([]byte("late"), netip.AddrPort{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}

// TestSenderFallsBack has a system that refuses batches: for good, or, with EINVAL, only
// this one, since a peer may name an address to which nothing can be sent.
func TestSenderFallsBack(t *testing.T) {
	for err, refused := range map[error]bool{syscall.EIO: canSegment, syscall.EINVAL: false} {
		var plain int
		s := newSender(refusing{err}, func(b []byte, _ netip.AddrPort) (int, error) { plain++; return len(b), nil })
		to := netip.MustParseAddrPort("192.0.2.1:1")
		for range 3 {
			if _, err := s.write(make([]byte, 10), to); err != nil {
				t.Fatal(err)
			}
		}
		s.close()
		s.run()
		if plain != 3 {
			t.Errorf("%v: %d packets sent one by one, want 3", err, plain)
		}
		if s.refused != refused {
			t.Errorf("%v: refused is %v, want %v", err, s.refused, refused)
		}
	}
}

type refusing struct{ err error }

func (r refusing) WriteMsgUDPAddrPort([]byte, []byte, netip.AddrPort) (int, int, error) {
	return 0, 0, r.err
}
