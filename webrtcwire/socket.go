package webrtcwire

import (
	"net"
	"net/netip"
	"slices"
)

// maxSockets bounds the UDP sockets: the shared one and its doubles.
const maxSockets = 8

// socket is a UDP socket. One does for all peers, except
// where two connections would run between the same two addresses: two programs
// that each have one UDP port and meet in two torrents. DTLS cannot tell such
// connections apart, so the side that answers takes a second socket.
type socket struct {
	mux    *mux
	relays *relays

	users int // sessions; guarded by Transport.mu

	// claims counts the negotiations by the addresses that the peer might use;
	// guarded by Transport.mu. Once connected, the mux knows the address.
	claims map[netip.AddrPort]int
}

// newSocket shares out a socket; mirror is that of the shared one.
func (t *Transport) newSocket(conns []net.PacketConn, mirror *Mirror) *socket {
	mux := newMux(conns, t.hosts, mirror, t.config.Logger)
	return &socket{mux: mux, relays: newRelays(t, mux), claims: map[netip.AddrPort]int{}}
}

// Close ends the allocations of the socket, and closes it.
func (s *socket) Close() error {
	s.relays.Close()
	return s.mux.Close()
}

// pickSocket returns the first socket over which no other connection runs to any
// of these addresses, opening one more if it must and may. t.mu is held.
func (t *Transport) pickSocket(peer []netip.AddrPort) *socket {
	for _, socket := range t.sockets {
		if !socket.knows(peer) {
			return socket
		}
	}
	if len(t.sockets) == maxSockets {
		return t.sockets[0]
	}
	bound := *t.sockets[0].mux.localAddr()
	bound.Port = 0
	udp, err := listenUDP(t.config.Network, "udp", bound.String())
	if err != nil {
		t.config.Logger.Warn("no second UDP socket for a second connection to the same peer", "error", err)
		return t.sockets[0]
	}
	another := t.newSocket([]net.PacketConn{udp}, nil)
	t.sockets = append(t.sockets, another)
	return another
}

// drop ends a session's use of a socket. It returns a socket that nobody uses any
// more, to be closed. t.mu is held.
func (t *Transport) drop(used *socket) (unused *socket) {
	used.users--
	if used.users > 0 || used == t.sockets[0] {
		return nil
	}
	t.sockets = slices.DeleteFunc(t.sockets, func(s *socket) bool { return s == used })
	return used
}

// knows reports whether a connection runs, or is being made, to one of peer.
func (s *socket) knows(peer []netip.AddrPort) bool {
	for _, addr := range peer {
		if s.claims[addr] > 0 || s.mux.busy(addr) || s.relays.busy(addr) {
			return true
		}
	}
	return false
}

func (s *socket) claim(peer []netip.AddrPort) {
	for _, addr := range peer {
		s.claims[addr]++
	}
}

func (s *socket) unclaim(peer []netip.AddrPort) {
	for _, addr := range peer {
		if s.claims[addr]--; s.claims[addr] <= 0 {
			delete(s.claims, addr)
		}
	}
}
