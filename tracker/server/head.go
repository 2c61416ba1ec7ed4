package server

import (
	"bytes"
	"net"
	"strconv"
	"time"
)

// head is what the loop of serveConn needs of a request's head.
type head struct {
	path, query []byte
	scrape      bool
	close       bool   // of the connection, after the reply
	forwarded   string // X-Forwarded-For, if that matters
}

// parseHead reads the head of a request without its last empty line. ok: it is a GET of
// an announce or scrape that has neither a body nor an upgrade, in plain form.
func parseHead(b []byte, wantForwarded bool) (h head, ok bool) {
	line, rest, _ := bytes.Cut(b, crlf)
	line, ok = bytes.CutPrefix(line, []byte("GET "))
	if !ok {
		return h, false
	}
	target, version, ok := bytes.Cut(line, []byte(" "))
	switch {
	case !ok, len(target) == 0, target[0] != '/':
		return h, false
	case string(version) == "HTTP/1.0":
		h.close = true
	case string(version) != "HTTP/1.1":
		return h, false
	}
	h.path, h.query, _ = bytes.Cut(target, []byte("?"))
	if ok, h.scrape = place(h.path); !ok || bytes.IndexByte(h.path, '%') >= 0 || bytes.IndexByte(line, '\n') >= 0 {
		return h, false
	}
	host := false
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, crlf)
		key, value, found := bytes.Cut(line, []byte(":"))
		if !found || len(key) == 0 || bytes.ContainsAny(key, " \t") || bytes.IndexByte(line, '\n') >= 0 {
			return h, false // net/http says what is wrong, if anything
		}
		switch key[0] | 0x20 {
		case 'h':
			host = host || bytes.EqualFold(key, []byte("Host"))
		case 'u', 'e', 't':
			if bytes.EqualFold(key, []byte("Upgrade")) || bytes.EqualFold(key, []byte("Expect")) || bytes.EqualFold(key, []byte("Transfer-Encoding")) {
				return h, false
			}
		case 'c':
			if bytes.EqualFold(key, []byte("Content-Length")) {
				return h, false
			}
			if bytes.EqualFold(key, []byte("Connection")) {
				if !h.connection(bytes.TrimSpace(value)) {
					return h, false
				}
			}
		case 'x':
			if wantForwarded && bytes.EqualFold(key, []byte("X-Forwarded-For")) {
				if h.forwarded != "" {
					h.forwarded += ","
				}
				h.forwarded += string(value)
			}
		}
	}
	return h, host || h.close
}

// connection takes the value of a Connection header; false: it is not a plain one.
func (h *head) connection(value []byte) bool {
	switch {
	case bytes.EqualFold(value, []byte("close")):
		h.close = true
	case !bytes.EqualFold(value, []byte("keep-alive")) || h.close:
		return false
	}
	return true
}

var (
	crlf    = []byte("\r\n")
	headEnd = []byte("\r\n\r\n")
)

// serveHead answers the request at the beginning of what was read, n bytes of b.in, if
// it is there as a whole. used is how many bytes it had, more whether further ones
// may come. ok is false if it is one for net/http.
func (s *Server) serveHead(c *counted, b *connBuffers, n int) (used int, more, ok bool) {
	if n == 0 {
		return 0, true, true
	}
	// No other request is kept waiting here: those of net/http may begin with a
	// long head, whose bounds are there.
	if !bytes.HasPrefix(b.in[:n], []byte("GET ")[:min(n, 4)]) || s.cfg.NoHTTP {
		return 0, false, false
	}
	end := bytes.Index(b.in[:n], headEnd)
	if end < 0 {
		return 0, true, true
	}
	h, ok := parseHead(b.in[:end], len(s.cfg.TrustProxy) > 0)
	if !ok {
		return 0, false, false
	}
	r := newRequest()
	defer r.free()
	r.remote, r.trusted = s.behind(addrOf(c.Conn), h.forwarded)
	if !r.remote.IsValid() {
		return 0, false, false
	}
	s.answer(r, h.scrape, h.query)
	b.out = append(b.out[:0], "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: "...)
	b.out = append(b.out, s.date()...)
	if h.close {
		b.out = append(b.out, "\r\nConnection: close"...)
	}
	b.out = append(b.out, "\r\nContent-Length: "...)
	b.out = strconv.AppendInt(b.out, int64(len(r.body)), 10)
	b.out = append(b.out, headEnd...)
	b.out = append(b.out, r.body...)
	if _, err := c.Write(b.out); err != nil {
		return end + 4, false, true
	}
	if cap(b.out) > requestKeep {
		b.out = nil
	}
	return end + 4, !h.close, true
}

// clock is the time as of the last second, so that nothing asks for it for each request.
type clock struct {
	now  time.Time
	date string // as HTTP writes it
}

func (s *Server) setClock(now time.Time) {
	s.clock.Store(&clock{now, now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")})
}

func (s *Server) now() time.Time { return s.clock.Load().now }

func (s *Server) date() string { return s.clock.Load().date }

var _ net.Conn = (*prefixed)(nil)
