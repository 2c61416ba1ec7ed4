package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var infoHash = [20]byte{1, 2, 3, 4, 5}

func ours(hashes ...[20]byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, h := range hashes {
			if !yield(h[:]) {
				return
			}
		}
	}
}

type accepted struct {
	conn *Conn
	err  error
}

// listen accepts connections under e until the test ends.
func listen(t *testing.T, e Encryption) (netip.AddrPort, <-chan accepted) {
	t.Helper()
	ln, err := ListenTCP(ListenOptions{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan accepted, 4)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			c, err := Accept(t.Context(), raw, ours([20]byte{9}, infoHash), e)
			results <- accepted{c, err}
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		for len(results) > 0 {
			if r := <-results; r.err == nil {
				r.conn.Close()
			}
		}
	})
	return ln.Addr().(*net.TCPAddr).AddrPort(), results
}

func TestEncryptionOfBothSides(t *testing.T) {
	type want struct{ ok, encrypted, rc4 bool }
	for _, c := range []struct {
		dial, accept Encryption
		want         want
	}{
		{EncryptionPrefer, EncryptionPrefer, want{true, true, false}},
		{EncryptionPrefer, EncryptionRequire, want{true, true, true}},
		{EncryptionPrefer, EncryptionOff, want{true, false, false}}, // by its second connection
		{EncryptionRequire, EncryptionPrefer, want{true, true, true}},
		{EncryptionRequire, EncryptionRequire, want{true, true, true}},
		{EncryptionRequire, EncryptionOff, want{}},
		{EncryptionOff, EncryptionPrefer, want{true, false, false}},
		{EncryptionOff, EncryptionRequire, want{}},
		{EncryptionOff, EncryptionOff, want{true, false, false}},
	} {
		t.Run(fmt.Sprintf("%v to %v", c.dial, c.accept), func(t *testing.T) {
			addr, results := listen(t, c.accept)
			dialed, err := Dial(t.Context(), addr, infoHash, DialOptions{Encryption: c.dial})
			if err == nil {
				defer dialed.Close()
				_, err = dialed.Write([]byte(protocolHeader))
			}
			got := <-results
			if c.dial == EncryptionPrefer && c.accept == EncryptionOff {
				if !errors.Is(got.err, ErrEncrypted) {
					t.Errorf("first connection: %v", got.err)
				}
				got = <-results
			}
			if (got.err == nil) != c.want.ok {
				t.Fatalf("accepted with %v, dialed with %v; want success: %v", got.err, err, c.want.ok)
			}
			if !c.want.ok {
				return
			}
			defer got.conn.Close()
			for side, conn := range map[string]*Conn{"dialing": dialed, "accepting": got.conn} {
				if conn.Encrypted() != c.want.encrypted || conn.RC4() != c.want.rc4 {
					t.Errorf("%s side: encrypted %v, RC4 %v", side, conn.Encrypted(), conn.RC4())
				}
			}
			header := make([]byte, len(protocolHeader))
			if _, err := io.ReadFull(got.conn, header); err != nil || string(header) != protocolHeader {
				t.Fatalf("%q, %v", header, err)
			}
			exchange(t, dialed, got.conn)
			exchange(t, got.conn, dialed)
		})
	}
}

// exchange sends a megabyte in pieces of all sizes by WriteBuffers and checks it.
func exchange(t *testing.T, from, to *Conn) {
	t.Helper()
	data := make([]byte, 1<<20)
	rand.Read(data)
	var v net.Buffers
	for rest, n := data, 1; len(rest) > 0; n = n*3 + 1 {
		n = min(n, len(rest))
		v = append(v, rest[:n])
		rest = rest[n:]
	}
	sent := make(chan error, 1)
	go func() {
		n, err := from.WriteBuffers(&v)
		if err == nil && (n != int64(len(data)) || len(v) != 0) {
			err = fmt.Errorf("%d bytes written, %d buffers left", n, len(v))
		}
		sent <- err
	}()
	got := make([]byte, len(data))
	to.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Fatal("what arrived is not what was sent")
	}
}

