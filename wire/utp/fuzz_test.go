package utp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	sack := header{typ: typeState, id: 7}.packet(0, 4, 1, 2, 3, 4)
	sack[1] = extSack
	f.Add(sack)
	f.Add(header{typ: typeSyn, id: 7, seq: 1}.packet())
	f.Fuzz(func(t *testing.T, b []byte) {
		var p packet
		if !p.parse(b) {
			return
		}
		// What was parsed can be written, and is the same.
		again := p.header.packet(p.payload...)
		var q packet
		if !q.parse(again) || q.header != p.header || !bytes.Equal(q.payload, p.payload) {
			t.Errorf("% x became % x", b, again)
		}
	})
}

// FuzzDeliver gives packets to an established connection, which has sent a little and got a little: a
// sequence of (length, packet). Numbers in them are relative to its own, or chance would never meet them.
func FuzzDeliver(f *testing.F) {
	f.Add([]byte{25, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 'h', 'e', 'l', 'l', 'o'})
	f.Add([]byte{26, 0x21, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4})
	f.Add([]byte{20, 0x31, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	// A FIN, and then the packet of data before it.
	f.Add([]byte{
		20, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0,
		21, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 'x',
	})
	f.Fuzz(func(t *testing.T, script []byte) {
		out := discard{}
		s := New(out, Config{})
		defer s.Close()
		peer := netip.MustParseAddrPort("203.0.113.1:1")
		c := accepted(s, peer)
		c.tx.window = 1 << 20
		if _, err := c.Write(make([]byte, 20<<10)); err != nil {
			t.Fatal(err)
		}
		be := binary.BigEndian
		for len(script) > 0 {
			n := min(int(script[0]), len(script)-1)
			p := append([]byte(nil), script[1:1+n]...)
			script = script[1+n:]
			if len(p) >= headerSize {
				be.PutUint16(p[2:], be.Uint16(p[2:])%2+5)
				be.PutUint16(p[16:], be.Uint16(p[16:])+c.rx.ack)
				be.PutUint16(p[18:], be.Uint16(p[18:])+c.tx.una-1)
			}
			s.Deliver(p, peer, time.Time{})
			s.Flush()
			c.mu.Lock()
			if c.state != over {
				check(t, c)
			} else if errors.Is(c.err, errPanic) {
				t.Fatal("a packet brought about a panic")
			}
			c.mu.Unlock()
		}
		c.SetReadDeadline(time.Now())
		_, _ = c.Read(make([]byte, 10))
		c.Close()
	})
}

// check holds the books of a connection against what it has.
func check(t *testing.T, c *Conn) {
	t.Helper()
	inflight, arrived, lost, size := 0, 0, 0, 0
	for seq := c.tx.una; seq != c.tx.nxt; seq++ {
		p := c.tx.at(seq)
		size += int(p.size)
		switch {
		case p.done:
			arrived += int(p.size)
		case p.lost:
			lost++
		default:
			inflight += p.wire()
		}
	}
	if inflight != c.tx.inflight || arrived != c.tx.arrived || lost != c.tx.lost || size != int(c.tx.nxtOff-c.tx.unaOff) {
		t.Errorf("in flight %d, arrived %d, lost %d, in all %d; the books say %d, %d, %d, %d", inflight, arrived, lost, size,
			c.tx.inflight, c.tx.arrived, c.tx.lost, c.tx.nxtOff-c.tx.unaOff)
	}
	count, bytes, held := 0, 0, 0
	for i := range c.rx.early {
		if c.rx.early[i].buf != nil {
			count++
			bytes += c.rx.early[i].n
			held += len(*c.rx.early[i].buf)
		}
	}
	if count != c.rx.count || bytes != c.rx.bytes || held != c.rx.held || held > 2*c.rx.limit || bytes > c.rx.limit || c.rx.buf.len()+bytes > 2*c.rx.limit {
		t.Errorf("%d early packets of %d bytes in %d; the books say %d, %d in %d, of %d", count, bytes, held,
			c.rx.count, c.rx.bytes, c.rx.held, c.rx.limit)
	}
}

type discard struct{}

func (discard) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }
func (discard) LocalAddr() net.Addr                                        { return &net.UDPAddr{} }
