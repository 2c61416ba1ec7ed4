//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

const (
	offersEach = 5 // as many as webtorrent.js makes
	sdpSize    = 640
	idSize     = 20
	webLeft    = 1000 // nobody is a seed, so that a tracker has no reason to hold offers back
	// webBusy is how many announces wait for their answers at a time; each brings five
	// offers and five answers with it.
	webBusy = 64
)

// webLoad announces over WebSockets, one peer each, and answers all offers.
type webLoad struct {
	all    []*conn
	open   int
	turn   int
	number uint64 // of the next offer
	frame  []byte
}

// webPeer is the peer of one connection.
type webPeer struct {
	started, update, answer frame
	again                   bool // was announced
	next                    time.Time
}

// frame is a WebSocket message that is made and masked once; its ids are written into it
// each time. All have ASCII ids of 20 bytes, so that their places stay.
type frame struct {
	bytes []byte
	head  int   // bytes of the header
	holes []int // places of ids in bytes
}

// mask is the same for all: it costs the tracker what any other does.
var mask = [4]byte{0x5a, 0xc3, 0x99, 0x3c}

const hole = "$$$$$$$$$$$$$$$$$$$$"

func newFrame(text string) frame {
	f := frame{bytes: appendHeader(nil, 0x81, len(text))}
	f.head = len(f.bytes)
	for i := 0; i+idSize <= len(text); i++ {
		if text[i:i+idSize] == hole {
			f.holes = append(f.holes, f.head+i)
			i += idSize - 1
		}
	}
	for i := range len(text) {
		f.bytes = append(f.bytes, text[i]^mask[i%4])
	}
	return f
}

// appendHeader begins a masked frame (RFC 6455, section 5.2).
func appendHeader(b []byte, kind byte, length int) []byte {
	b = append(b, kind)
	if length < 126 {
		b = append(b, 0x80|byte(length))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(length))
	}
	return append(b, mask[:]...)
}

// set writes an id into a hole.
func (f *frame) set(number int, id []byte) {
	at := f.holes[number]
	for i := range id {
		f.bytes[at+i] = id[i] ^ mask[(at-f.head+i)%4]
	}
}

// sdp is as long as what a browser offers, and as full of what JSON escapes.
func sdp(peer int) string {
	s := fmt.Sprintf(`v=0\r\no=- %d 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic: WMS\r\n`+
		`m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n`, 1_000_000_000+peer)
	for len(s) < sdpSize {
		s += `a=candidate:1 1 udp 2113937151 0a1b2c3d-0000-4000-8000-0123456789ab.local 53219 typ host generation 0\r\n`
	}
	return s
}

// webHash is the name of a swarm as JSON has it, half of its bytes over 0x7f.
func webHash(swarm int) string {
	var s strings.Builder
	for i, b := range infoHash(swarm) {
		if i%2 == 0 {
			s.WriteRune(rune(b | 0x80))
		} else {
			s.WriteByte('a' + b%26)
		}
	}
	return s.String()
}

func newWebPeer(o options, n int) *webPeer {
	id := fmt.Sprintf("-BN0100-%012d", n)
	hash := webHash(o.world.swarm(n))
	var offers []string
	for range offersEach {
		offers = append(offers, fmt.Sprintf(`{"offer":{"type":"offer","sdp":"%s"},"offer_id":"%s"}`, sdp(n), hole))
	}
	announce := func(event string) frame {
		return newFrame(fmt.Sprintf(`{"numwant":%d,"uploaded":0,"downloaded":0,"left":%d,%s"action":"announce","info_hash":"%s","peer_id":"%s","offers":[%s]}`,
			offersEach, webLeft, event, hash, id, strings.Join(offers, ",")))
	}
	return &webPeer{
		started: announce(`"event":"started",`), update: announce(""),
		answer: newFrame(fmt.Sprintf(`{"action":"announce","info_hash":"%s","peer_id":"%s","to_peer_id":"%s","answer":{"type":"answer","sdp":"%s"},"offer_id":"%s"}`,
			hash, id, hole, sdp(n), hole)),
	}
}

func runWeb(o options, m *meter) error {
	w := &webLoad{}
	l, err := newLoop(o, m, w)
	if err != nil {
		return err
	}
	defer l.close()
	const atOnce = 64 // connections being made
	for n := range o.world.total() {
		c := &conn{source: o.world.source(n), peer: n, web: newWebPeer(o, n)}
		if err := l.dial(c); err != nil {
			return err
		}
		w.all = append(w.all, c)
		for start := time.Now(); n+1-w.open > atOnce; {
			if _, err := l.turn(time.Second); err != nil {
				return err
			}
			if time.Since(start) > patience {
				return errSilent
			}
		}
	}
	for start := time.Now(); w.open < len(w.all); {
		if _, err := l.turn(time.Second); err != nil {
			return err
		}
		if time.Since(start) > patience {
			return errSilent
		}
	}
	if o.hold > 0 {
		return w.hold(l)
	}
	for range min(webBusy, len(w.all)) {
		if err := w.announceNext(l); err != nil {
			return err
		}
	}
	return l.run()
}

// holdEvery is how often a connection that is held announces.
const holdEvery = time.Minute

