package utp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// inject gives a packet to n, as if it came from an address.
func (n *node) inject(b []byte, from netip.AddrPort) {
	n.mu.Lock()
	n.Deliver(b, from, time.Time{})
	n.Flush()
	n.mu.Unlock()
}

func (h header) packet(payload ...byte) []byte {
	b := make([]byte, headerSize, headerSize+len(payload))
	h.put(b, extEnd)
	return append(b, payload...)
}

// fast is a path that is no limit.
var fast = conditions{delay: 5 * time.Millisecond}

// A flood of SYNs from everywhere costs no memory, gets no reply that is longer than it, and leaves the
// others served.
func TestSynFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, b, x, y := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		var sent, got int
		b.watch(func(p []byte, to netip.AddrPort) bool {
			if to != a.addr {
				sent += len(p)
			}
			return to == a.addr
		})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		const flood = 100_000 / slower
		for i := range flood {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 6881)
			p := header{typ: typeSyn, id: uint16(i), seq: 1}.packet()
			got += len(p)
			b.inject(p, from)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 4<<20 {
			t.Errorf("%d SYNs cost %d bytes of memory", flood, n)
		}
		if n := b.count(); n != 1 {
			t.Errorf("%d SYNs made connections: there are %d", flood, n)
		}
		if sent > got {
			t.Errorf("%d bytes were answered with %d", got, sent)
		}
		exchange(t, x, y)
		x2, y2 := connect(t, a, b)
		exchange(t, x2, y2)
	})
}

// exchange has a little come through from x to y.
func exchange(t *testing.T, x, y net.Conn) {
	t.Helper()
	want := randomBytes(100 << 10)
	go func() { _, _ = x.Write(want) }()
	got := make([]byte, len(want))
	y.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(y, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("what arrived is not what was sent")
	}
}

// Peers that really get our replies, and go no further than their first byte, are bounded: by
// address, in all, and by those that wait for Accept.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim()
		defer s.close()
		b := s.node(addrB, newLink(fast), Config{MaxConns: 300, MaxPerAddr: 10})
		var reply []byte
		b.watch(func(p []byte, _ netip.AddrPort) bool { reply = append(reply[:0], p...); return false })
		open := func(from netip.AddrPort, id uint16) {
			reply = reply[:0]
			b.inject(header{typ: typeSyn, id: id, seq: 7}.packet(), from)
			var p packet
			if p.parse(reply) {
				b.inject(header{typ: typeData, id: id + 1, seq: 8, ack: p.seq - 1}.packet('x'), from)
			}
		}
		one := netip.MustParseAddr("203.0.113.1")
		for i := range uint16(50) {
			open(netip.AddrPortFrom(one, 1000+i), i)
		}
		if n := b.count(); n != 10 {
			t.Errorf("one address has %d connections, want 10", n)
		}
		v6 := netip.MustParseAddr("2001:db8:1:2::").As16()
		for i := range uint16(50) {
			v6[15] = byte(i)
			open(netip.AddrPortFrom(netip.AddrFrom16(v6), 1000), i)
		}
		if n := b.count(); n != 20 {
			t.Errorf("the addresses of one host have %d connections, want 10", n-10)
		}
		for i := range 1000 {
			open(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1000), uint16(i))
		}
		if n := b.count(); n != backlog {
			t.Errorf("%d connections wait for Accept, want %d", n, backlog)
		}
		for range backlog {
			if _, err := b.Accept(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 1000 {
			open(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1000), uint16(i))
		}
		if n := b.count(); n != 300 {
			t.Errorf("there are %d connections, want 300", n)
		}
		b.watch(func([]byte, netip.AddrPort) bool { return false })
		// The peers never say more; what they may not know is that they are forgotten after a while.
		time.Sleep(silent + time.Minute)
		if n := b.count(); n != 0 {
			t.Errorf("%d connections remain of peers that say nothing", n)
		}
		b.Socket.mu.Lock()
		defer b.Socket.mu.Unlock()
		if len(b.perHost) != 0 || b.Socket.accepted != 0 {
			t.Errorf("the books say %d, %v", b.Socket.accepted, b.perHost)
		}
	})
}

// What comes before a missing packet takes no more memory than what is in order could, of whatever
// size it is, and none once the connection is closed.
func TestEarlyPacketsAreBounded(t *testing.T) {
	for name, size := range map[string]int{"no data": 0, "small": 1, "just over Ethernet": 1501, "large": 40_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim()
				defer s.close()
				b := s.node(addrB, newLink(fast), Config{})
				b.watch(func([]byte, netip.AddrPort) bool { return false })
				const peers = 16
				conns := make([]*Conn, peers)
				for i := range conns {
					conns[i] = accepted(b.Socket, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1000))
				}
				flood := func() {
					for _, c := range conns {
						for nth := range uint16(min(2*maxReorder, 64+4*firstReceive/max(size, 1)) / slower) {
							h := header{typ: typeData, id: c.key.id, seq: c.rx.ack + 2 + nth, ack: c.tx.una - 1, window: 1 << 20}
							b.inject(h.packet(make([]byte, size)...), c.addr)
						}
					}
				}
				before := inUse()
				flood()
				// Of each: the data, and the table of them.
				if n, most := (inUse()-before)/peers, int64(2*firstReceive+64<<10); n > most {
					t.Errorf("a connection takes %d bytes, want at most %d", n, most)
				}
				for _, c := range conns {
					c.Close()
				}
				flood()
				if n := (inUse() - before) / peers; n > 64<<10 {
					t.Errorf("a closed connection takes %d bytes", n)
				}
				runtime.KeepAlive(conns)
			})
		})
	}
}

