package webrtcwire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/webrtc/v4"
)

const (
	// maxSend is the largest message we send, two fifths of the least window. A peer that
	// does not say a=max-message-size must accept 64 KiB (RFC 8841 section 6.1).
	maxSend = 32 << 10

	// maxReceive is the largest message we accept: what pion's and browsers'
	// descriptions announce.
	maxReceive = 256 << 10

	// receiveBuffer is the SCTP receive window, which bounds what a peer can make
	// us hold while nobody reads. It must hold one message of maxReceive.
	receiveBuffer = 1 << 20
)

// messages are buffers for one received message. A connection holds one only
// while it has unread bytes.
var messages = sync.Pool{New: func() any { return new([maxReceive]byte) }}

// scratches are buffers in which small writes are put together.
var scratches = sync.Pool{New: func() any { return new([maxSend]byte) }}

// Conn is a data channel as a byte stream. It implements net.Conn; message
// borders carry no meaning in either direction. Close discards what the peer has
// not acknowledged yet.
type Conn struct {
	s             *session
	dc            *datachannel.DataChannel
	local, remote net.Addr
	path          Path
	maxMessage    int

	readMu       sync.Mutex // held by Read
	unread       []byte     // rest of message
	message      *[maxReceive]byte
	readDeadline *deadline

	writeMu       sync.Mutex // held by Write
	window        window
	written       uint64
	writable      chan struct{} // a hint that there is room for a message
	writeDeadline *deadline
}

// Path says how the two sides reach each other: the types of the selected
// candidates, "host", "srflx", "prflx" or "relay".
type Path struct{ Local, Remote string }

var _ net.Conn = (*Conn)(nil)

func newConn(s *session, dc *datachannel.DataChannel) *Conn {
	c := &Conn{
		s: s, dc: dc,
		local: s.t.LocalAddr(), remote: &net.UDPAddr{IP: net.IPv6unspecified},
		maxMessage:    maxSend,
		window:        newWindow(time.Now()),
		writable:      make(chan struct{}, 1),
		writeDeadline: newDeadline(nil),
	}
	c.readDeadline = newDeadline(c.wakeReader)
	sctp := s.pc.SCTP()
	if limit := sctp.GetCapabilities().MaxMessageSize; limit > 0 {
		c.maxMessage = min(maxSend, int(limit))
	}
	if pair, err := sctp.Transport().ICETransport().GetSelectedCandidatePair(); err == nil && pair != nil {
		c.path = Path{Local: pair.Local.Typ.String(), Remote: pair.Remote.Typ.String()}
		c.local, c.remote = candidateAddr(pair.Local), candidateAddr(pair.Remote)
	}
	dc.SetBufferedAmountLowThreshold(uint64(c.window.size - maxSend))
	dc.OnBufferedAmountLow(func() { // called with SCTP's lock held: must not block
		select {
		case c.writable <- struct{}{}:
		default:
		}
	})
	return c
}

func candidateAddr(c *webrtc.ICECandidate) net.Addr {
	return &net.UDPAddr{IP: net.ParseIP(c.Address), Port: int(c.Port)}
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
	c.readDeadline.stop()
	c.writeDeadline.stop()
	c.s.awaitGone()
	return nil
}

// interrupt wakes blocked calls after the session has ended.
func (c *Conn) interrupt() { c.wakeReader() }

func (c *Conn) wakeReader() {
	// Now, not a time of the calendar, which may be wrong. It cannot fail.
	_ = c.dc.SetReadDeadline(time.Now())
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
// has closed the channel or vanished (which takes up to half a minute to notice).
func (c *Conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		switch {
		case c.s.ctx.Err() != nil:
			c.dropMessage()
			return 0, c.endError(io.EOF)
		case c.readDeadline.hasPassed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(c.unread) > 0:
			n := copy(p, c.unread)
			if c.unread = c.unread[n:]; len(c.unread) == 0 {
				c.dropMessage()
			}
			return n, nil
		}
		if n, err := c.receive(p); n > 0 || err != nil {
			return n, err
		}
	}
}

