package webrtcwire

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"runtime/debug"
	"syscall"
)

// segmentConn is a connection that sends many packets with one system call: those of size bytes
// that follow each other in b, of which the last may be shorter.
type segmentConn interface {
	WriteSegments(b []byte, size int, to netip.AddrPort) (int, error)
}

// segmentWriter sends packets as segmentConn does, or one by one. false: they are known to be larger than the path
// takes, and go in fragments. Other errors of the network show as loss.
func segmentWriter(conn net.PacketConn, write func([]byte, netip.AddrPort) (int, error)) func([]byte, int, netip.AddrPort) bool {
	many, ok := conn.(segmentConn)
	return func(b []byte, size int, to netip.AddrPort) (fit bool) {
		if ok {
			n, err := many.WriteSegments(b, size, to)
			if !errors.Is(err, syscall.EMSGSIZE) {
				return true
			}
			b = b[n:] // one by one the system cuts them
		}
		for len(b) > 0 {
			n := min(size, len(b))
			_, _ = write(b[:n], to)
			b = b[n:]
		}
		return !ok
	}
}

// wholeConn is a connection that can send a packet whole or not at all, and in fragments if it is too large.
type wholeConn interface {
	WriteWhole(b []byte, to netip.AddrPort) (int, error)
	WriteFragmentable(b []byte, to netip.AddrPort) (int, error)
}

// sendOne sends a packet that has to arrive whole, or one that may be cut; false: it is known not to arrive.
func (m *mux) sendOne(b []byte, to netip.AddrPort, cut bool) bool {
	var err error
	switch {
	case m.whole == nil && !cut:
		return false
	case m.whole == nil:
		_, err = m.write(b, to)
	case cut:
		_, err = m.whole.WriteFragmentable(b, to)
	default:
		_, err = m.whole.WriteWhole(b, to)
	}
	return !errors.Is(err, syscall.EMSGSIZE)
}

// pass hands DTLS records straight to the connection that they belong to, if it has made its
// handshake; nil: there is none such. If flush, that is to follow.
func (m *mux) pass(b []byte, from netip.AddrPort) (to *link, flush bool) {
	if !isDTLS(b) {
		return nil, false
	}
	m.mu.RLock()
	owner := m.owners[from]
	m.mu.RUnlock()
	if owner == nil {
		return nil, false
	}
	if to = owner.conn.link.Load(); to == nil {
		return nil, false
	}
	defer func() {
		if r := recover(); r != nil {
			m.logger.Error("panic", "doing", "taking a DTLS record", "from", from, "panic", r, "stack", string(debug.Stack()))
			flush = false
			to.s.shut(errors.New("webrtcwire: panic over a packet"))
		}
	}()
	return to, to.receive(b)
}

// flushLater has a link flushed when the batch of packets is over.
func (m *mux) flushLater(l *link) {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	if n := len(m.unsent); n == 0 || m.unsent[n-1] != l { // one twice does no harm
		m.unsent = append(m.unsent, l)
	}
}

// flush ends a batch of packets.
func (m *mux) flush() {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	for i, l := range m.unsent {
		l.flush()
		m.unsent[i] = nil
	}
	m.unsent = m.unsent[:0]
	for _, c := range *m.serving.Load() {
		c.flush()
	}
}

// relayed hands a packet of a TURN server's to the allocation there, if it is one for it.
func (m *mux) relayed(b []byte, from netip.AddrPort) (to *relayedConn) {
	if !isChannelData(b) && (!isSTUN(b) || isRequest(b)) {
		return nil
	}
	to = (*m.serving.Load())[from]
	if to == nil || !to.allocation.Receive(b) {
		return nil
	}
	return to
}

// serve has packets of a TURN server given to the allocation there; false: there is one already.
func (m *mux) serve(server netip.AddrPort, c *relayedConn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	serving := maps.Clone(*m.serving.Load())
	if serving[server] != nil || m.closed {
		return false
	}
	serving[server] = c
	m.serving.Store(&serving)
	return true
}

func (m *mux) unserve(server netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	serving := maps.Clone(*m.serving.Load())
	delete(serving, server)
	m.serving.Store(&serving)
}

// attach has the DTLS records of an agent's peer passed to l.
func (m *mux) attach(ufrag string, l *link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if conn := m.agents[ufrag]; conn != nil {
		conn.link.Store(l)
	}
}