// accepted makes a connection that a peer opened, without any packets.
func accepted(s *Socket, from netip.AddrPort) *Conn {
	c := newConn(s, from, 5, 4)
	c.incoming = true
	c.accepted(100, 200, s.now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c.key] = c
	s.accepted++
	s.perHost[hostOf(from.Addr())]++
	return c
}

// inUse returns how many bytes of memory are in use.
func inUse() int64 {
	var m runtime.MemStats
	for range 3 { // what is in a pool goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A fault in handling one connection ends that, wherever it comes to light; all others go on.
func TestPanicEndsOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim()
		defer s.close()
		var logged bytes.Buffer
		a := s.node(addrA, newLink(fast), Config{})
		b := s.node(addrB, newLink(fast), Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		var id atomic.Int32 // of the packets that cannot be sent
		id.Store(-1)
		b.watch(func(p []byte, _ netip.AddrPort) bool {
			if n := int32(binary.BigEndian.Uint16(p[2:])); id.CompareAndSwap(n, -1) {
				panic("a fault")
			}
			return true
		})
		other, others := connect(t, a, b)
		occasions := map[string]func(x net.Conn, y *Conn){
			"a packet": func(x net.Conn, y *Conn) {
				y.mu.Lock()
				y.rx.count = 1 // it has none
				y.mu.Unlock()
				_, _ = x.Write([]byte{1})
			},
			"a batch of packets": func(x net.Conn, y *Conn) {
				id.Store(int32(y.sendID))
				_, _ = x.Write([]byte{1})
			},
			"a timer": func(_ net.Conn, y *Conn) { id.Store(int32(y.sendID)) },
		}
		for name, occasion := range occasions {
			x, y := connect(t, a, b)
			occasion(x, y.(*Conn))
			deadline := time.Now().Add(2 * keepAlive)
			x.SetReadDeadline(deadline)
			y.SetReadDeadline(deadline)
			if _, err := io.ReadAll(y); !errors.Is(err, errPanic) {
				t.Errorf("%s: the connection ends with %v", name, err)
			}
			if _, err := io.ReadAll(x); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: its peer is told %v", name, err)
			}
			exchange(t, other, others)
			exchange(t, others, other)
		}
		if n := strings.Count(logged.String(), "panic="); n != len(occasions) {
			t.Errorf("the log tells of %d panics, want %d:\n%s", n, len(occasions), &logged)
		}
	})
}

// Late packets of a connection that is gone do not open another one. A few may do so by chance.
func TestLateDataOpenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, b, x, y := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		var late [][]byte
		a.watch(func(p []byte, _ netip.AddrPort) bool {
			if p[0]>>4 == typeData {
				late = append(late, bytes.Clone(p))
			}
			return true
		})
		buf := make([]byte, 100)
		for range earlyPackets + 50 { // both sides send as many packets
			for _, way := range [2][2]net.Conn{{x, y}, {y, x}} {
				if _, err := way[0].Write(buf); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(way[1], buf); err != nil {
					t.Fatal(err)
				}
			}
		}
		y.(*Conn).abort(net.ErrClosed)
		b.watch(func([]byte, netip.AddrPort) bool { return false })
		synctest.Wait()
		opened := 0
		for _, p := range late[earlyPackets:] {
			b.inject(p, a.addr)
			if b.count() == 0 {
				continue
			}
			opened++
			c, err := b.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.(*Conn).abort(net.ErrClosed)
		}
		if opened > 3 {
			t.Errorf("%d late packets have opened %d connections", len(late)-earlyPackets, opened)
		}
	})
}

// Who does not see our packets cannot end a connection, nor put anything into it.
func TestSpoofedPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, b, x, y := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		c := y.(*Conn)
		synctest.Wait()
		before := c.tx.una
		for i := range 2000 {
			far := uint16(1000 + 20*i)
			for _, h := range []header{
				{typ: typeReset, id: c.key.id, ack: c.tx.nxt + far},
				{typ: typeReset, id: c.sendID, ack: c.tx.nxt + far},
				{typ: typeReset, id: c.key.id + far, ack: c.tx.nxt},
				{typ: typeState, id: c.key.id, ack: c.tx.nxt + uint16(i), seq: c.rx.ack},
				{typ: typeData, id: c.key.id, ack: c.tx.nxt + uint16(i), seq: c.rx.ack + 1, window: 1 << 20},
				{typ: typeSyn, id: c.key.id, seq: far},
				{typ: typeSyn, id: c.sendID, seq: far},
				{typ: typeFin, id: c.key.id, seq: c.rx.ack + maxReorder + 1 + uint16(i), ack: c.tx.una - 1},
			} {
				b.inject(h.packet('!'), a.addr)
			}
		}
		if c.tx.una != before {
			t.Errorf("packets that were never sent count as acknowledged")
		}
		exchange(t, x, y)
		exchange(t, y, x)
		// The real thing works.
		b.inject(header{typ: typeReset, id: c.key.id, ack: c.tx.nxt - 1}.packet(), a.addr)
		if _, err := y.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after a reset: %v", err)
		}
	})
}