func TestPlaintextReachesTheSocket(t *testing.T) {
	addr, results := listen(t, EncryptionPrefer)
	dialed, err := Dial(t.Context(), addr, infoHash, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	got := <-results
	if got.err != nil {
		t.Fatal(got.err)
	}
	defer got.conn.Close()
	for _, c := range []*Conn{dialed, got.conn} {
		if _, ok := c.Conn.(*net.TCPConn); !ok || c.r != nil || c.w != nil {
			t.Errorf("reads and writes of a plaintext payload go through %T, %T, %T", c.Conn, c.r, c.w)
		}
	}
}

func TestUnknownInfoHashIsRefused(t *testing.T) {
	addr, results := listen(t, EncryptionPrefer)
	if c, err := Dial(t.Context(), addr, [20]byte{7}, DialOptions{Encryption: EncryptionRequire}); err == nil {
		c.Close()
		t.Error("dialed a torrent that the other side does not have")
	}
	if got := <-results; got.err == nil {
		t.Error("accepted")
	}
}

func TestSilentPeerIsLeftWhenTheContextEnds(t *testing.T) {
	ln, err := ListenTCP(ListenOptions{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, addr, infoHash, DialOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dialing: %v", err)
	}
	raw, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	raw.Close()

	client, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Accept(ctx, raw, ours(infoHash), EncryptionPrefer); err == nil {
		t.Error("accepted a peer that says nothing")
	}
}

func TestEndlessHandshakeIsRefused(t *testing.T) {
	stream := &handshakeStream{raw: endless{}, budget: 100}
	n, err := io.Copy(io.Discard, stream)
	if n != 100 || !errors.Is(err, errHandshakeTooLong) {
		t.Errorf("%d bytes, then %v", n, err)
	}
}

type endless struct{ net.Conn }

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestParseEncryption(t *testing.T) {
	for _, e := range []Encryption{EncryptionPrefer, EncryptionOff, EncryptionRequire} {
		if got, err := ParseEncryption(e.String()); got != e || err != nil {
			t.Error(e, got, err)
		}
	}
	if _, err := ParseEncryption("yes"); err == nil {
		t.Error("no error for an unknown word")
	}
}

// FuzzAccept sends a stranger's bytes to the accepting side, which must end, whatever
// they are, without a panic, and hand out everything after a plaintext header.
func FuzzAccept(f *testing.F) {
	f.Add([]byte(protocolHeader+"and more"), byte(EncryptionPrefer))
	f.Add(make([]byte, 96), byte(EncryptionPrefer))
	f.Add(slices.Repeat([]byte{0xff}, 1000), byte(EncryptionRequire))
	f.Add(encryptedHello(), byte(EncryptionPrefer))
	f.Fuzz(func(t *testing.T, b []byte, e byte) {
		c, err := Accept(t.Context(), &scriptedConn{r: bytes.NewReader(b)}, ours(infoHash), Encryption(e%3))
		if err != nil {
			return
		}
		got, err := io.ReadAll(io.LimitReader(c, 1<<20))
		if err != nil || !c.Encrypted() && !bytes.Equal(got, b) {
			t.Fatalf("%d of %d bytes, %v", len(got), len(b), err)
		}
	})
}

// FuzzAcceptEncrypted is a stranger who knows the infohash, so that its bytes get as far
// as the encrypted part of the handshake. Its public key is 1, which makes the shared
// secret 1, too.
func FuzzAcceptEncrypted(f *testing.F) {
	f.Add(unhex("0000000000000000"+"00000003"+"0000"+"0000"), byte(EncryptionPrefer))
	f.Add(append(unhex("0000000000000000"+"00000001"+"0000"+"0014"), protocolHeader...), byte(EncryptionPrefer))
	f.Add(unhex("0000000000000000"+"00000002"+"ffff"+"ffff"), byte(EncryptionRequire))
	f.Add(unhex("0000000000000000"+"00000000"+"0000"+"ffff"), byte(EncryptionPrefer))
	f.Fuzz(func(t *testing.T, b []byte, e byte) {
		said := bytes.NewReader(knowingHello(t, b))
		c, err := Accept(t.Context(), &scriptedConn{r: said}, ours(infoHash), Encryption(e%3))
		if err != nil {
			return
		}
		if e%3 == byte(EncryptionRequire) && !c.RC4() {
			t.Fatal("accepted plaintext where encryption is required")
		}
		if _, err := io.Copy(io.Discard, io.LimitReader(c, 1<<20)); err != nil {
			t.Fatal(err)
		}
	})
}

var keyOne = [96]byte{95: 1}

func sum(name string, parts ...[]byte) []byte {
	h := sha1.New()
	h.Write([]byte(name))
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// encryptedHello is what a dialing peer says before it is answered.
func encryptedHello() []byte {
	var said bytes.Buffer
	c := &scriptedConn{r: bytes.NewReader(make([]byte, 2000)), w: &said}
	initiate(context.Background(), c, infoHash, EncryptionPrefer)
	return said.Bytes()
}

// scriptedConn is a connection whose remote side says what r holds and then hangs up.
type scriptedConn struct {
	r io.Reader
	w io.Writer
}

func (c *scriptedConn) Read(b []byte) (int, error) { return c.r.Read(b) }
func (c *scriptedConn) Write(b []byte) (int, error) {
	if c.w != nil {
		return c.w.Write(b)
	}
	return len(b), nil
}
func (c *scriptedConn) Close() error                     { return nil }
func (c *scriptedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scriptedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }
