package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// The groups of BEP 14: organization-local for IPv4, site-local for IPv6.
var (
	lsdGroup4 = netip.MustParseAddrPort("239.192.152.143:6771")
	lsdGroup6 = netip.MustParseAddrPort("[ff15::efc0:988f]:6771")
)

// multicast is what ipv4.PacketConn and ipv6.PacketConn have in common.
type multicast interface {
	JoinGroup(*net.Interface, net.Addr) error
	SetMulticastInterface(*net.Interface) error
	SetMulticastLoopback(bool) error
}

// groupSocket is a socket that is a member of one group on some interfaces.
type groupSocket struct {
	*net.UDPConn
	group      netip.AddrPort
	multicast  multicast
	interfaces []net.Interface

	sending sync.Mutex // held from choosing an interface to having sent on it
}

// joinGroup fails when the group cannot be joined on any of the interfaces.
func joinGroup(group netip.AddrPort, interfaces []net.Interface) (*groupSocket, error) {
	if len(interfaces) == 0 {
		return nil, errors.New("no network interface for multicast")
	}
	var errs []error
	var s *groupSocket
	for _, ifi := range interfaces {
		err := s.join(&ifi)
		if s == nil {
			s, err = listenGroup(group, &ifi)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("joining %v on %s: %w", group.Addr(), ifi.Name, err))
			continue
		}
		s.interfaces = append(s.interfaces, ifi)
	}
	if s == nil {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// listenGroup opens the socket, shared with other programs, as a member on ifi.
func listenGroup(group netip.AddrPort, ifi *net.Interface) (*groupSocket, error) {
	network := "udp6"
	if group.Addr().Is4() {
		network = "udp4"
	}
	conn, err := net.ListenMulticastUDP(network, ifi, net.UDPAddrFromAddrPort(group))
	if err != nil {
		return nil, err
	}
	s := &groupSocket{UDPConn: conn, group: group}
	if group.Addr().Is4() {
		s.multicast = ipv4.NewPacketConn(conn)
	} else {
		s.multicast = ipv6.NewPacketConn(conn)
	}
	// Go switches it off, but other clients on this host are local peers, too.
	if err := s.multicast.SetMulticastLoopback(true); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *groupSocket) join(ifi *net.Interface) error {
	if s == nil {
		return nil
	}
	return s.multicast.JoinGroup(ifi, &net.UDPAddr{IP: s.group.Addr().AsSlice()})
}

func (s *groupSocket) host() string { return s.group.String() }

func (s *groupSocket) send(b []byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	var errs []error
	for _, ifi := range s.interfaces {
		err := s.multicast.SetMulticastInterface(&ifi)
		if err == nil {
			_, err = s.WriteToUDPAddrPort(b, s.group)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ifi.Name, err))
		}
	}
	return errors.Join(errs...)
}

// multicastInterfaces returns those that are up and have multicast, without loopback
// unless there is nothing else.
func multicastInterfaces() (chosen []net.Interface) {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var loopback []net.Interface
	for _, ifi := range all {
		switch {
		case ifi.Flags&net.FlagUp == 0:
		case ifi.Flags&net.FlagLoopback != 0:
			loopback = append(loopback, ifi)
		case ifi.Flags&net.FlagMulticast != 0:
			chosen = append(chosen, ifi)
		}
	}
	if chosen == nil {
		return loopback
	}
	return chosen
}
