package socket

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Handler is called for what happens to one connection, by one goroutine at a time.
// Its calls must not block: they hold up other connections.
type Handler interface {
	// Message handles a message, which is UTF-8 and valid only during the call.
	Message(b *Batch, text []byte)
	// Closed is the last call, whoever closed the connection.
	Closed(b *Batch)
}

// Batch collects what handlers send until a round ends, so that each connection is written
// to once. Scratch is free for a handler to encode messages in.
type Batch struct {
	Scratch []byte

	dirty []*Conn
	now   int64 // of the round, as Server.now
}

// flush writes what was sent during a round.
func (b *Batch) flush() {
	for i, c := range b.dirty {
		c.flush(b.now)
		b.dirty[i] = nil
	}
	b.dirty = b.dirty[:0]
}

type state uint8

const (
	open    state = iota
	closing       // a close frame is on its way; what comes is thrown away
	doomed        // to be dropped by whoever reads it
	gone
)

// flushAt is how many bytes wait in a connection's queue before it is written to within a round.
const flushAt = 64 << 10

// Conn is a connection. Its methods may be called by several goroutines.
type Conn struct {
	server  *Server
	handler Handler
	remote  netip.Addr
	loop    *loop    // where it waits, or nil
	stream  net.Conn // where loop is nil
	fd      int      // where it is not; closed under mu
	heard   atomic.Int64
	answer  atomic.Int64 // until when something must be heard, 0 for no such time

	// The reader's own. A goroutine that reads holds reading whenever it changes them.
	reading sync.Mutex
	partial []byte // the start of a frame
	message []byte // the payloads of a message's first frames
	began   int64  // when partial or message began, by Server.now
	pinged  bool   // since something was heard
	pieces  bool   // within a message of several frames
	paused  bool   // has sent too much
	fresh   bool   // partial came with the handshake and was not looked at
	held    int    // how much of partial and message is counted in Server.buffered
	due     int64  // in microseconds: when the messages so far were allowed, by their rate

	mu      sync.Mutex
	state   state
	dirty   bool // in some Batch
	armed   bool // waits for room in the pipe: in epoll, or by its writer goroutine
	queue   []byte
	sent    int           // of queue
	counted int           // how much of queue is counted in Server.buffered
	moved   int64         // when the pipe last took something, or what waits for room began to
	until   int64         // when a closing one is dropped
	written chan struct{} // closed when the writer goroutine ends, if somebody waits for that
}

// Remote is the address that Accept was told.
func (c *Conn) Remote() netip.Addr { return c.remote }

// Send queues a message, to be written when b's round ends, or at once where b is nil. It
// does nothing on a connection that is closing.
func (c *Conn) Send(b *Batch, text []byte) { c.push(b, opText, text) }

func (c *Conn) push(b *Batch, opcode byte, payload []byte) {
	c.mu.Lock()
	if c.state != open {
		c.mu.Unlock()
		return
	}
	if len(c.queue)-c.sent+len(payload) > c.server.config.MaxQueue {
		c.server.counts.slowReaders.Add(1)
		c.doom()
		c.mu.Unlock()
		return
	}
	if c.queue == nil {
		c.queue = takeBuffer()
	}
	c.queue = appendHeader(c.queue, opcode, len(payload))
	c.queue = append(c.queue, payload...)
	if !c.countQueue() {
		c.server.counts.noRoom.Add(1)
		c.doom()
		c.mu.Unlock()
		return
	}
	now, late := b == nil, len(c.queue)-c.sent >= flushAt
	if !now && !c.dirty && !c.armed {
		c.dirty = true
		b.dirty = append(b.dirty, c)
	}
	c.mu.Unlock()
	if now {
		c.flush(c.server.now())
	} else if late {
		c.flush(b.now)
	}
}

// countQueue keeps Server.buffered true, and reports whether there is room.
func (c *Conn) countQueue() bool {
	if n := cap(c.queue); n != c.counted {
		total := c.server.buffered.Add(int64(n - c.counted))
		grown := n > c.counted
		c.counted = n
		return !grown || total <= c.server.config.MaxBuffered
	}
	return true
}

