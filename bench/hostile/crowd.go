package hostile

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
)

// reconnectAfter is how long a member of a crowd waits before it connects again, on
// average.
const reconnectAfter = 300 * time.Millisecond

// CrowdReport is what happened to a crowd so far.
type CrowdReport struct {
	Dials    int64 // connections that were made, or came in
	Greeted  int64 // of those, with handshakes both ways
	Open     int64 // of those, still connected
	Received int64 // bytes that they got, after the handshake
	Sent     int64 // bytes that they sent, after the handshake
}

// Crowd is many peers that do harm to one program, from several addresses.
type Crowd struct {
	torrent   *fixture.Torrent
	stop      context.CancelFunc
	wg        sync.WaitGroup
	listeners []net.Listener

	dials, greeted, open, received, sent atomic.Int64
}

// Loopback returns the n-th address of the loopback network, 127.0.1.1 being the
// first: all of 127.0.0.0/8 is one's own on Linux.
func Loopback(n int) string { return fmt.Sprintf("127.0.%d.%d", 1+n/250, 1+n%250) }

// Storm has n peers connect to a program at target, again and again as they lose their
// connections: of the kinds in turn, each from one of so many addresses (Loopback).
func Storm(t *fixture.Torrent, target string, n, addresses int, kinds ...Kind) *Crowd {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Crowd{torrent: t, stop: cancel}
	for i := range n {
		from := Loopback(i % addresses)
		c.wg.Go(func() { c.member(ctx, kinds[i%len(kinds)], from, target) })
	}
	return c
}

// Wait has a crowd of peers listen, each at an address (Loopback) of its own, and do
// harm to who connects. It returns their addresses, HOST:PORT.
func Wait(t *fixture.Torrent, n int, kinds ...Kind) (*Crowd, []string, error) {
	hosts, list := make([]string, n), make([]Kind, n)
	for i := range n {
		hosts[i], list[i] = Loopback(i), kinds[i%len(kinds)]
	}
	return wait(t, hosts, list)
}

// WaitAt is Wait for one peer at an address.
func WaitAt(host string, t *fixture.Torrent, kind Kind) (*Crowd, []string, error) {
	return wait(t, []string{host}, []Kind{kind})
}

func wait(t *fixture.Torrent, hosts []string, kinds []Kind) (*Crowd, []string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Crowd{torrent: t, stop: cancel}
	var addrs []string
	for i, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			c.Close()
			return nil, nil, fmt.Errorf("start a crowd: %w", err)
		}
		c.listeners = append(c.listeners, l)
		addrs = append(addrs, l.Addr().String())
		c.wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return // closed
				}
				c.wg.Go(func() { c.meet(ctx, kinds[i], conn, false) })
			}
		})
	}
	return c, addrs, nil
}

// Report returns what happened so far.
func (c *Crowd) Report() CrowdReport {
	return CrowdReport{c.dials.Load(), c.greeted.Load(), c.open.Load(), c.received.Load(), c.sent.Load()}
}

// Close cuts all connections and waits for them to be gone.
func (c *Crowd) Close() {
	c.stop()
	for _, l := range c.listeners {
		l.Close()
	}
	c.wg.Wait()
}

func (c *Crowd) member(ctx context.Context, kind Kind, from, target string) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	for ctx.Err() == nil {
		if conn, err := dialer.DialContext(ctx, "tcp", target); err == nil {
			c.meet(ctx, kind, conn, true)
		}
		select {
		case <-time.After(reconnectAfter/2 + mathrand.N(reconnectAfter)):
		case <-ctx.Done():
		}
	}
}

// meet does harm over one connection until it ends.
func (c *Crowd) meet(ctx context.Context, kind Kind, conn net.Conn, outgoing bool) {
	defer conn.Close()
	c.dials.Add(1)
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	h := &harm{Conn: conn, ctx: ctx, crowd: c, torrent: c.torrent}
	if kind.mute {
		_, _ = io.Copy(io.Discard, conn)
		return
	}
	if err := h.handshake(outgoing); err != nil {
		return
	}
	c.greeted.Add(1)
	c.open.Add(1)
	defer c.open.Add(-1)
	var reading sync.WaitGroup
	if !kind.deaf {
		reading.Go(h.read)
	}
	_ = kind.act(h) // the end of the connection, mostly
	conn.Close()
	reading.Wait()
}

// harm is a connection over which harm is done.
type harm struct {
	net.Conn
	ctx     context.Context
	crowd   *Crowd
	torrent *fixture.Torrent
}

func (h *harm) handshake(outgoing bool) error {
	h.SetDeadline(time.Now().Add(20 * time.Second))
	ours := []byte(protocol)
	ours = append(ours, 0, 0, 0, 0, 0, 0x10, 0, 0x04) // BEP 10, BEP 6
	ours = append(ours, h.torrent.InfoHash[:]...)
	ours = append(ours, "-XX0000-"...)
	ours = append(ours, rand.Text()[:12]...)
	theirs := make([]byte, len(ours))
	if outgoing {
		if _, err := h.Conn.Write(ours); err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(h.Conn, theirs); err != nil {
		return err
	}
	if string(theirs[:len(protocol)]) != protocol {
		return errors.New("not a plaintext handshake")
	}
	if !outgoing {
		if _, err := h.Conn.Write(ours); err != nil {
			return err
		}
	}
	return h.SetDeadline(time.Time{})
}

// read takes all that comes, and drops it.
func (h *harm) read() {
	b := make([]byte, 16<<10)
	for {
		n, err := h.Conn.Read(b)
		h.crowd.received.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// Write implements io.Writer.
func (h *harm) Write(b []byte) (int, error) {
	n, err := h.Conn.Write(b)
	h.crowd.sent.Add(int64(n))
	return n, err
}

// stay waits until the connection is to end.
func (h *harm) stay() error {
	<-h.ctx.Done()
	return h.ctx.Err()
}

// pause waits.
func (h *harm) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-h.ctx.Done():
		return h.ctx.Err()
	}
}

// flood sends the same again and again.
func (h *harm) flood(message []byte) error {
	b := message
	for len(b) < 16<<10 {
		b = append(b[:len(b):len(b)], message...)
	}
	for {
		if _, err := h.Write(b); err != nil {
			return err
		}
	}
}

// message is one of the wire protocol.
func message(id byte, payload ...byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(1+len(payload))), id), payload...)
}
