package relay

import (
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/pion/turn/v5"
)

// portQueue bounds the packets that wait for each of a port's readers; more are dropped.
const portQueue = 512

// Port is the share of a UDP socket that STUN and TURN have. Packets are handled by several
// goroutines, those of one client by the same.
type Port struct {
	server *Server
	conn   net.PacketConn
	seed   maphash.Seed
	shards []*shard
}

// Port serves STUN and TURN on a UDP socket that somebody else reads, who hands over by
// [Port.Deliver] what is for it. Answers are written to conn, which is not closed. The error is
// net.ErrClosed.
func (s *Server) Port(conn net.PacketConn) (*Port, error) {
	p := &Port{server: s, conn: conn, seed: maphash.MakeSeed()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	for range runtime.GOMAXPROCS(0) {
		shard := &shard{port: p, queue: make(chan *packet, portQueue), closed: make(chan struct{})}
		server, err := s.turnServer(shard, &generator{server: s, client: shard.client})
		if err != nil {
			p.end()
			return nil, err
		}
		s.wg.Add(1) // until the reader that pion has started knows that it is over
		shard.turn = server
		p.shards = append(p.shards, shard)
	}
	s.ports[p] = struct{}{}
	return p, nil
}

// Deliver takes a packet, if it is STUN or TURN. It does not block, and b is the caller's
// again when it returns.
func (p *Port) Deliver(b []byte, from netip.AddrPort) {
	if len(b) > maxDatagram || !IsPacket(b) || !p.server.wanted(b, from) {
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	shard := p.shards[maphash.Comparable(p.seed, from)%uint64(len(p.shards))]
	waiting := packets.Get().(*packet)
	waiting.n, waiting.from = copy(waiting.data[:], b), from
	select {
	case shard.queue <- waiting:
	default:
		p.server.dropped.Add(1)
		packets.Put(waiting)
	}
}

// Close ends the allocations that were made through the port.
func (p *Port) Close() error {
	p.server.mu.Lock()
	delete(p.server.ports, p)
	p.server.mu.Unlock()
	p.end()
	return nil
}

func (p *Port) end() {
	for _, shard := range p.shards {
		_ = shard.turn.Close() // which closes the shard; that does not fail
	}
}

// The messages that are answered or acted on (RFC 8489 section 5, RFC 8656 section 18).
const (
	bindingRequest    = 0x0001
	allocateRequest   = 0x0003
	refreshRequest    = 0x0004
	permissionRequest = 0x0008
	channelRequest    = 0x0009
	sendIndication    = 0x0016
	minChannel        = 0x4000 // RFC 5766 section 11
	maxChannel        = 0x7fff
)

// kind is what is to be done with a message.
type kind int

const (
	unwanted   kind = iota
	unanswered      // acted on in silence
	answered
)

// kindOf tells what a message is by its first bytes.
func (s *Server) kindOf(b []byte) kind {
	if len(b) < 4 {
		return unwanted
	}
	switch message := uint16(b[0])<<8 | uint16(b[1]); {
	case message == bindingRequest:
		return answered
	case !s.TURN():
	case message >= minChannel && message <= maxChannel, message == sendIndication:
		return unanswered
	case message == allocateRequest, message == refreshRequest, message == permissionRequest, message == channelRequest:
		return answered
	}
	return unwanted
}

// wanted reports whether a packet is worth handling: if it is to be answered, not one too many
// of its address.
func (s *Server) wanted(b []byte, from netip.AddrPort) bool {
	switch s.kindOf(b) {
	case unwanted:
		return false
	case answered:
		if !s.flood.allow(from.Addr()) {
			s.limited.Add(1)
			return false
		}
	}
	return true
}

// packet is one that waits to be handled.
type packet struct {
	data [maxDatagram]byte
	n    int
	from netip.AddrPort
}

var packets = sync.Pool{New: func() any { return new(packet) }}

// shard is some of a port's clients. It is the net.PacketConn of a server of pion's, which
// reads it in one goroutine, and handles one packet before it reads the next.
type shard struct {
	port   *Port
	turn   *turn.Server
	queue  chan *packet
	closed chan struct{}
	once   sync.Once
	ended  sync.Once
	from   netip.AddrPort // of the packet that is handled; of the reader's goroutine
}

var _ net.PacketConn = (*shard)(nil)

// client is whose packet is handled, and at which of our addresses it came. The
// socket is bound to all, so that is where the system sends from to this client.
func (s *shard) client() (from, at netip.AddrPort) {
	at = addrPort(s.port.conn.LocalAddr())
	if at.Addr().IsUnspecified() || !at.IsValid() {
		at = netip.AddrPortFrom(sourceTo(s.from), at.Port())
	}
	return s.from, at
}

// sourceTo is the address from which the system sends to another; invalid, if from none. It
// sends nothing.
func sourceTo(to netip.AddrPort) netip.Addr {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return addrPort(conn.LocalAddr()).Addr()
}

func (s *shard) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case <-s.closed:
		return s.over()
	default:
	}
	select {
	case p := <-s.queue:
		n := copy(b, p.data[:p.n])
		s.from = p.from
		packets.Put(p)
		return n, net.UDPAddrFromAddrPort(s.from), nil
	case <-s.closed:
		return s.over()
	}
}

func (s *shard) over() (int, net.Addr, error) {
	s.ended.Do(s.port.server.wg.Done)
	return 0, nil, net.ErrClosed
}

func (s *shard) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := s.port.conn.WriteTo(b, to)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return len(b), nil // of one packet, to one client
	}
	return n, err
}

// Close ends the reader. The socket is not ours.
func (s *shard) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *shard) LocalAddr() net.Addr              { return s.port.conn.LocalAddr() }
func (s *shard) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (s *shard) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (s *shard) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