// countRead does the same for what is half read.
func (c *Conn) countRead() bool {
	if n := cap(c.partial) + cap(c.message); n != c.held {
		total := c.server.buffered.Add(int64(n - c.held))
		grown := n > c.held
		c.held = n
		return !grown || total <= c.server.config.MaxBuffered
	}
	return true
}

// flush writes the queue, or as much as the pipe takes.
func (c *Conn) flush(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = false
	if c.armed || len(c.queue) == c.sent || c.state >= doomed {
		return
	}
	if c.loop == nil {
		c.armed = true
		c.server.working.Add(1)
		go c.writeStream()
		return
	}
	c.writeQueue(now)
}

// emptied gives the queue's buffer back.
func (c *Conn) emptied() {
	giveBuffer(c.queue)
	c.queue, c.sent = nil, 0
	c.countQueue()
}

// Close says why, and drops the connection once that is read or a while has passed.
// The reason is cut at 123 bytes.
func (c *Conn) Close(code uint16, reason string) {
	now := c.server.now()
	c.mu.Lock()
	if c.state != open {
		c.mu.Unlock()
		return
	}
	c.state = closing
	c.until = now + c.server.config.Linger.Milliseconds()
	if c.queue == nil {
		c.queue = takeBuffer()
	}
	c.queue = appendClose(c.queue, code, reason)
	c.countQueue()
	c.mu.Unlock()
	c.flush(now)
}

// Drop ends the connection without a word.
func (c *Conn) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doom()
}

// Probe pings, and drops the connection unless something is heard within wait.
func (c *Conn) Probe(wait time.Duration) {
	if c.answer.CompareAndSwap(0, c.server.now()+wait.Milliseconds()) {
		c.push(nil, opPing, nil)
	}
}

// doom wakes the one who reads the connection, to drop it. c.mu is held.
func (c *Conn) doom() {
	if c.state >= doomed {
		return
	}
	c.state = doomed
	if c.loop != nil {
		c.shutdown()
		return
	}
	c.closeSoon()
}

// hear notes that something came.
func (c *Conn) hear(now int64) {
	c.heard.Store(now)
	c.pinged = false
	if c.answer.Load() != 0 {
		c.answer.Store(0)
	}
}

// check drops the connection where a time is over, and pings it where it is silent.
func (c *Conn) check(b *Batch) {
	config := &c.server.config
	timeout := config.Timeout.Milliseconds()
	silence := b.now - c.heard.Load()
	answer := c.answer.Load()
	switch {
	case answer != 0 && b.now > answer, silence > config.PingEvery.Milliseconds()+timeout && !c.paused:
		c.server.counts.silent.Add(1)
		c.Drop()
	case (len(c.partial) > 0 || c.pieces) && !c.paused && b.now-c.began > timeout:
		c.server.counts.slowWriters.Add(1)
		c.Close(ClosePolicy, "a message takes too long")
	case silence > config.PingEvery.Milliseconds() && !c.pinged:
		c.pinged = true
		c.push(b, opPing, nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed && c.loop != nil && b.now-c.moved > timeout && c.state < doomed {
		c.server.counts.slowReaders.Add(1)
		c.doom()
	}
	if c.state == closing && b.now > c.until {
		c.doom()
	}
}

// finish is the end of a connection that is closed and waits nowhere any more.
func (c *Conn) finish(b *Batch) {
	c.mu.Lock()
	c.state = gone
	if c.armed && c.loop == nil {
		c.queue = nil // its writer has it still
	}
	c.emptied()
	c.mu.Unlock()
	c.partial, c.message = nil, nil
	c.countRead()
	c.server.release(c.remote)
	c.handler.Closed(b)
}

// queueBuffers are the buffers in which messages wait to be written, mostly for less than a round.
var queueBuffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

const bufferSize = 8 << 10

func takeBuffer() []byte { return queueBuffers.Get().(*[bufferSize]byte)[:0] }

func giveBuffer(b []byte) {
	if cap(b) == bufferSize {
		queueBuffers.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}
