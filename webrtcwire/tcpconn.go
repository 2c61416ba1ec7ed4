package webrtcwire

import (
	"bufio"
	"encoding/binary"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// tcpQueue bounds what waits to be sent over one connection, in bytes; more is dropped, as
	// a full socket buffer would. It is half a second at 0.5 MB/s: checks must not be
	// late for longer than the other side waits for them.
	tcpQueue = 256 << 10

	// tcpWriteTimeout is for how long the other side may take nothing.
	tcpWriteTimeout = 20 * time.Second

	// tcpFarewell is how long a connection may take to send what is queued at its end.
	tcpFarewell = time.Second

	// tcpReadBuffer is the buffer of one connection's reader: a few packets at once.
	tcpReadBuffer = 16 << 10
)

// tcpConn is one TCP connection of an ICE agent.
type tcpConn struct {
	agent *tcpAgent
	conn  net.Conn
	from  netip.AddrPort

	mu      sync.Mutex
	pending []byte // frames to be sent
	closed  bool
	wake    chan struct{} // something is pending, or closed
}

func newTCPConn(agent *tcpAgent, conn net.Conn, from netip.AddrPort) *tcpConn {
	return &tcpConn{agent: agent, conn: conn, from: from, wake: make(chan struct{}, 1)}
}

// read hands packets on until the connection ends. TCP drops nothing, so it waits when
// the agent is behind.
func (c *tcpConn) read() {
	defer c.agent.mux.drop(c)
	defer c.close()
	defer c.recoverPanic()
	r := bufio.NewReaderSize(c.conn, tcpReadBuffer)
	for {
		p := packets.Get().(*packet)
		c.mu.Lock()
		if !c.closed {
			_ = c.conn.SetReadDeadline(time.Now().Add(tcpIdle)) // fails with the connection
		}
		c.mu.Unlock()
		if err := readFrame(r, p); err != nil {
			packets.Put(p)
			c.agent.mux.logger.Debug("an ICE connection over TCP has ended", "from", c.from, "error", err)
			return
		}
		p.from = c.from
		if isMedia(p.data[:p.n]) {
			packets.Put(p)
			continue
		}
		c.deliver(p)
	}
}

// deliver gives a packet to the agent.
func (c *tcpConn) deliver(p *packet) {
	select {
	case c.agent.queues.of(c.from.Addr()) <- p:
	case <-c.agent.closed:
		packets.Put(p)
	}
}

// send queues one packet, or drops it where too many wait.
func (c *tcpConn) send(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(b) > maxPacket || len(c.pending)+frameHeader+len(b) > tcpQueue {
		return len(b), nil
	}
	c.pending = append(binary.BigEndian.AppendUint16(c.pending, uint16(len(b))), b...)
	c.signal()
	return len(b), nil
}

func (c *tcpConn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write sends what is queued until the connection ends.
func (c *tcpConn) write() {
	defer c.conn.Close()
	defer c.close()
	var spare []byte
	for range c.wake {
		c.mu.Lock()
		taken, closed := c.pending, c.closed
		c.pending = spare[:0]
		if !closed {
			_ = c.conn.SetWriteDeadline(time.Now().Add(tcpWriteTimeout))
		}
		c.mu.Unlock()
		if len(taken) > 0 {
			if _, err := c.conn.Write(taken); err != nil {
				return
			}
		}
		if closed {
			return
		}
		spare = taken
	}
}

// close ends the connection once what is queued, the farewell, is sent. Its goroutines end in
// their own time.
func (c *tcpConn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		_ = c.conn.SetDeadline(time.Now().Add(tcpFarewell))
		c.signal()
	}
}

// recoverPanic keeps a bug in handling one connection from ending the process.
func (c *tcpConn) recoverPanic() {
	if r := recover(); r != nil {
		c.agent.mux.logger.Error("panic", "doing", "reading ICE over TCP", "from", c.from, "panic", r, "stack", string(debug.Stack()))
	}
}
