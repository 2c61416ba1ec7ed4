package webrtcwire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/webrtcwire/sctp"
)

const (
	// maxSend is the largest message we send: one event of a page. A peer that
	// does not say a=max-message-size must accept 64 KiB (RFC 8841 section 6.1).
	maxSend = 32 << 10

	// maxReceive is the largest message that our descriptions announce: what browsers' do. We
	// take larger ones, since borders carry no meaning.
	maxReceive = 256 << 10
)

// Conn is a data channel as a byte stream. It implements net.Conn; message
// borders carry no meaning in either direction. Close discards what the peer has
// not acknowledged yet.
type Conn struct {
	s             *session
	channel       *sctp.Channel
	local, remote net.Addr
	path          Path
	maxMessage    int

	readMu       sync.Mutex // held by Read
	readDeadline *deadline

	writeMu       sync.Mutex // held by Write
	writeDeadline *deadline
}

// Path says how the two sides reach each other: the types of the selected
// candidates, "host", "srflx", "prflx" or "relay".
type Path struct{ Local, Remote string }

var _ net.Conn = (*Conn)(nil)

func newConn(s *session, channel *sctp.Channel) *Conn {
	c := &Conn{
		s: s, channel: channel,
		local: s.t.LocalAddr(), remote: &net.UDPAddr{IP: net.IPv6unspecified},
		maxMessage:   maxSend,
		readDeadline: newDeadline(), writeDeadline: newDeadline(),
	}
	s.mu.Lock()
	c.maxMessage = min(maxSend, s.maxMessage)
	s.mu.Unlock()
	if pair := s.link.selected.Load(); pair != nil {
		c.path = Path{Local: pair.local.Type().String(), Remote: pair.remote.Type().String()}
		c.local, c.remote = udpAddr(pair.local), udpAddr(pair.remote)
	}
	return c
}

// LocalAddr returns our end of the selected path, as it was when the connection
// opened.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the peer's end of the selected path, as it was when the
// connection opened.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Path returns the candidate types of the selected path.
func (c *Conn) Path() Path { return c.path }

// Close tears the connection down and waits until it is gone, for at most a few
// seconds. Blocked calls return an error that wraps net.ErrClosed.
func (c *Conn) Close() error {
	c.s.shut(ErrClosed)
	c.s.link.discard()
	c.readDeadline.stop()
	c.writeDeadline.stop()
	c.s.awaitGone()
	return nil
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline makes Read fail with os.ErrDeadlineExceeded from t on; the zero
// time means never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readDeadline.set(t)
	return nil
}

// SetWriteDeadline makes Write fail with os.ErrDeadlineExceeded from t on; the
// zero time means never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeDeadline.set(t)
	return nil
}

// Read reads up to len(p) bytes of the stream. It returns io.EOF when the peer
// has closed the channel, or an error when it has vanished (which takes up to half a minute to
// notice), after all that had arrived.
func (c *Conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		expired := c.readDeadline.wait()
		ended := c.s.ctx.Err() != nil
		select {
		case <-expired:
			return 0, os.ErrDeadlineExceeded
		default:
		}
		if ended && errors.Is(c.s.cause(), ErrClosed) {
			return 0, c.endError(io.EOF)
		}
		n, err := c.channel.Read(p)
		switch {
		case n > 0:
			return n, nil
		case ended:
			return 0, c.endError(io.EOF)
		case err != nil:
			c.s.shut(errPeerClosed)
			continue
		case len(p) == 0:
			return 0, nil
		}
		select {
		case <-c.s.ctx.Done():
		case <-expired:
		case <-c.channel.Readable():
		}
	}
}

// Write sends p in messages of up to 32 KiB. It blocks while enough waits to be sent.
func (c *Conn) Write(p []byte) (int, error) {
	buffers := net.Buffers{p}
	n, err := c.WriteBuffers(&buffers)
	return int(n), err
}

// WriteBuffers is Write for several buffers, which it puts together into as few
// messages as it can: a message costs a browser an event, and a header alone
// would be one. Like net.Buffers.WriteTo it consumes what it has sent.
func (c *Conn) WriteBuffers(buffers *net.Buffers) (int64, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	var written int64
	for {
		n := 0
		for _, buffer := range *buffers {
			if n += len(buffer); n >= c.maxMessage {
				n = c.maxMessage
				break
			}
		}
		if n > 0 {
			if err := c.send(*buffers, n); err != nil {
				return written, err
			}
			written += int64(n)
		}
		if consume(buffers, n); len(*buffers) == 0 {
			return written, nil
		}
	}
}

// consume drops the first n bytes of buffers, and buffers that are empty then.
func consume(buffers *net.Buffers, n int) {
	for len(*buffers) > 0 && n >= len((*buffers)[0]) {
		n -= len((*buffers)[0])
		(*buffers)[0] = nil
		*buffers = (*buffers)[1:]
	}
	if n > 0 {
		(*buffers)[0] = (*buffers)[0][n:]
	}
}

// send sends the first n bytes of parts as one message, as soon as there is room for it.
func (c *Conn) send(parts net.Buffers, n int) error {
	for {
		expired := c.writeDeadline.wait()
		select {
		case <-c.s.ctx.Done():
			return c.endError(io.ErrClosedPipe)
		case <-expired:
			return os.ErrDeadlineExceeded
		default:
		}
		sent, err := c.channel.WriteParts(parts, n)
		if err != nil {
			c.s.shut(errPeerClosed)
			return c.endError(io.ErrClosedPipe)
		}
		if sent {
			return nil
		}
		select {
		case <-c.s.ctx.Done():
		case <-expired:
		case <-c.channel.Writable():
		}
	}
}

// endError says how a session ended: ErrClosed if we closed it, else an error
// that wraps byPeer (io.EOF is returned bare, as net.Conn users compare it).
func (c *Conn) endError(byPeer error) error {
	cause := c.s.cause()
	switch {
	case errors.Is(cause, ErrClosed):
		return cause
	case byPeer == io.EOF && errors.Is(cause, errPeerClosed): //nolint:errorlint // a wrapped one has a cause
		return io.EOF
	}
	return fmt.Errorf("webrtcwire: %w: %w", cause, byPeer)
}
