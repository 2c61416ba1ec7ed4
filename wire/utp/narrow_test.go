package utp

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func (c *Conn) packetSize() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mtu.size
}

const addr6A, addr6B = "[2001:db8::1]:1000", "[2001:db8::2]:2000"

// A path that takes smaller packets than it did, of which nobody says anything, delays a transfer and
// does not end it: what is under way goes in fragments, and new packets are small.
func TestPathBecomesNarrow(t *testing.T) {
	for name, tt := range map[string]struct {
		from, to      string
		before, after int // the path's, UDP payload
		want          int // packets
	}{
		"tunnel, IPv4":          {addrA, addrB, 0, 1372, firstPacket},
		"tunnel, IPv6":          {addr6A, addr6B, 0, 1352, firstPacket},
		"least of IPv6":         {addr6A, addr6B, 0, firstPacket, firstPacket},
		"less than IPv6's":      {addrA, addrB, 0, 1000, leastPacket},
		"from the first size":   {addrA, addrB, firstPacket, 1000, leastPacket},
		"from jumbo, IPv4":      {"10.0.0.1:1", "10.0.0.2:1", jumbo, ethernet4, firstPacket},
		"from jumbo, IPv6":      {"[fd00::1]:1", "[fd00::2]:1", jumbo, ethernet6, firstPacket},
		"jumbo, IPv6 all small": {"[fd00::1]:1", "[fd00::2]:1", jumbo, firstPacket, firstPacket},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := conditions{delay: 20 * time.Millisecond, rate: 2e6, queue: 100 * time.Millisecond, mtu: tt.before}
				there := newLink(path)
				s := newSim()
				defer s.close()
				a, b := s.node(tt.from, there, Config{}), s.node(tt.to, newLink(path), Config{})
				x, y := connect(t, a, b)
				data := randomBytes(4 << 20)
				go func() {
					_, _ = x.Write(data)
					x.Close()
				}()
				got := make([]byte, len(data))
				if _, err := io.ReadFull(y, got[:len(got)/2]); err != nil {
					t.Fatal(err)
				}
				was := x.(*Conn).packetSize()
				there.narrow(tt.after)
				pause := readWithPauses(t, y, got[len(got)/2:])
				if !bytes.Equal(got, data) {
					t.Error("what arrived is not what was sent")
				}
				size := x.(*Conn).packetSize()
				t.Logf("packets of %d, then %d bytes; a pause of %v", was, size, pause)
				if was <= tt.after || size != tt.want {
					t.Errorf("packets of %d bytes became %d, want %d", was, size, tt.want)
				}
				if pause > 10*time.Second {
					t.Errorf("a pause of %v", pause)
				}
			})
		})
	}
}

// readWithPauses fills b, and returns the longest time in which nothing came.
func readWithPauses(t *testing.T, y net.Conn, b []byte) (longest time.Duration) {
	t.Helper()
	last := time.Now()
	for n := 0; n < len(b); {
		y.SetReadDeadline(last.Add(5 * time.Minute))
		m, err := y.Read(b[n:])
		if err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		n += m
		longest = max(longest, time.Since(last))
		last = time.Now()
	}
	return longest
}

// Small packets that come through as ever do not hide that large ones are lost: no timeout follows
// upon another then.
func TestSmallPacketsHideNoBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := newLink(fast)
		s, _, _, x, y := pair(t, there, newLink(fast))
		defer s.close()
		exchange(t, x, y)
		there.narrow(1372)
		data := randomBytes(64 << 10)
		written := make(chan struct{})
		defer func() { <-written }()
		go func() {
			defer close(written)
			for rest := data; len(rest) > 0; {
				size := min(100, len(rest))
				if len(rest)%5000 < 100 {
					size = min(5000, len(rest))
				}
				if _, err := x.Write(rest[:size]); err != nil {
					return
				}
				rest = rest[size:]
				time.Sleep(20 * time.Millisecond)
			}
		}()
		got := make([]byte, len(data))
		pause := readWithPauses(t, y, got)
		if t.Logf("a pause of %v", pause); pause > 5*time.Second {
			t.Error("it is too long")
		}
		if !bytes.Equal(got, data) {
			t.Error("what arrived is not what was sent")
		}
	})
}

// Losses alone make no packets smaller, and neither does a short time in which nothing comes through; after a long
// one they become large again.
func TestLossIsNoBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := conditions{delay: 20 * time.Millisecond, rate: 2e5, queue: 50 * time.Millisecond, loss: 0.1}
		there := newLink(path)
		s, _, _, x, y := pair(t, there, newLink(path))
		defer s.close()
		f := &flow{a: x, b: y}
		f.run()
		c := x.(*Conn)
		time.Sleep(time.Minute) // three probes of a size may be lost in a row: ethernet6 is tried next
		if n := c.packetSize(); n < ethernet6 {
			t.Fatalf("packets of %d bytes at a tenth of loss", n)
		}
		there.narrow(1)
		time.Sleep(time.Second / 2)
		there.narrow(0)
		time.Sleep(10 * time.Second)
		if n := c.packetSize(); n < ethernet6 {
			t.Errorf("packets of %d bytes after half a second without a path", n)
		}
		there.narrow(1)
		time.Sleep(15 * time.Second)
		there.narrow(0)
		time.Sleep(2 * holeAgain)
		if n := c.packetSize(); n < ethernet6 {
			t.Errorf("packets of %d bytes two minutes after a path came back", n)
		}
	})
}
