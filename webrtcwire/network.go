package webrtcwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pion/transport/v5"
)

// Network is how a Transport reaches the outside, apart from the sockets that it is handed: STUN
// and TURN servers, mDNS, the list of interfaces. A nil one means package net.
type Network interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// ListenPacket returns a *net.UDPConn.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	Interfaces() ([]net.Interface, error)
}

type plainNetwork struct {
	net.Dialer
	net.ListenConfig
	net.Resolver
}

func (*plainNetwork) Interfaces() ([]net.Interface, error) { return net.Interfaces() }

// serverTimeout bounds reaching a TURN server: longer than any description waits for it.
const serverTimeout = 10 * time.Second

// resolve looks up host:port for a network such as "udp4".
func resolve(ctx context.Context, n Network, network, hostPort string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q: %w", port, err)
	}
	family := strings.TrimPrefix(strings.TrimPrefix(network, "udp"), "tcp") // "4", "6" or ""
	ips, err := n.LookupNetIP(ctx, "ip"+family, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, ip := range ips {
		if ip = ip.Unmap(); family == "" || ip.Is4() == (family == "4") {
			return netip.AddrPortFrom(ip, uint16(number)), nil
		}
	}
	return netip.AddrPort{}, &net.DNSError{Err: "no address of this family", Name: host}
}

// listenUDP opens a socket at an address.
func listenUDP(n Network, network, address string) (*net.UDPConn, error) {
	pc, err := n.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("want a *net.UDPConn, not a %T", pc), pc.Close())
	}
	return udp, nil
}

// interfaceAddrs lists the addresses of all interfaces.
func interfaceAddrs(n Network) ([]net.Addr, error) {
	interfaces, err := n.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []net.Addr
	for _, ifi := range interfaces {
		addrs, err := ifi.Addrs()
		if err == nil { // an interface may have gone meanwhile
			all = append(all, addrs...)
		}
	}
	return all, nil
}

// pionNet is what pion has of the network: the interfaces, and the front.
type pionNet struct{ t *Transport }

var _ transport.Net = pionNet{}

var errNotUsed = fmt.Errorf("webrtcwire: %w", errors.ErrUnsupported)

func (n pionNet) ListenPacket(network, _ string) (net.PacketConn, error) {
	front, err := n.t.ensureFront()
	if err != nil {
		return nil, err
	}
	return front.dial(network == "udp6"), nil
}

func (n pionNet) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	addr, err := netip.ParseAddrPort(address)
	if err == nil && network != "udp" && addr.Addr().Is6() != (network == "udp6") {
		err = errNotUsed
	}
	return net.UDPAddrFromAddrPort(addr), err
}

func (n pionNet) Interfaces() ([]*transport.Interface, error) {
	interfaces, err := n.t.config.Network.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []*transport.Interface
	for _, ifi := range interfaces {
		addrs, err := ifi.Addrs()
		if err != nil {
			continue // it may have gone meanwhile
		}
		of := transport.NewInterface(ifi)
		for _, addr := range addrs {
			of.AddAddress(addr)
		}
		all = append(all, of)
	}
	return all, nil
}

func (n pionNet) InterfaceByIndex(index int) (*transport.Interface, error) {
	return n.find(func(ifi *transport.Interface) bool { return ifi.Index == index })
}

func (n pionNet) InterfaceByName(name string) (*transport.Interface, error) {
	return n.find(func(ifi *transport.Interface) bool { return ifi.Name == name })
}

func (n pionNet) find(is func(*transport.Interface) bool) (*transport.Interface, error) {
	all, err := n.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, ifi := range all {
		if is(ifi) {
			return ifi, nil
		}
	}
	return nil, transport.ErrInterfaceNotFound
}

// The rest pion has no use for.

func (pionNet) ListenUDP(string, *net.UDPAddr) (transport.UDPConn, error)     { return nil, errNotUsed }
func (pionNet) ListenTCP(string, *net.TCPAddr) (transport.TCPListener, error) { return nil, errNotUsed }
func (pionNet) Dial(string, string) (net.Conn, error)                         { return nil, errNotUsed }
func (pionNet) DialUDP(string, *net.UDPAddr, *net.UDPAddr) (transport.UDPConn, error) {
	return nil, errNotUsed
}
func (pionNet) DialTCP(string, *net.TCPAddr, *net.TCPAddr) (transport.TCPConn, error) {
	return nil, errNotUsed
}
func (pionNet) ResolveIPAddr(string, string) (*net.IPAddr, error)           { return nil, errNotUsed }
func (pionNet) ResolveTCPAddr(string, string) (*net.TCPAddr, error)         { return nil, errNotUsed }
func (pionNet) CreateDialer(*net.Dialer) transport.Dialer                   { return nil }
func (pionNet) CreateListenConfig(*net.ListenConfig) transport.ListenConfig { return nil }
