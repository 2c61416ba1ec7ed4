// Package hostile plays peers that do not do what they should, for fault tests: they
// send wrong data, fall silent, or trickle. It speaks the least of the peer wire
// protocol (BEP 3) that a downloader needs, on bare sockets and without any of this
// project's protocol code, so that both cannot be wrong in the same way.
//
//	p, err := hostile.Listen(torrent, hostile.NeverAnswers())
//	defer p.Close()
//	... download from p.Addr() and from others ...
//	p.Report().Requests
package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
)

// Message types of BEP 3.
const (
	msgUnchoke    = 1
	msgInterested = 2
	msgBitfield   = 5
	msgRequest    = 6
	msgPiece      = 7
	msgCancel     = 8
	msgExtended   = 20 // BEP 10
)

const (
	maxBlock   = 128 << 10 // a longer request ends the connection
	maxMessage = 1 << 20   // so does a longer message
	maxQueue   = 2000      // requests beyond this many waiting are dropped
	protocol   = "\x13BitTorrent protocol"
)

// Block is one block that was asked for or sent, and when.
type Block struct {
	Piece, Begin, Length uint32
	At                   time.Time
}

// Report is what happened to the peer so far.
type Report struct {
	Attempts    int     // connections, whatever came of them
	Connections int     // of those, with a plaintext handshake for the torrent
	Open        int     // of those, still connected
	Requests    []Block // in the order they came, all connections
	Sent        []Block // in the order they went
	Cancels     int

	MetadataSent int // parts of metadata
}

// SentBytes returns how much content was sent, repetitions included.
func (r Report) SentBytes() int64 {
	var n int64
	for _, b := range r.Sent {
		n += int64(b.Length)
	}
	return n
}

// Peer is a listening peer that claims to have everything.
type Peer struct {
	torrent  *fixture.Torrent
	script   Script
	metadata *Metadata // nil: no extensions
	listener net.Listener
	closed   chan struct{}
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	report Report
}

// Listen starts a peer on a free loopback port.
func Listen(t *fixture.Torrent, s Script) (*Peer, error) { return listen(t, s, nil) }

func listen(t *fixture.Torrent, s Script, m *Metadata) (*Peer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a scripted peer: %w", err)
	}
	p := &Peer{torrent: t, script: s, metadata: m, listener: l, closed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns the peer's HOST:PORT.
func (p *Peer) Addr() string { return p.listener.Addr().String() }

// Report returns what happened so far.
func (p *Peer) Report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.report
	r.Requests, r.Sent = slices.Clone(r.Requests), slices.Clone(r.Sent)
	return r
}

// Close cuts all connections and waits for them to be gone.
func (p *Peer) Close() {
	p.mu.Lock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.listener.Close()
	p.wg.Wait()
}

func (p *Peer) note(f func(*Report)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.report)
}

func (p *Peer) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		select {
		case <-p.closed:
			c.Close()
		default:
			p.conns[c] = struct{}{}
			p.wg.Go(func() { p.serve(c) })
		}
		p.mu.Unlock()
	}
}

func (p *Peer) serve(c net.Conn) {
	defer func() {
		c.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
	}()
	p.note(func(r *Report) { r.Attempts++ })
	if err := p.handshake(c); err != nil {
		return // an encrypted handshake too: the client falls back to plaintext
	}
	p.note(func(r *Report) { r.Connections++; r.Open++ })
	defer p.note(func(r *Report) { r.Open-- })

	q := newQueue()
	var answering sync.WaitGroup
	answering.Go(func() { p.answer(c, q) })
	p.read(c, q) // ends with the connection
	q.close()
	c.Close()
	answering.Wait()
}

func (p *Peer) handshake(c net.Conn) error {
	var in [68]byte
	if _, err := io.ReadFull(c, in[:len(protocol)]); err != nil {
		return err
	}
	if string(in[:len(protocol)]) != protocol {
		return errors.New("not a plaintext handshake")
	}
	if _, err := io.ReadFull(c, in[len(protocol):]); err != nil {
		return err
	}
	if [20]byte(in[28:48]) != p.torrent.InfoHash {
		return errors.New("another torrent")
	}
	reserved := make([]byte, 8)
	if p.metadata != nil {
		reserved[5] |= 0x10 // BEP 10
	}
	out := append([]byte(protocol), reserved...)
	out = append(out, p.torrent.InfoHash[:]...)
	out = append(out, "-XX0000-"...)
	out = fmt.Appendf(out, "%012d", p.listener.Addr().(*net.TCPAddr).Port)

	pieces := p.torrent.Pieces()
	field := make([]byte, (pieces+7)/8)
	for i := range pieces {
		field[i/8] |= 0x80 >> (i % 8)
	}
	out = binary.BigEndian.AppendUint32(out, uint32(1+len(field)))
	out = append(out, msgBitfield)
	out = append(out, field...)
	if p.metadata != nil {
		out = append(out, p.metadata.handshake()...)
	}
	_, err := c.Write(out)
	return err
}

// read takes in messages and queues requests until the connection fails.
func (p *Peer) read(c net.Conn, q *queue) {
	var theirs extensions
	head := make([]byte, 4)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(head)
		if n == 0 {
			continue // keep-alive
		}
		if n > maxMessage {
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		switch body[0] {
		case msgInterested:
			if _, err := c.Write([]byte{0, 0, 0, 1, msgUnchoke}); err != nil {
				return
			}
		case msgRequest, msgCancel:
			if n != 13 {
				return
			}
			r := Block{
				Piece: binary.BigEndian.Uint32(body[1:]), Begin: binary.BigEndian.Uint32(body[5:]),
				Length: binary.BigEndian.Uint32(body[9:]), At: time.Now(),
			}
			if body[0] == msgCancel {
				p.note(func(rep *Report) { rep.Cancels++ })
				q.remove(r)
				continue
			}
			if r.Length > maxBlock || int64(r.Piece) >= int64(p.torrent.Pieces()) {
				return
			}
			p.note(func(rep *Report) { rep.Requests = append(rep.Requests, r) })
			q.add(r)
		case msgExtended:
			if p.metadata == nil {
				continue
			}
			if reply := theirs.answer(p.metadata, body[1:]); reply != nil {
				p.note(func(rep *Report) { rep.MetadataSent++ })
				if _, err := c.Write(reply); err != nil {
					return
				}
			}
		}
	}
}

// answer sends blocks as the script says until the queue closes.
func (p *Peer) answer(c net.Conn, q *queue) {
	for n := 0; ; n++ {
		r, ok := q.next()
		if !ok {
			return
		}
		block := make([]byte, r.Length)
		content := p.torrent.ReaderAt(int64(r.Piece)*p.torrent.PieceLength + int64(r.Begin))
		_, err := io.ReadFull(content, block)
		content.Close()
		if err != nil {
			return // beyond the end of the torrent
		}
		after, send := p.script(n, block)
		if !send {
			continue
		}
		if after > 0 {
			t := time.NewTimer(after)
			select {
			case <-t.C:
			case <-q.done:
				t.Stop()
				return
			}
		}
		msg := binary.BigEndian.AppendUint32(nil, 9+r.Length)
		msg = append(msg, msgPiece)
		msg = binary.BigEndian.AppendUint32(msg, r.Piece)
		msg = binary.BigEndian.AppendUint32(msg, r.Begin)
		if _, err := c.Write(append(msg, block...)); err != nil {
			return
		}
		r.At = time.Now()
		p.note(func(rep *Report) { rep.Sent = append(rep.Sent, r) })
	}
}
