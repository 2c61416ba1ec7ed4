package socket

import (
	"errors"
	"unicode/utf8"
)

// errEnd is that of a client that said goodbye.
var errEnd = errors.New("closed by the client")

// take handles data, which came after what is in c.partial. It changes data.
func (c *Conn) take(b *Batch, data []byte) error {
	if len(data) > 0 {
		c.hear(b.now)
	}
	if len(c.partial) > 0 {
		c.partial = append(c.partial, data...)
		data = c.partial
	}
	rest, err := c.frames(b, data)
	if err != nil {
		return err
	}
	return c.keep(b, rest)
}

// keepAtMost is how large a buffer a connection keeps that has little in it.
const keepAtMost = 16 << 10

// keep stores the start of a frame until more of it comes. rest may be of c.partial.
func (c *Conn) keep(b *Batch, rest []byte) error {
	switch {
	case len(rest) == 0:
		c.partial = nil
	case len(c.partial) > 0:
		if len(rest) < len(c.partial) { // a frame ended and another began
			c.began = b.now
		}
		c.partial = c.partial[:copy(c.partial, rest)]
		if cap(c.partial) > keepAtMost && len(c.partial) < keepAtMost/2 {
			c.partial = append([]byte(nil), c.partial...)
		}
	default:
		if !c.pieces {
			c.began = b.now
		}
		c.partial = append(c.partial, rest...)
	}
	if !c.countRead() {
		c.server.counts.noRoom.Add(1)
		c.Close(CloseTryLater, "the server is busy")
	}
	return nil
}

// frames handles the whole frames at the start of data, unless the connection has sent
// too many messages or is closing, and returns what follows them.
func (c *Conn) frames(b *Batch, data []byte) (rest []byte, err error) {
	for len(data) > 0 {
		if c.isClosing() {
			return nil, nil
		}
		if c.tooFast(b.now) {
			c.paused = true
			return data, nil
		}
		h, n, err := parseHeader(data)
		if err != nil {
			return nil, err
		}
		if h.opcode < opClose && h.length > c.server.config.MaxMessage-len(c.message) {
			return nil, errTooBig
		}
		if n == 0 || len(data)-n < h.length {
			return data, nil
		}
		payload := data[n : n+h.length : n+h.length]
		data = data[n+h.length:]
		unmask(payload, h.mask)
		if err := c.frame(b, h, payload); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (c *Conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state != open
}

// frame handles one frame. Each counts as a message, for each costs something.
func (c *Conn) frame(b *Batch, h header, payload []byte) error {
	c.spend(b.now)
	switch h.opcode {
	case opPing:
		c.push(b, opPong, payload)
		return nil
	case opPong:
		return nil
	case opClose:
		return errEnd
	case opContinuation:
		if !c.pieces {
			return errProtocol
		}
	default:
		if c.pieces {
			return errProtocol
		}
		if h.fin {
			return c.deliver(b, payload)
		}
		c.pieces = true
		c.began = b.now
	}
	c.message = append(c.message, payload...)
	if !h.fin {
		return nil
	}
	whole := c.message
	c.message, c.pieces = nil, false
	return c.deliver(b, whole)
}

func (c *Conn) deliver(b *Batch, text []byte) error {
	if !utf8.Valid(text) {
		return errNotUTF8
	}
	c.server.counts.messages.Add(1)
	c.handler.Message(b, text)
	return nil
}

// A connection's messages are let through at a rate: each is due a while after the one
// before, and may come early by what Burst of them take (the generic cell rate algorithm).

func (c *Conn) tooFast(now int64) bool {
	config := &c.server.config
	return c.due-now*1000 > int64(config.Burst)*1e6/int64(config.MessagesPerSecond)
}

func (c *Conn) spend(now int64) {
	c.due = max(c.due, now*1000) + 1e6/int64(c.server.config.MessagesPerSecond)
}

// fail ends the connection for what its client did, and says what that was. It reports
// whether there is still something to say.
func (c *Conn) fail(err error) (says bool) {
	counts := &c.server.counts
	switch {
	case errors.Is(err, errTooBig):
		counts.tooBig.Add(1)
		c.Close(closeTooBig, err.Error())
	case errors.Is(err, errNotUTF8):
		counts.malformed.Add(1)
		c.Close(closeNotUTF8, err.Error())
	case errors.Is(err, errProtocol):
		counts.malformed.Add(1)
		c.Close(closeProtocol, err.Error())
	case errors.Is(err, errEnd):
		c.Close(CloseNormal, "")
		return false
	default:
		return false
	}
	c.partial, c.message, c.pieces = nil, nil, false
	c.countRead()
	return true
}
