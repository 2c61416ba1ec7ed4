package utp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// What was written before Close arrives, though both sides close.
func TestCloseSendsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, b, x, y := pair(t, newLink(conditions{delay: 20 * time.Millisecond, rate: 1e6, queue: 50 * time.Millisecond, loss: 0.02}), newLink(fast))
		defer s.close()
		data := randomBytes(120 << 10)
		if _, err := x.Write(data); err != nil {
			t.Fatal(err)
		}
		x.Close()
		if _, err := x.Write(data); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close: %v", err)
		}
		if _, err := x.Read(data); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
		got, err := io.ReadAll(y)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes of %d arrived: %v", len(got), len(data), err)
		}
		y.Close()
		time.Sleep(time.Minute)
		if n := a.count() + b.count(); n != 0 {
			t.Errorf("%d connections remain after Close", n)
		}
	})
}

// The last packet of data may be lost, so that the end of all comes before it.
func TestEndArrivesBeforeTheLastData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, b, x, y := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		data := randomBytes(10_000)
		var lost atomic.Bool
		a.watch(func(p []byte, _ netip.AddrPort) bool {
			last := p[0]>>4 == typeData && bytes.HasSuffix(p, data[len(data)-10:])
			return !last || lost.Swap(true)
		})
		if _, err := x.Write(data); err != nil {
			t.Fatal(err)
		}
		x.Close()
		y.SetReadDeadline(time.Now().Add(10 * time.Second))
		if got, err := io.ReadAll(y); err != nil || !bytes.Equal(got, data) || !lost.Load() {
			t.Errorf("%d bytes of %d arrived: %v", len(got), len(data), err)
		}
		if err := y.(*Conn).failed(); err != nil {
			t.Errorf("the connection is over: %v", err)
		}
		y.Close()
		time.Sleep(time.Minute)
		if n := a.count() + b.count(); n != 0 {
			t.Errorf("%d connections remain after Close", n)
		}
	})
}

// A peer that has gone away is noticed in known time: when something is to reach it, or when it is dialled.
func TestDeadPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, b, x, _ := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		b.watch(func([]byte, netip.AddrPort) bool { return false })
		began := time.Now()
		if _, err := x.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("Read from a peer that has gone: %v", err)
		}
		if d := time.Since(began); d > deadAfter+time.Second {
			t.Errorf("it took %v to notice", d)
		}
		began = time.Now()
		if _, err := a.DialContext(context.Background(), b.addr); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("dialling a peer that does not answer: %v", err)
		}
		if d := time.Since(began); d != 15*time.Second {
			t.Errorf("it took %v to give up", d)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		began = time.Now()
		if _, err := a.DialContext(ctx, b.addr); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("a dial of 3 s: %v after %v", err, time.Since(began))
		}
		if n := a.count(); n != 0 {
			t.Errorf("%d connections remain", n)
		}
	})
}

// Packets and replies that are lost while a connection opens come again.
func TestOpensDespiteLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for lost := range 8 {
			s := newSim()
			a, b := s.node(addrA, newLink(fast), Config{}), s.node(addrB, newLink(fast), Config{})
			var n atomic.Int64
			lose := func([]byte, netip.AddrPort) bool { i := n.Add(1); return i > 4 || lost>>(i-1)&1 == 0 }
			a.watch(lose)
			b.watch(lose)
			x, y := connect(t, a, b)
			exchange(t, x, y)
			exchange(t, y, x)
			s.close()
		}
	})
}

// Packets of data that arrive before the first one open the connection as well.
func TestFirstPacketLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim()
		defer s.close()
		a, b := s.node(addrA, newLink(fast), Config{}), s.node(addrB, newLink(fast), Config{})
		var n atomic.Int64
		a.watch(func([]byte, netip.AddrPort) bool { return n.Add(1) != 2 })
		x, err := a.DialContext(context.Background(), b.addr)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go func() { _, _ = x.Write(make([]byte, 10000)) }()
		y, err := b.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(y, make([]byte, 10000)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("one lost packet cost %v", d)
		}
	})
}

// A path that lets only small packets through any more, of which nobody says anything, ends the connection,
// though what the peer sends arrives.
func TestNarrowPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, _, x, _ := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		a.watch(func(p []byte, _ netip.AddrPort) bool { return len(p) <= 500 })
		began := time.Now()
		if _, err := x.Write(make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		x.SetReadDeadline(began.Add(5 * time.Minute))
		if _, err := x.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("Read when no data come through any more: %v", err)
		}
		if d := time.Since(began); d > deadAfter+time.Second {
			t.Errorf("it took %v to notice", d)
		}
	})
}

// The zone of a peer's address has a name where we are told of it, and a number where its packets come
// from; packets go to where the peer was said to be.
func TestLinkLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim()
		defer s.close()
		named, numbered := netip.MustParseAddrPort("[fe80::2%eth0]:2000"), netip.MustParseAddrPort("[fe80::2%2]:2000")
		a := s.node("[fe80::1]:1000", newLink(fast), Config{})
		var sent []byte
		a.watch(func(p []byte, to netip.AddrPort) bool {
			if to != named {
				t.Errorf("a packet went to %v", to)
			}
			sent = append(sent[:0], p...)
			return false
		})
		go func() {
			synctest.Wait()
			var syn packet
			if !syn.parse(sent) {
				t.Error("no SYN was sent")
			}
			a.inject(header{typ: typeState, id: syn.id, seq: 500, ack: syn.seq, window: 1 << 20}.packet(), numbered)
		}()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		x, err := a.DialContext(ctx, named)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Write([]byte{1}); err != nil || len(sent) == 0 || sent[0]>>4 != typeData {
			t.Errorf("% x was sent: %v", sent, err)
		}
		a.inject(header{typ: typeReset, id: x.(*Conn).sendID, ack: x.(*Conn).tx.una}.packet(), numbered)
		if _, err := x.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after a reset: %v", err)
		}
	})
}

