package relay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/pion/turn/v5"
	"golang.org/x/time/rate"
)

// portTries is how many ports are tried for an allocation before it is refused.
const portTries = 32

// generator makes the sockets of allocations.
type generator struct {
	server    *Server
	client    func() (from, at netip.AddrPort) // who asks, and at which of our addresses
	allocated func(more int)                   // told of each; may be nil
}

var _ turn.RelayAddressGenerator = (*generator)(nil)

func (g *generator) Validate() error { return nil }

// AllocatePacketConn opens a relayed port.
func (g *generator) AllocatePacketConn(ask turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	from, at := g.client()
	bind, public, err := g.server.address(ask.Network, at.Addr())
	if err != nil {
		return nil, nil, err
	}
	conn, err := g.server.listen(ask.Network, bind, ask.RequestedPort)
	if err != nil {
		return nil, nil, err
	}
	bound := addrPort(conn.LocalAddr())
	if ask.UserID == "" { // pion looks for a free port with an even number
		return conn, net.UDPAddrFromAddrPort(bound), nil
	}
	user, err := g.server.quota.take(ask.UserID, from.Addr())
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	if g.allocated != nil {
		g.allocated(1)
	}
	return g.server.newAllocation(conn, user, netip.AddrPortFrom(public, bound.Port()), func() {
		g.server.quota.give(ask.UserID, from.Addr())
		if g.allocated != nil {
			g.allocated(-1)
		}
	})
}

// AllocateListener and AllocateConn would relay TCP (RFC 6062), which WebRTC has no use for.
func (g *generator) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCP
}

func (g *generator) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCP }

var errNoTCP = errors.New("relay: only UDP is relayed")

func (s *Server) newAllocation(conn net.PacketConn, user *rate.Limiter, public netip.AddrPort, release func()) (net.PacketConn, net.Addr, error) {
	bound := addrPort(conn.LocalAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		release()
		return nil, nil, net.ErrClosed
	}
	s.wg.Add(1)
	a := &allocation{
		PacketConn: conn, server: s, public: public, bound: bound, user: user,
		release: release, closed: make(chan struct{}), ended: s.wg.Done,
	}
	a.end = time.AfterFunc(math.MaxInt64, func() { a.Close() })
	a.end.Reset(s.config.Limits.Lifetime) // not before a.end is set, which Close uses
	s.relays.add(public, bound)
	return a, net.UDPAddrFromAddrPort(public), nil
}

// address says where to bind a relayed port, and what to tell the client of it, who reached us
// at an address.
func (s *Server) address(network string, at netip.Addr) (bind, public netip.Addr, err error) {
	v4 := network == "udp4"
	for _, a := range s.config.Public {
		if a = a.Unmap(); a.Is4() == v4 {
			public = a
		}
	}
	at = at.Unmap()
	switch {
	case at.IsValid() && !at.IsUnspecified() && at.Is4() == v4:
		bind = at
	case !public.IsValid():
		return bind, public, fmt.Errorf("relay: no address of %s to relay from", network)
	case v4:
		bind = netip.IPv4Unspecified()
	default:
		bind = netip.IPv6Unspecified()
	}
	if !public.IsValid() {
		public = bind
	}
	return bind, public.WithZone(""), nil
}

// listen opens a port, any of the range if none is asked for.
func (s *Server) listen(network string, bind netip.Addr, port int) (conn net.PacketConn, err error) {
	low, high := int(s.config.MinPort), int(s.config.MaxPort)
	if port != 0 {
		if port < low || port > high {
			return nil, fmt.Errorf("relay: port %d is not from %d to %d", port, low, high)
		}
		return s.config.Network.ListenPacket(context.Background(), network, netip.AddrPortFrom(bind, uint16(port)).String())
	}
	for range portTries {
		port = low + rand.IntN(high-low+1)
		conn, err = s.config.Network.ListenPacket(context.Background(), network, netip.AddrPortFrom(bind, uint16(port)).String())
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}
