package swarm

import (
	"net/netip"

	"github.com/causeway-bt/causeway/client/discovery"
)

// announcedPort is what peers and trackers of a family are told.
func (s *Shared) announcedPort(v4 bool) uint16 {
	announced, _ := s.Reach.Announced()
	return announced.Port(v4)
}

// announcedAddr is our address in a family, as far as the world agrees on it.
func (s *Shared) announcedAddr(v4 bool) netip.Addr {
	announced, _ := s.Reach.Announced()
	return announced.Addr(v4)
}

// dhtPort is what the DHT of a family is told. While nobody knows what a NAT makes of our port,
// who takes uTP is reached at the one that the nodes see.
func (s *Shared) dhtPort(v4 bool) discovery.Port {
	announced, _ := s.Reach.Announced()
	return discovery.Port{Number: announced.Port(v4), Implied: s.DialUTP != nil && !announced.Known(v4)}
}
