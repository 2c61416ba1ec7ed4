package socket

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// IsUpgrade reports whether a request asks for a WebSocket.
func IsUpgrade(r *http.Request) bool {
	return hasToken(r.Header, "Connection", "upgrade") && hasToken(r.Header, "Upgrade", "websocket")
}

// hasToken reports whether a header is a list that has a token (in lower case).
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// acceptGUID is that of RFC 6455, section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// handshakeTime bounds how long the answer to a handshake may take to be written.
const handshakeTime = 10 * time.Second

// Accept makes a connection of a request that IsUpgrade, from remote, and calls open for its
// handler. Where it cannot, it answers the request with the reason and returns it:
// ErrFull, ErrPerAddress or others. It does not wait for the connection to end.
func (s *Server) Accept(w http.ResponseWriter, r *http.Request, remote netip.Addr, open func(*Conn) Handler) error {
	key, err := handshakeKey(r)
	if err != nil {
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return err
	}
	if err := s.admit(remote); err != nil {
		status := http.StatusServiceUnavailable
		if errors.Is(err, ErrPerAddress) {
			status = http.StatusTooManyRequests
		}
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), status)
		return err
	}
	stream, first, err := hijack(w, key)
	if err != nil {
		s.release(remote)
		return err
	}
	c := &Conn{server: s, remote: remote}
	c.heard.Store(s.now())
	if err := s.place(c, stream, first, open); err != nil {
		c.finish(&Batch{now: s.now()})
		return err
	}
	s.counts.accepted.Add(1)
	return nil
}

// place puts a connection where it waits. The handler may send before that.
func (s *Server) place(c *Conn, stream net.Conn, first []byte, open func(*Conn) Handler) error {
	if tcp := plainTCP(stream); tcp != nil && len(s.loops) > 0 {
		l := s.loops[int(s.turn.Add(1))%len(s.loops)]
		if l.prepare(c, stream, tcp) == nil {
			c.handler = open(c)
			err := l.adopt(c, first)
			if err != nil {
				c.abandon()
			}
			return err
		}
	}
	c.stream = stream
	c.handler = open(c)
	err := s.startStream(c, first)
	if err != nil {
		_ = stream.Close()
	}
	return err
}

// plainTCP is the socket of a connection whose Read and Write are just the socket's own, else nil.
// A wrapper around it says so by a method Bare, which is called after the HTTP request was
// read; it is closed then, for whoever counts open connections.
func plainTCP(stream net.Conn) *net.TCPConn {
	if bare, ok := stream.(interface{ Bare() net.Conn }); ok {
		stream = bare.Bare()
	}
	tcp, _ := stream.(*net.TCPConn)
	return tcp
}

// handshakeKey checks a handshake (RFC 6455, section 4.2.1).
func handshakeKey(r *http.Request) (string, error) {
	keys := r.Header.Values("Sec-WebSocket-Key")
	switch {
	case r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || r.ProtoMajor != 1:
		return "", errors.New("a WebSocket handshake is a GET request of HTTP/1.1")
	case !IsUpgrade(r):
		return "", errors.New("this is no WebSocket handshake")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return "", errors.New("the version of WebSocket is 13")
	case len(keys) != 1:
		return "", errors.New("a WebSocket handshake has one key")
	}
	key := strings.TrimSpace(keys[0])
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 16 {
		return "", errors.New("the key of a WebSocket handshake is 16 bytes in base64")
	}
	return key, nil
}

// hijack takes a connection from net/http and answers the handshake. It returns what the client sent
// after that.
func hijack(w http.ResponseWriter, key string) (net.Conn, []byte, error) {
	stream, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this server does no WebSocket", http.StatusNotImplemented)
		return nil, nil, fmt.Errorf("take a connection over from net/http: %w", err)
	}
	var first []byte
	if n := buffered.Reader.Buffered(); n > 0 {
		peeked, _ := buffered.Reader.Peek(n)
		first = append(first, peeked...)
	}
	sum := sha1.Sum([]byte(key + acceptGUID)) // as the RFC has it; nothing secret
	_ = stream.SetDeadline(time.Now().Add(handshakeTime))
	_, err = stream.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"))
	if err == nil {
		err = stream.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = stream.Close()
		return nil, nil, fmt.Errorf("answer a WebSocket handshake: %w", err)
	}
	return stream, first, nil
}
