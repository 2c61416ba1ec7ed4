package transport

import (
	"io"
	"net"
	"sync"
)

// rc4Chunk is how many bytes an encrypted [Conn.WriteBuffers] gathers for one
// write: four blocks of 16 KiB with their headers, so that the copy stays in cache.
const rc4Chunk = 64<<10 + 64

var rc4Buffers = sync.Pool{New: func() any { b := make([]byte, 0, rc4Chunk); return &b }}

// Conn is a connection to a peer, ready for the handshake of BEP 3. While its
// payload is plaintext it adds nothing between the caller and the socket: Read
// goes straight to it once the bytes seen during the handshake are used up, and
// WriteBuffers reaches writev.
//
// As with any net.Conn, one goroutine may read while another writes.
type Conn struct {
	net.Conn // the socket itself

	early     []byte    // read ahead of the caller while finding out what this connection is
	r         io.Reader // decrypts; nil when the payload is plaintext
	w         io.Writer // encrypts; nil when the payload is plaintext
	encrypted bool
	ice       bool
}

// Encrypted says whether the connection began with message stream encryption,
// whatever its payload uses.
func (c *Conn) Encrypted() bool { return c.encrypted }

// ICE says that it is no peer that has connected but an ICE agent of a browser (RFC 6544): what
// is read are packets framed by RFC 4571, of which the first is a check.
func (c *Conn) ICE() bool { return c.ice }

// RC4 says whether the payload is encrypted.
func (c *Conn) RC4() bool { return c.w != nil }

func (c *Conn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		c.early = c.early[n:]
		if len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	if c.r != nil {
		return c.r.Read(b)
	}
	return c.Conn.Read(b)
}

func (c *Conn) Write(b []byte) (int, error) {
	if c.w != nil {
		return c.w.Write(b)
	}
	return c.Conn.Write(b)
}

// buffersWriter is a connection that takes several buffers at once, as that of uTP does.
type buffersWriter interface {
	WriteBuffers(v *net.Buffers) (int64, error)
}

// WriteBuffers writes all of v and consumes it, as [net.Buffers.WriteTo] does: with
// writev, or what the connection has in its place, when the payload is plaintext, else
// encrypted in chunks of up to 64 KiB.
func (c *Conn) WriteBuffers(v *net.Buffers) (int64, error) {
	if c.w == nil {
		if w, ok := c.Conn.(buffersWriter); ok {
			return w.WriteBuffers(v)
		}
		return v.WriteTo(c.Conn)
	}
	pooled := rc4Buffers.Get().(*[]byte)
	defer rc4Buffers.Put(pooled)
	var written int64
	for len(*v) > 0 {
		chunk := gather((*pooled)[:0], v)
		n, err := c.w.Write(chunk)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// gather moves bytes from v to the free space of chunk.
func gather(chunk []byte, v *net.Buffers) []byte {
	for len(*v) > 0 {
		first := (*v)[0]
		n := min(len(first), cap(chunk)-len(chunk))
		chunk = append(chunk, first[:n]...)
		if n < len(first) {
			(*v)[0] = first[n:]
			break
		}
		(*v)[0] = nil
		*v = (*v)[1:]
	}
	return chunk
}