// fragments is a socket whose system sends packets in fragments, and says so when it has.
type fragments struct {
	discard
	batches, single int
}

func (f *fragments) WriteSegments(b []byte, _ int, _ netip.AddrPort) (int, error) {
	f.batches++
	return len(b), syscall.EMSGSIZE
}

func (f *fragments) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	f.single++
	return len(b), nil
}

// A path that is narrower than it was makes packets smaller; those that have gone do not go again.
func TestFragmentsMakePacketsSmaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out fragments
		s := New(&out, Config{})
		defer s.Close()
		c := accepted(s, netip.MustParseAddrPort(addrA))
		c.tx.window = 1 << 20
		c.mtu.size, c.mtu.low, c.mtu.top, c.mtu.most = 1400, 1400, 1400, 1400
		if _, err := c.Write(make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		if out.batches != 1 || out.single != 0 || c.mtu.size != firstPacket {
			t.Errorf("after %d batches and %d packets they have %d bytes", out.batches, out.single, c.mtu.size)
		}
	})
}

func TestNobodyThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, b, x, y := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		// b starts anew, and knows nothing of the connection.
		b.Socket.Close()
		if _, err := y.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read of a closed socket: %v", err)
		}
		if _, err := x.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read from a closed socket: %v", err)
		}
		if _, err := b.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
		if _, err := b.DialContext(context.Background(), a.addr); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dialling after Close: %v", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _, x, y := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		buf := make([]byte, 1)
		began := time.Now()
		y.SetReadDeadline(began.Add(2 * time.Second))
		if _, err := y.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Errorf("a read of 2 s: %v after %v", err, time.Since(began))
		}
		y.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			y.SetReadDeadline(time.Now())
		}()
		if _, err := y.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline that is set during a read: %v", err)
		}
		y.SetDeadline(time.Now().Add(time.Hour))
		go func() { _, _ = x.Write(buf) }()
		if _, err := y.Read(buf); err != nil {
			t.Errorf("a read before its deadline: %v", err)
		}
		if x.LocalAddr().String() != addrA || x.RemoteAddr().String() != addrB {
			t.Errorf("addresses %v, %v", x.LocalAddr(), x.RemoteAddr())
		}
	})
}

// An idle connection stays, and sends something before a NAT forgets it.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, _, x, y := pair(t, newLink(fast), newLink(fast))
		defer s.close()
		var sent atomic.Int64
		a.watch(func([]byte, netip.AddrPort) bool { sent.Add(1); return true })
		time.Sleep(time.Hour)
		if n := sent.Load(); n < 110 || n > 130 {
			t.Errorf("an idle connection sent %d packets in an hour, want one in 30 s", n)
		}
		exchange(t, x, y)
	})
}

// The size of packets goes up to what the path takes, and what was lost to find that out costs nothing.
func TestPathMTU(t *testing.T) {
	for name, tt := range map[string]struct {
		mtu, least, most int
		addrs            [2]string
	}{
		"1500":          {0, ethernet4, ethernet4, [2]string{addrA, addrB}},
		"tunnel":        {1400, 1400 - probeGap, 1400, [2]string{addrA, addrB}},
		"least of IPv6": {firstPacket, firstPacket, firstPacket, [2]string{"[2001:db8::1]:1", "[2001:db8::2]:1"}},
		"local":         {1472, 1472, 1472, [2]string{"10.0.0.1:1", "10.0.0.2:1"}},
		"local, jumbo":  {jumbo, jumbo, jumbo, [2]string{"10.0.0.1:1", "10.0.0.2:1"}},
		"machine":       {0, loopback, loopback, [2]string{"127.0.0.1:1", "127.0.0.1:2"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim()
				defer s.close()
				path := conditions{delay: 10 * time.Millisecond, mtu: tt.mtu}
				a, b := s.node(tt.addrs[0], newLink(path), Config{}), s.node(tt.addrs[1], newLink(path), Config{})
				x, y := connect(t, a, b)
				for range 20 {
					exchange(t, x, y)
				}
				c := x.(*Conn)
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.mtu.size < tt.least || c.mtu.size > tt.most {
					t.Errorf("packets of %d bytes, want %d to %d", c.mtu.size, tt.least, tt.most)
				}
				if c.cc.lossRate > 0 {
					t.Errorf("probes of the path counted as congestion: %v", c.cc.lossRate)
				}
			})
		})
	}
}

// A socket that dials its own address meets itself: that it is itself is for who uses the connection to
// find out.
func TestDialsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim()
		defer s.close()
		a := s.node(addrA, newLink(fast), Config{})
		began := time.Now()
		x, y := connect(t, a, a)
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v", d)
		}
		exchange(t, x, y)
		exchange(t, y, x)
		x.Close()
		if _, err := y.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("Read after Close of the other end: %v", err)
		}
		y.Close()
		time.Sleep(time.Minute)
		if n := a.count(); n != 0 {
			t.Errorf("%d connections remain", n)
		}
		_, y = connect(t, a, a)
		y.(*Conn).abort(net.ErrClosed)
		time.Sleep(time.Second)
		if n := a.count(); n != 0 {
			t.Errorf("%d connections remain after a reset", n)
		}
	})
}