// receive reads the next message: straight into p if it fits there, else into a
// buffer of its own, of which Read takes the rest. It may return 0, nil.
func (c *Conn) receive(p []byte) (int, error) {
	if len(p) < maxSend && c.message == nil {
		p = nil // only wait: the message would likely not fit
	}
	if c.message != nil {
		p = c.message[:]
	}
	n, _, err := c.dc.ReadDataChannel(p) // text is bytes too: UTF-8, as webtorrent.js has it
	switch {
	case err == nil && c.message != nil:
		if c.unread = c.message[:n]; n == 0 {
			c.dropMessage()
		}
		return 0, nil
	case err == nil:
		return n, nil
	case errors.Is(err, io.ErrShortBuffer) && c.message == nil:
		c.message = messages.Get().(*[maxReceive]byte)
		return 0, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		if !c.readDeadline.hasPassed() && c.s.ctx.Err() == nil {
			return 0, c.dc.SetReadDeadline(time.Time{}) // an older deadline's wake-up
		}
		return 0, nil // Read says why
	case errors.Is(err, io.ErrShortBuffer):
		err = fmt.Errorf("webrtcwire: peer sent a message of more than %d bytes", maxReceive)
		c.s.shut(err)
		return 0, err
	}
	c.s.shut(errPeerClosed)
	return 0, nil
}

func (c *Conn) dropMessage() {
	if c.message != nil {
		messages.Put(c.message)
		c.message, c.unread = nil, nil
	}
}

// Write sends p in messages of up to 32 KiB. It blocks while twice what the path takes in a
// round trip, 80,000 bytes at least and half a mebibyte at most, waits for the peer's
// acknowledgement.
func (c *Conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	written := 0
	for written < len(p) {
		end := min(len(p), written+c.maxMessage)
		if err := c.send(p[written:end]); err != nil {
			return written, err
		}
		written = end
	}
	return written, nil
}

// WriteBuffers is Write for several buffers, which it puts together into as few
// messages as it can: a message costs a browser an event, and a header alone
// would be one. Like net.Buffers.WriteTo it consumes what it has sent.
func (c *Conn) WriteBuffers(buffers *net.Buffers) (int64, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	scratch := scratches.Get().(*[maxSend]byte)
	defer scratches.Put(scratch)
	var written int64
	for len(*buffers) > 0 {
		message := gather(*buffers, scratch[:c.maxMessage])
		if len(message) > 0 {
			if err := c.send(message); err != nil {
				return written, err
			}
		}
		written += int64(len(message))
		consume(buffers, len(message))
	}
	return written, nil
}

// gather returns the next message: the start of the first buffer if that is
// enough, else the first few copied into scratch.
func gather(buffers net.Buffers, scratch []byte) []byte {
	if len(buffers[0]) >= len(scratch) || len(buffers) == 1 {
		return buffers[0][:min(len(buffers[0]), len(scratch))]
	}
	n := 0
	for _, buffer := range buffers {
		if n == len(scratch) {
			break
		}
		n += copy(scratch[n:], buffer)
	}
	return scratch[:n]
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

// send sends one message as soon as there is room for it.
func (c *Conn) send(message []byte) error {
	for {
		expired := c.writeDeadline.wait()
		select {
		case <-c.s.ctx.Done():
			return c.endError(io.ErrClosedPipe)
		case <-expired:
			return os.ErrDeadlineExceeded
		default:
		}
		if now := time.Now(); c.window.due(now) {
			c.adapt(now)
		}
		// If there is no room, then more is buffered than the threshold that adapt has
		// set, so it will be crossed.
		if c.dc.BufferedAmount()+uint64(len(message)) <= uint64(c.window.size) {
			break
		}
		c.window.limited = true
		select {
		case <-c.s.ctx.Done():
		case <-expired:
		case <-c.writable:
		}
	}
	if _, err := c.dc.Write(message); err != nil {
		c.s.shut(errPeerClosed)
		return c.endError(io.ErrClosedPipe)
	}
	c.written += uint64(len(message))
	return nil
}

// adapt fits the window to the path.
func (c *Conn) adapt(now time.Time) {
	sctp := c.s.pc.SCTP()
	stats := sctp.Stats()
	p := path{rtt: seconds(stats.SmoothedRoundTripTime), cwnd: int(stats.CongestionWindow)}
	if pair, ok := sctp.Transport().ICETransport().GetSelectedCandidatePairStats(); ok {
		if rtt := seconds(pair.CurrentRoundTripTime); rtt > 0 && (p.rtt == 0 || rtt < p.rtt) {
			p.rtt = rtt
		}
	}
	size := c.window.size
	delivered := c.written - min(c.dc.BufferedAmount(), c.written)
	if c.window.adapt(now, delivered, p); c.window.size != size {
		c.dc.SetBufferedAmountLowThreshold(uint64(c.window.size - maxSend))
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

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
