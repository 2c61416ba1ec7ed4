package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestTrain(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:1")
	many := make([]outgoing, 100)
	for i := range many {
		many[i] = outgoing{a, 1200}
	}
	for _, test := range []struct {
		packets []outgoing
		n, size int
	}{
		{[]outgoing{{a, 100}}, 1, 100},
		{[]outgoing{{a, 100}, {a, 100}, {a, 30}, {a, 30}}, 3, 230},
		{[]outgoing{{a, 100}, {a, 101}}, 1, 100},
		{[]outgoing{{a, 100}, {b, 100}}, 1, 100},
		{[]outgoing{{a, 0}, {a, 0}}, 2, 0},
		{[]outgoing{{a, 65000}, {a, 65000}}, 1, 65000},
		{many, 53, 53 * 1200},
	} {
		if n, size := train(test.packets); n != test.n || size != test.size {
			t.Errorf("train of %v: %d packets, %d bytes; want %d, %d", test.packets[:min(4, len(test.packets))], n, size, test.n, test.size)
		}
	}
}

// receivers opens sockets of IPv4 and IPv6.
func receivers(t *testing.T) (to [2]*net.UDPConn) {
	t.Helper()
	for i, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback} {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
		if err != nil {
			t.Skipf("no loopback address %v: %v", ip, err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		to[i] = conn
	}
	return to
}

// TestBatchesKeepPacketBorders sends packets of many sizes to two addresses, by every way
// that there is: all that was written arrives, in order and as it was written.
func TestBatchesKeepPacketBorders(t *testing.T) {
	sizes := []int{1200, 1200, 1200, 40, 1200, 1200, 7, 7, 7, 8, 1, 1200, 1200}
	for i := range 80 { // more than one call takes
		sizes = append(sizes, 100+i%3)
	}
	for name, write := range map[string]func(u *UDPSocket, b *Batch) error{
		"batch": func(u *UDPSocket, b *Batch) error { return u.WriteBatch(b) },
		"plain": func(u *UDPSocket, b *Batch) error { return sendPlain(u.conn, b.data, b.packets) },
		"queue": func(u *UDPSocket, b *Batch) error {
			data := b.data
			for _, p := range b.packets {
				if _, err := u.Queue(data[:p.size], p.to); err != nil {
					return err
				}
				data = data[p.size:]
			}
			return u.Close() // sends what is queued
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := receivers(t)
			u, err := ListenUDP(ListenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			var b Batch
			for i, size := range sizes {
				packet := make([]byte, size)
				packet[0] = byte(i)
				b.Add(packet, to[i/4%2].LocalAddr().(*net.UDPAddr).AddrPort())
			}
			if err := write(u, &b); err != nil {
				t.Fatal(err)
			}
			var got, want [2][]string
			buffer := make([]byte, 2048)
			for i, size := range sizes {
				n, err := to[i/4%2].Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
				got[i/4%2] = append(got[i/4%2], fmt.Sprint(buffer[0], n))
				want[i/4%2] = append(want[i/4%2], fmt.Sprint(i, size))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// TestSegments sends one buffer as packets, by the system's own cutting and without.
func TestSegments(t *testing.T) {
	for _, refused := range []bool{false, true} {
		u := listenLoopback(t)
		if refused {
			refuseSegments(u)
		}
		l := u.Lend(ClassUTP)
		b := zeros("01001234", 100)
		for _, at := range []int{40, 80} {
			copy(b[at:], b[:4]) // each packet is of uTP
		}
		copy(b[80:], zeros("01001234", 20))
		n, err := l.WriteSegments(b, 40, u.LocalAddr().AddrPort())
		if n != 100 || err != nil {
			t.Fatal(n, err)
		}
		l.SetReadDeadline(time.Now().Add(10 * time.Second))
		for _, want := range []int{40, 40, 20} {
			if n, _, err := l.ReadFromUDPAddrPort(make([]byte, 100)); n != want || err != nil {
				t.Fatalf("refused %v: %d bytes, %v; want %d", refused, n, err, want)
			}
		}
		u.Close()
		if _, err := u.WriteSegments(b, 40, u.LocalAddr().AddrPort()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// TestWhatCannotBeSentIsLost: addresses that cannot be, and a socket of the other family, stop
// no other packet.
func TestWhatCannotBeSentIsLost(t *testing.T) {
	u := listenLoopback(t) // IPv4 only
	l := u.Lend(ClassUTP)
	self := u.LocalAddr().AddrPort()
	var b Batch
	for _, to := range []string{"[2001:db8::1]:5", "[fe80::1%nowhere]:5", "0.0.0.0:0", "255.255.255.255:9"} {
		b.Add(utpPacket, netip.MustParseAddrPort(to))
		b.Add(utpPacket, netip.MustParseAddrPort(to))
		b.Add(utpPacket, self)
	}
	b.Add(make([]byte, 70<<10), self) // larger than any datagram
	b.Add(utpPacket, netip.AddrPort{})
	b.Add(append(utpPacket[:20:20], 1), self)
	if err := u.WriteBatch(&b); err != nil {
		t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(10 * time.Second))
	buffer := make([]byte, 100)
	for i := range 5 {
		n, _, err := l.ReadFromUDPAddrPort(buffer)
		if err != nil || (n == 21) != (i == 4) {
			t.Fatalf("packet %d: %d bytes, %v", i, n, err)
		}
	}
	u.Close()
	if err := u.WriteBatch(&b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a batch after Close: %v", err)
	}
	if _, err := u.Queue(utpPacket, self); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a packet after Close: %v", err)
	}
	if _, err := l.WriteSegments(utpPacket, len(utpPacket), self); !errors.Is(err, net.ErrClosed) {
		t.Errorf("segments of a borrower after Close: %v", err)
	}
}

// TestManyWriteAtOnce has goroutines send batches over one socket.
func TestManyWriteAtOnce(t *testing.T) {
	u, from := listenLoopback(t), listenLoopback(t)
	l := u.Lend(ClassUTP)
	const writers, packets = 4, 50
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			var b Batch
			for range packets {
				b.Add(zeros("01001234", 100+i), u.LocalAddr().AddrPort())
			}
			if err := from.WriteBatch(&b); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l.SetReadDeadline(time.Now().Add(20 * time.Second))
	buffer := make([]byte, 2048)
	counts := map[int]int{}
	for range writers * packets {
		n, _, err := l.ReadFromUDPAddrPort(buffer)
		if err != nil {
			t.Fatalf("after %v: %v", counts, err)
		}
		counts[n]++
	}
	for i := range writers {
		if counts[100+i] != packets {
			t.Errorf("got %v packets by size, want %d of each", counts, packets)
		}
	}
}

// BenchmarkWriteBatch measures sending, by packets of a train.
func BenchmarkWriteBatch(b *testing.B) {
	u := listenLoopback(b)
	to := listenLoopback(b).LocalAddr().AddrPort()
	var batch Batch
	for range 32 {
		batch.Add(zeros("01001234", 1400), to)
	}
	b.SetBytes(int64(batch.Size()))
	b.ReportAllocs()
	for b.Loop() {
		_ = u.WriteBatch(&batch)
	}
}