// A peer whose window stays closed holds a bounded amount of memory, and writes to it heed their deadline;
// when it opens all goes on.
func TestClosedWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _, x, y := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		data := randomBytes(16 << 20)
		x.SetWriteDeadline(time.Now().Add(5 * time.Minute))
		n, err := x.Write(data)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a peer that reads nothing took %d bytes: %v", n, err)
		}
		cx, cy := x.(*Conn), y.(*Conn)
		cx.mu.Lock()
		cy.mu.Lock()
		if got := cy.rx.buf.len() + cy.rx.bytes; got > firstReceive {
			t.Errorf("%d bytes wait for the reader, want at most %d", got, firstReceive)
		}
		if got := cx.tx.buf.len(); got > mostSend {
			t.Errorf("%d bytes wait to be sent, want at most %d", got, mostSend)
		}
		cx.mu.Unlock()
		cy.mu.Unlock()
		x.SetWriteDeadline(time.Time{})
		go func() { _, _ = x.Write(data[n:]) }()
		began := time.Now()
		got := make([]byte, len(data))
		if _, err := io.ReadFull(y, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("what arrived is not what was sent: %v", err)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("it took %v to go on", d)
		}
	})
}

// A peer that sends more than there is room for, and loses the packet in front of all that, gets it
// through when it comes again.
func TestMissingPacketFindsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim()
		defer s.close()
		b := s.node(addrB, newLink(fast), Config{})
		b.watch(func([]byte, netip.AddrPort) bool { return false })
		c := accepted(b.Socket, netip.MustParseAddrPort(addrA))
		data := randomBytes(firstReceive + 1024)
		packet := func(nth uint16) {
			h := header{typ: typeData, id: c.key.id, seq: 101 + nth, ack: 199}
			b.inject(h.packet(data[int(nth)*1024:][:1024]...), c.addr)
		}
		for nth := range uint16(firstReceive / 1024) {
			packet(nth + 1)
		}
		packet(0)
		got := make([]byte, len(data))
		c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes of %d arrived: %v", n, len(data), err)
		}
	})
}

// A peer that asks for packets again and again, or overlaps what it sends, gets a bounded answer.
func TestAnswersAreNoLongerThanQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim()
		defer s.close()
		b := s.node(addrB, newLink(fast), Config{})
		sent := 0
		b.watch(func(p []byte, _ netip.AddrPort) bool { sent += len(p); return false })
		from := netip.MustParseAddrPort("203.0.113.1:1")
		large := appendLarge(header{typ: typeSyn}.packet(), extEnd, 9000)
		large[1] = extLarge
		for _, p := range [][]byte{
			large,
			header{typ: typeSyn, id: 1}.packet(),
			header{typ: typeData, id: 2}.packet('x'),
			header{typ: typeState, id: 2}.packet(),
			header{typ: typeFin, id: 2}.packet(),
			header{typ: typeReset, id: 2}.packet(),
		} {
			sent = 0
			b.inject(p, from)
			if sent > len(p) {
				t.Errorf("% x is answered with %d bytes", p, sent)
			}
		}
		sent = 0
		for range 10 * resetsPerSecond {
			b.inject(header{typ: typeData, id: 2}.packet('x'), from)
		}
		if most := resetsPerSecond * headerSize; sent > most {
			t.Errorf("%d bytes of resets in a second, want at most %d", sent, most)
		}
	})
}

// The numbers of packets wrap around.
func TestNumbersWrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim()
		defer s.close()
		path := conditions{delay: time.Millisecond, loss: 0.02}
		a, b := s.node(addrA, newLink(path), Config{}), s.node(addrB, newLink(path), Config{})
		for i, first := range []uint16{0xffff, 0, 1, 0xff00, 0x7ff0, 0x8000} {
			x, y := newConn(a.Socket, b.addr, uint16(i), uint16(i+1000)), newConn(b.Socket, a.addr, uint16(i+1000), uint16(i))
			x.accepted(first, ^first, a.now())
			y.accepted(^first-1, first+1, b.now())
			x.tx.window, y.tx.window = firstReceive, firstReceive
			a.Socket.mu.Lock()
			a.conns[x.key] = x
			a.Socket.mu.Unlock()
			b.Socket.mu.Lock()
			b.conns[y.key] = y
			b.Socket.mu.Unlock()
			for range 10 {
				exchange(t, x, y)
				exchange(t, y, x)
			}
		}
	})
}
