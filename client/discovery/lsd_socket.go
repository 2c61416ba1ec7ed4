package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

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

func multicastOptions(group netip.AddrPort, conn *net.UDPConn) multicast {
	if group.Addr().Is4() {
		return ipv4.NewPacketConn(conn)
	}
	return ipv6.NewPacketConn(conn)
}

func networkOf(group netip.AddrPort) string {
	if group.Addr().Is4() {
		return "udp4"
	}
	return "udp6"
}

// groupSocket is a member of one group on some interfaces. It listens on one socket and
// sends from one for each interface, bound to that interface's address: libtorrent
// ignores announces that do not come from the network it listens on, and Linux would
// put another interface's address on what is sent on loopback.
type groupSocket struct {
	*net.UDPConn
	group   netip.AddrPort
	senders []*net.UDPConn
}

// joinGroup fails when the group cannot be joined on any of the interfaces.
func joinGroup(group netip.AddrPort, interfaces []net.Interface) (*groupSocket, error) {
	s := &groupSocket{group: group}
	var errs []error
	for _, ifi := range interfaces {
		if err := s.join(&ifi); err != nil {
			errs = append(errs, fmt.Errorf("joining %v on %s: %w", group.Addr(), ifi.Name, err))
		}
	}
	if len(s.senders) == 0 {
		if s.UDPConn != nil {
			s.Close()
		}
		return nil, errors.Join(append(errs, errNoInterface)...)
	}
	return s, nil
}

var errNoInterface = errors.New("no network interface for multicast")

func (s *groupSocket) join(ifi *net.Interface) error {
	sender, err := openSender(s.group, ifi)
	if err != nil {
		return err
	}
	if s.UDPConn == nil {
		// Shares the port with other programs.
		s.UDPConn, err = net.ListenMulticastUDP(networkOf(s.group), ifi, net.UDPAddrFromAddrPort(s.group))
	} else {
		err = multicastOptions(s.group, s.UDPConn).JoinGroup(ifi, &net.UDPAddr{IP: s.group.Addr().AsSlice()})
	}
	if err != nil {
		sender.Close()
		return err
	}
	s.senders = append(s.senders, sender)
	return nil
}

func openSender(group netip.AddrPort, ifi *net.Interface) (*net.UDPConn, error) {
	ip, err := addressOn(ifi, group.Addr().Is4())
	if err != nil {
		return nil, err
	}
	sender, err := net.ListenUDP(networkOf(group), net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		return nil, err
	}
	options := multicastOptions(group, sender)
	// Other clients on this host are local peers, too.
	err = errors.Join(options.SetMulticastInterface(ifi), options.SetMulticastLoopback(true))
	if err != nil {
		sender.Close()
		return nil, err
	}
	return sender, nil
}

// addressOn returns an interface's first address of a family.
func addressOn(ifi *net.Interface, ipv4 bool) (netip.Addr, error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().Is4() != ipv4 {
			continue
		}
		if ip := prefix.Addr(); ip.Is4() || !ip.IsLinkLocalUnicast() {
			return ip, nil
		}
		return prefix.Addr().WithZone(ifi.Name), nil
	}
	return netip.Addr{}, errors.New("it has no address of this kind")
}

func (s *groupSocket) host() string { return s.group.String() }

func (s *groupSocket) send(b []byte) error {
	var errs []error
	for _, sender := range s.senders {
		if _, err := sender.WriteToUDPAddrPort(b, s.group); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *groupSocket) Close() error {
	for _, sender := range s.senders {
		sender.Close()
	}
	return s.UDPConn.Close()
}

// multicastInterfaces returns those that are up and have multicast, and loopback, for the
// clients on this host that listen there only.
func multicastInterfaces() []net.Interface {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(ifi net.Interface) bool {
		return ifi.Flags&net.FlagUp == 0 || ifi.Flags&(net.FlagMulticast|net.FlagLoopback) == 0
	})
}
