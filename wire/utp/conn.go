package utp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// state is where a connection is in its life; it only ever grows.
type state uint8

const (
	opening state = iota // a SYN was sent
	open
	closing // Close was called; what was written is still sent, and the FIN after it
	over
)

const (
	// firstTimeout is that of the first SYN (RFC 6298), which doubles; after synTries the
	// address does not answer: 1 + 2 + 4 + 8 s.
	firstTimeout = time.Second
	synTries     = 4
	// deadAfter ends a connection whose peer has acknowledged nothing for so long while it was asked to,
	// whatever else it sends: what is under way may be too large for the path. A peer that has no room
	// need only be heard.
	deadAfter = 30 * time.Second
	// lingerFor bounds the time after Close in which the rest is sent, however slowly.
	lingerFor = 2 * time.Minute
	// keepAlive is after how much silence of ours a packet is sent (libutp's 29 s): NATs forget UDP
	// mappings after 30 s.
	keepAlive = 29 * time.Second
	// silent ends a connection that nothing is heard of at all, though nothing is asked: BitTorrent
	// peers send something every two minutes.
	silent = 10 * time.Minute
)

// Conn is a uTP connection: a net.Conn, of which one goroutine may read while others write.
type Conn struct {
	s        *Socket
	key      key
	addr     netip.AddrPort // the peer's, with its zone
	sendID   uint16
	remote   *net.UDPAddr
	incoming bool
	dirty    bool // of the goroutine that delivers

	wakeAt moment // guarded by timers.mu, as is:
	heapAt int    // the place in the heap, -1: none

	ready chan struct{} // closed when opening ends

	mu       sync.Mutex
	state    state
	err      error // why it is over
	readers  waiters
	writers  waiters
	synSeq   uint16
	synTries int

	tx  sender
	rx  receiver
	cc  control
	mtu mtu

	heard    moment // when the peer was heard last
	asked    moment // since when an acknowledgement is awaited that has not come; never: none is
	lastSent moment
	lingerAt moment // when to give up after Close
	diff     uint32 // of the last packet, for the header
	scratch  [headerSize + 2 + maxSack + 4]byte
}

var _ net.Conn = (*Conn)(nil)

func newConn(s *Socket, addr netip.AddrPort, id, sendID uint16) *Conn {
	now := s.now()
	c := &Conn{
		s: s, key: keyOf(addr, id), addr: addr, sendID: sendID, remote: net.UDPAddrFromAddrPort(addr),
		heapAt: -1, ready: make(chan struct{}),
		heard: now, asked: never, lastSent: now, lingerAt: never,
	}
	c.readers.cond.L, c.writers.cond.L = &c.mu, &c.mu
	c.mtu.init(addr.Addr())
	c.cc.init(c.mtu.size)
	c.rx.limit = firstReceive
	c.tx.init()
	return c
}

// connect sends the first SYN.
func (c *Conn) connect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.synSeq = random16()
	c.sendSyn(c.s.now())
}

func (c *Conn) sendSyn(now moment) {
	if c.synTries++; c.synTries > synTries {
		c.die(syscall.ETIMEDOUT)
		return
	}
	h := header{typ: typeSyn, id: c.key.id, timestamp: stamp(now), window: uint32(c.rx.limit), seq: c.synSeq}
	b := c.scratch[:headerSize]
	if a := c.addr.Addr(); c.s.near(a) {
		h.put(b, extBits)
		b = appendLarge(appendBits(b, extLarge), extEnd, largestPacket(a))
	} else {
		h.put(b, extEnd)
	}
	c.write1(b)
	c.lastSent = now
	c.tx.rtoAt = now + firstTimeout<<(c.synTries-1)
	c.arm(now)
}

// opened handles the answer to the SYN.
func (c *Conn) opened(p *packet, now, at moment) {
	if c.synTries == 1 {
		c.tx.measure(at - c.lastSent)
		c.cc.minRTT = max(at-c.lastSent, time.Microsecond)
	}
	c.begin(c.synSeq+1, p.seq-1)
	c.tx.window = int(min(p.window, maxRing))
	if p.large > 0 && c.s.near(c.addr.Addr()) {
		c.mtu.allow(c.addr.Addr(), p.large)
		c.tx.tellLarge = true
	}
	c.heard = now
	c.diff = stamp(at) - p.timestamp
	c.state = open
	close(c.ready)
	c.arm(now)
}

// accepted makes c, which nobody else knows yet, the connection of a peer whose SYN had the number syn; our
// data begin with the number seq.
func (c *Conn) accepted(syn, seq uint16, now moment) {
	c.begin(seq, syn)
	c.heard = now
	c.state = open
	close(c.ready)
}