// hold has all connections announce once a minute, spread over it.
func (w *webLoad) hold(l *loop) error {
	start := time.Now()
	for i, c := range w.all {
		c.web.next = start.Add(holdEvery * time.Duration(i) / time.Duration(len(w.all)))
	}
	for i := 0; time.Since(start) < l.o.hold; {
		c := w.all[i%len(w.all)]
		if wait := time.Until(c.web.next); wait > 0 {
			if _, err := l.turn(max(min(wait, time.Second), time.Millisecond)); err != nil {
				return err
			}
			continue
		}
		if c.waiting {
			l.m.Lost++
		}
		c.web.next = c.web.next.Add(holdEvery)
		if err := w.announce(l, c); err != nil {
			return err
		}
		l.m.Announces++
		i++
	}
	if _, err := l.turn(time.Second); err != nil {
		return err
	}
	for _, c := range w.all {
		if c.waiting {
			l.m.Lost++
		}
	}
	l.m.Held = len(l.conns)
	return nil
}

func (w *webLoad) opened(l *loop, c *conn) error {
	return l.send(c, []byte("GET /announce HTTP/1.1\r\nHost: "+l.o.addr.String()+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"))
}

// announceNext announces the peer whose turn it is.
func (w *webLoad) announceNext(l *loop) error {
	for range w.all {
		c := w.all[w.turn%len(w.all)]
		w.turn++
		if !c.waiting {
			return w.announce(l, c)
		}
	}
	return nil
}

func (w *webLoad) announce(l *loop, c *conn) error {
	f := &c.web.started
	if c.web.again {
		f = &c.web.update
	}
	c.web.again, c.waiting = true, true
	var id [idSize]byte
	for i := range offersEach {
		w.number++
		number := w.number
		for k := range id {
			id[k] = 'a' + byte(number%26)
			number /= 26
		}
		f.set(i, id[:])
	}
	return l.send(c, f.bytes)
}

func (w *webLoad) received(l *loop, c *conn, b []byte) (int, error) {
	used := 0
	if !c.upgrade {
		end := bytes.Index(b, headEnd)
		if end < 0 {
			return 0, nil
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
			return 0, fmt.Errorf("with %d connections open, an upgrade was answered with %q", w.open, b)
		}
		c.upgrade = true
		w.open++
		used = end + len(headEnd)
	}
	for !l.done {
		kind, message, n := cutFrame(b[used:])
		if n == 0 {
			break
		}
		used += n
		if err := w.message(l, c, kind, message); err != nil {
			return used, err
		}
	}
	return used, nil
}

// cutFrame splits off a whole frame of a server; n is 0 if there is none.
func cutFrame(b []byte) (kind byte, message []byte, n int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	head, length := 2, int(b[1]&0x7f)
	switch {
	case length == 126 && len(b) >= 4:
		head, length = 4, int(binary.BigEndian.Uint16(b[2:]))
	case length == 127 && len(b) >= 10:
		head, length = 10, int(binary.BigEndian.Uint64(b[2:]))
	case length >= 126:
		return 0, nil, 0
	}
	if len(b) < head+length {
		return 0, nil, 0
	}
	return b[0], b[head : head+length], head + length
}

var (
	offerKey    = []byte(`"offer":`)
	answerKey   = []byte(`"answer":`)
	completeKey = []byte(`"complete":`)
	peerIDKey   = []byte(`"peer_id":"`)
	offerIDKey  = []byte(`"offer_id":"`)
)

func (w *webLoad) message(l *loop, c *conn, kind byte, b []byte) error {
	const text, ping, pong = 0x81, 0x89, 0x8a
	switch {
	case kind == ping:
		w.frame = appendHeader(w.frame[:0], pong, len(b))
		for i := range b {
			w.frame = append(w.frame, b[i]^mask[i%4])
		}
		return l.send(c, w.frame)
	case kind != text:
		return fmt.Errorf("frame of kind %#x: %q", kind, b)
	case bytes.Contains(b, offerKey):
		l.m.Offers++
		from, id := idAfter(b, peerIDKey), idAfter(b, offerIDKey)
		if from == nil || id == nil {
			return fmt.Errorf("an offer without ids: %q", b)
		}
		c.web.answer.set(0, from)
		c.web.answer.set(1, id)
		return l.send(c, c.web.answer.bytes)
	case bytes.Contains(b, answerKey):
		l.m.Answers++
		return nil
	case !bytes.Contains(b, completeKey):
		return fmt.Errorf("an announce was answered with %q", b)
	case !c.waiting:
		return nil
	}
	c.waiting = false
	if l.o.hold > 0 {
		return nil
	}
	var err error
	if l.done, err = l.m.answer(); l.done || err != nil {
		return err
	}
	return w.announceNext(l)
}

func idAfter(b, key []byte) []byte {
	_, rest, ok := bytes.Cut(b, key)
	if !ok || len(rest) < idSize {
		return nil
	}
	return rest[:idSize]
}

func (w *webLoad) closed(l *loop, c *conn) error {
	return fmt.Errorf("with %d connections open, the tracker closed the one of peer %d after %q", w.open, c.peer, c.in)
}
