//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
)

// httpLoad announces over HTTP, on connections that stay open or on one for each announce.
type httpLoad struct {
	once    bool
	random  *rand.Rand
	next    []int // for each source, the peer that was not announced yet
	hashes  [][]byte
	request []byte
}

func runHTTP(o options, m *meter) error {
	h := &httpLoad{once: o.proto == "http-once", random: newRandom(), next: make([]int, o.world.sources)}
	for s := range h.next {
		h.next[s] = s
	}
	for s := range o.world.swarms {
		var escaped []byte
		for _, b := range infoHash(s) {
			escaped = fmt.Appendf(escaped, "%%%02X", b)
		}
		h.hashes = append(h.hashes, escaped)
	}
	l, err := newLoop(o, m, h)
	if err != nil {
		return err
	}
	defer l.close()
	for i := range o.conns {
		if err := l.dial(&conn{source: i % o.world.sources}); err != nil {
			return err
		}
	}
	return l.run()
}

func (h *httpLoad) opened(l *loop, c *conn) error { return h.announce(l, c) }

// announce sends the next announce of the connection's source.
func (h *httpLoad) announce(l *loop, c *conn) error {
	w, started := l.o.world, true
	n := h.next[c.source]
	if n < w.total() {
		h.next[c.source] += w.sources
	} else {
		n, started = w.pick(c.source, h.random), false
	}
	c.peer = n
	b := append(h.request[:0], "GET /announce?info_hash="...)
	b = append(b, h.hashes[w.swarm(n)]...)
	b = append(b, "&peer_id=-BN0100-"...)
	b = strconv.AppendInt(b, 100_000_000_000+int64(n), 10)
	b = append(b, "&port="...)
	b = strconv.AppendInt(b, int64(w.port(n)), 10)
	b = append(b, "&uploaded=0&downloaded=0&compact=1&numwant=50&left="...)
	if seeds(n) {
		b = append(b, '0')
	} else {
		b = append(b, '1')
	}
	if started {
		b = append(b, "&event=started"...)
	}
	b = append(b, " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: trackerload/1\r\n"...)
	if h.once {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "\r\n"...)
	h.request = b
	return l.send(c, b)
}

var (
	headEnd       = []byte("\r\n\r\n")
	contentLength = []byte("\r\ncontent-length:")
	okStatus      = []byte(" 200 ")
	peersKey      = []byte("5:peers")
)

func (h *httpLoad) received(l *loop, c *conn, b []byte) (int, error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return 0, nil
	}
	head, body := b[:end], b[end+len(headEnd):]
	length, err := bodyLength(head)
	if err != nil || len(body) < length {
		return 0, err
	}
	body = body[:length]
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	_, list, ok := bytes.Cut(body, peersKey)
	if !bytes.Contains(line, okStatus) || !ok {
		return 0, fmt.Errorf("an announce was answered with %q", b)
	}
	if digits, _, ok := bytes.Cut(list[:min(len(list), 6)], []byte(":")); ok {
		n, _ := strconv.Atoi(string(digits))
		l.m.Peers += n / 6
	}
	if l.done, err = l.m.answer(); l.done || err != nil {
		return 0, err
	}
	if h.once {
		return 0, h.again(l, c)
	}
	return end + len(headEnd) + length, h.announce(l, c)
}

// again makes the next connection. Its io.EOF says that the one before is over.
func (h *httpLoad) again(l *loop, c *conn) error {
	l.drop(c)
	if err := l.dial(c); err != nil {
		return err
	}
	return io.EOF
}

func (h *httpLoad) closed(l *loop, c *conn) error {
	return fmt.Errorf("the tracker closed a connection after %q", c.in)
}

// bodyLength finds the length that the tracker gives in the head.
func bodyLength(head []byte) (int, error) {
	rest := head
	for {
		at := bytes.IndexByte(rest, '\n')
		if at < 0 {
			return 0, fmt.Errorf("no length in %q", head)
		}
		rest = rest[at+1:]
		if name := contentLength[2:]; len(rest) > len(name) && bytes.EqualFold(rest[:len(name)], name) {
			digits, _, _ := bytes.Cut(rest[len(name):], []byte("\r"))
			return strconv.Atoi(string(bytes.TrimSpace(digits)))
		}
	}
}