func (c *Conn) begin(seq, ack uint16) {
	c.tx.una, c.tx.nxt, c.tx.lostFrom = seq, seq, seq
	c.tx.rtoAt = never
	c.rx.ack = ack
}

// again handles a SYN that came once more for a connection: its answer was lost, or it was late itself.
func (c *Conn) again(p *packet, now moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == open && c.rx.ack == p.seq && c.incoming {
		c.s.sendSynAck(p, c.addr, c.tx.una, now)
	}
}

// Read reads what has come in order. It returns io.EOF after all that the peer sent.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.state >= closing && c.err == nil || errors.Is(c.err, net.ErrClosed):
			return 0, c.opError("read", net.ErrClosed)
		case c.readers.late():
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case c.rx.buf.len() > 0:
			n := c.rx.buf.read(p)
			c.wasRead(n)
			return n, nil
		case c.rx.eof:
			return 0, io.EOF
		case c.err != nil:
			return 0, c.opError("read", c.err)
		}
		c.readers.wait()
	}
}

// Write returns when all of p waits to be sent; not when it has arrived.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.queue(p)
	c.push()
	return n, err
}

// WriteBuffers writes all of v and consumes it, as [net.Buffers.WriteTo] does, without a packet's end at the
// end of each buffer.
func (c *Conn) WriteBuffers(v *net.Buffers) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var written int64
	for len(*v) > 0 {
		n, err := c.queue((*v)[0])
		written += int64(n)
		if err != nil {
			(*v)[0] = (*v)[0][n:]
			c.push()
			return written, err
		}
		(*v)[0] = nil
		*v = (*v)[1:]
	}
	c.push()
	return written, nil
}

// queue puts p behind what is to be sent, waiting for room.
func (c *Conn) queue(p []byte) (n int, err error) {
	for {
		switch {
		case c.state >= closing && c.err == nil:
			return n, c.opError("write", net.ErrClosed)
		case c.err != nil:
			return n, c.opError("write", c.err)
		case c.writers.late():
			return n, c.opError("write", os.ErrDeadlineExceeded)
		}
		room := c.sendRoom()
		if room <= 0 {
			c.push()
			if c.sendRoom() <= 0 {
				c.writers.wait()
			}
			continue
		}
		part := p[n:]
		part = part[:min(room, len(part))]
		c.tx.buf.write(part)
		if n += len(part); n == len(p) {
			return n, nil
		}
	}
}

// push sends what may be sent.
func (c *Conn) push() {
	if c.state == open || c.state == closing {
		now := c.s.now()
		c.transmit(now)
		c.arm(now)
	}
}

// Close returns at once. What was written is still sent, what has not been read is dropped.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case opening:
		c.die(net.ErrClosed)
	case open:
		c.state = closing
		c.lingerAt = c.s.now() + lingerFor
		c.dropUnread()
		c.tx.fin = true
		c.push()
		c.readers.cond.Broadcast()
		c.writers.cond.Broadcast()
	case over:
		if c.err != nil && !errors.Is(c.err, net.ErrClosed) {
			c.dropUnread()
			c.err = net.ErrClosed
		}
	}
	return nil
}

// abort ends the connection at once, and tells the peer.
func (c *Conn) abort(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == over {
		return
	}
	if c.state != opening {
		h := header{typ: typeReset, id: c.sendID, timestamp: stamp(c.s.now()), seq: c.tx.nxt, ack: c.rx.ack}
		h.put(c.scratch[:], extEnd)
		c.write1(c.scratch[:headerSize])
	}
	c.die(err)
}

// die makes the connection over, and frees what it holds but what can still be read.
func (c *Conn) die(err error) {
	if c.state == over {
		return
	}
	if c.state == opening {
		close(c.ready)
	}
	c.state, c.err = over, err
	c.tx.release()
	c.rx.release()
	c.s.reserved.Add(int64(firstReceive - c.rx.limit))
	c.rx.limit = firstReceive
	c.readers.end()
	c.writers.end()
	c.s.forget(c)
}

func (c *Conn) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// write1 sends one packet.
func (c *Conn) write1(b []byte) {
	// What the system would not send is lost like a packet on its way.
	_, _ = c.s.pc.WriteToUDPAddrPort(b, c.addr)
}

// LocalAddr returns the address of the UDP socket, a *net.UDPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.s.local }

// RemoteAddr returns the peer's address, a *net.UDPAddr.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline makes reads fail from t on; the zero value lifts it.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readers, t) }

// SetWriteDeadline makes writes fail from t on; the zero value lifts it.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writers, t) }

func (c *Conn) setDeadline(w *waiters, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state >= closing && (c.err == nil || errors.Is(c.err, net.ErrClosed)) {
		return c.opError("set", net.ErrClosed)
	}
	w.set(t)
	return nil
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Source: c.s.local, Addr: c.remote, Err: err}
}
