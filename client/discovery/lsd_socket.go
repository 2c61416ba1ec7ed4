package discovery

import (
	"context"
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
	network Network
	listen  []netip.Addr
	senders []*net.UDPConn
}

// joinGroup fails when the group cannot be joined on any of the interfaces.
func joinGroup(network Network, group netip.AddrPort, interfaces []net.Interface, listen []netip.Addr) (*groupSocket, error) {
	s := &groupSocket{group: group, network: network, listen: listen}
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
	sender, err := s.openSender(ifi)
	if err != nil {
		return err
	}
	if s.UDPConn == nil {
		// At a group's address, package net shares the port with other programs.
		s.UDPConn, err = listenUDP(s.network, networkOf(s.group), s.group)
	}
	if err == nil {
		err = multicastOptions(s.group, s.UDPConn).JoinGroup(ifi, &net.UDPAddr{IP: s.group.Addr().AsSlice()})
	}
	if err != nil {
		sender.Close()
		return err
	}
	s.senders = append(s.senders, sender)
	return nil
}

// listenUDP opens a socket.
func listenUDP(network Network, family string, at netip.AddrPort) (*net.UDPConn, error) {
	pc, err := network.ListenPacket(context.Background(), family, at.String())
	if err != nil {
		return nil, err
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return nil, fmt.Errorf("multicast needs a UDP socket, not a %T", pc)
	}
	return udp, nil
}

func (s *groupSocket) openSender(ifi *net.Interface) (*net.UDPConn, error) {
	ip, err := s.addressOn(ifi)
	if err != nil {
		return nil, err
	}
	sender, err := listenUDP(s.network, networkOf(s.group), netip.AddrPortFrom(ip, 0))
	if err != nil {
		return nil, err
	}
	options := multicastOptions(s.group, sender)
	// Other clients on this host are local peers, too.
	err = errors.Join(options.SetMulticastInterface(ifi), options.SetMulticastLoopback(true))
	if err != nil {
		sender.Close()
		return nil, err
	}
	return sender, nil
}

// addressOn returns an interface's first address of the group's family at which we listen.
func (s *groupSocket) addressOn(ifi *net.Interface) (netip.Addr, error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	ipv4 := s.group.Addr().Is4()
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().Is4() != ipv4 || !listensAt(s.listen, prefix.Addr()) {
			continue
		}
		if ip := prefix.Addr(); ip.Is4() || !ip.IsLinkLocalUnicast() {
			return ip, nil
		}
		return prefix.Addr().WithZone(ifi.Name), nil
	}
	return netip.Addr{}, errors.New("it has no address of this kind")
}

// listensAt says whether ip is one of the addresses that are listened at.
func listensAt(listen []netip.Addr, ip netip.Addr) bool {
	if len(listen) == 0 {
		return true
	}
	return slices.ContainsFunc(listen, func(l netip.Addr) bool {
		l = l.Unmap()
		// The unspecified address of IPv6 stands for both families.
		return l.IsUnspecified() && (l.Is6() || ip.Is4()) || l.WithZone("") == ip
	})
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
func multicastInterfaces(network Network) []net.Interface {
	all, err := network.Interfaces()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(ifi net.Interface) bool {
		return ifi.Flags&net.FlagUp == 0 || ifi.Flags&(net.FlagMulticast|net.FlagLoopback) == 0
	})
}
