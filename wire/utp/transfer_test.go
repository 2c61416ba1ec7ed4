package utp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

const (
	addrA = "192.0.2.1:1000"
	addrB = "198.51.100.2:2000"
)

// pair connects two nodes by the links.
func pair(t *testing.T, ab, ba *link) (s *sim, a, b *node, dialled, accepted net.Conn) {
	t.Helper()
	s = newSim()
	a, b = s.node(addrA, ab, Config{}), s.node(addrB, ba, Config{})
	dialled, accepted = connect(t, a, b)
	return s, a, b, dialled, accepted
}

// connect opens a connection; one byte is sent, as only that makes it known to its acceptor.
func connect(t *testing.T, a, b *node) (dialled, accepted net.Conn) {
	t.Helper()
	dialled, err := a.DialContext(context.Background(), b.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dialled.Write([]byte{42}); err != nil {
		t.Fatal(err)
	}
	accepted, err = b.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(accepted, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return dialled, accepted
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// An acknowledgement that has waited in the system, on a busy machine, is no reason to send anything again.
func TestTimeoutsCountFromNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(discard{}, Config{})
		defer s.Close()
		c := accepted(s, netip.MustParseAddrPort(addrA))
		c.tx.window = 1 << 20
		if _, err := c.Write(make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
		received := time.Now().Add(100 * time.Millisecond)
		time.Sleep(900 * time.Millisecond)
		ack := header{typ: typeState, id: c.key.id, seq: 101, ack: 200, window: 1 << 20}
		s.Deliver(ack.packet(), c.addr, received)
		now := s.now()
		if c.tx.srtt != 100*time.Millisecond || c.tx.rtoAt != now+minTimeout || c.tx.tailAt != now+2*c.tx.srtt {
			t.Errorf("after a round trip of %v the timeouts are in %v and %v", c.tx.srtt, c.tx.tailAt-now, c.tx.rtoAt-now)
		}
	})
}

// The first round trip of a connection that a peer opened is not known before a packet was acknowledged: one
// that went twice does not tell of reordering.
func TestRepeatedFirstPacketIsNoReordering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(discard{}, Config{})
		defer s.Close()
		c := accepted(s, netip.MustParseAddrPort(addrA))
		c.tx.window = 1 << 20
		if _, err := c.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(firstTimeout * 3 / 2)
		ack := header{typ: typeState, id: c.key.id, seq: 101, ack: 200, window: 1 << 20}
		s.Deliver(ack.packet(), c.addr, time.Time{})
		if c.tx.una != c.tx.nxt || c.tx.recovery.steps != 0 {
			t.Errorf("the window for reordering was widened %d times", c.tx.recovery.steps)
		}
	})
}

// Both sides send at a time, and all arrives in order.
func TestAllArrives(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]conditions{
		"clean":        {delay: 10 * time.Millisecond},
		"loss":         {delay: 10 * time.Millisecond, loss: 0.05},
		"duplicates":   {delay: 10 * time.Millisecond, dup: 0.2},
		"reordered":    {delay: 10 * time.Millisecond, reorder: 0.2},
		"all of it":    {delay: 10 * time.Millisecond, loss: 0.05, dup: 0.05, reorder: 0.05, rate: 2e6, queue: 20 * time.Millisecond},
		"at once":      {},
		"narrow queue": {delay: 5 * time.Millisecond, rate: 1e6, queue: 4 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _, _, a, b := pair(t, newLink(l), newLink(l))
				defer s.close()
				data := randomBytes(4 << 20 / slower)
				began := time.Now()
				done := make(chan error, 2)
				for _, c := range []net.Conn{a, b} {
					go func() {
						_, err := c.Write(data)
						done <- err
					}()
				}
				for _, c := range []net.Conn{a, b} {
					got := make([]byte, len(data))
					if _, err := io.ReadFull(c, got); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, data) {
						t.Fatal("what arrived is not what was sent")
					}
				}
				for range 2 {
					if err := <-done; err != nil {
						t.Fatal(err)
					}
				}
				t.Logf("%v", time.Since(began))
				a.Close()
				if n, err := b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("after Close: %d, %v; want io.EOF", n, err)
				}
				b.Close()
			})
		})
	}
}
