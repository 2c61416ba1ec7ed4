package webrtcwire

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// pionNet is a Network as pion has it, for the connections to TURN servers. What we do not use, to
// listen for TCP and to dial by ways of its own, it refuses.
type pionNet struct{ Network }

var _ transport.Net = pionNet{}

var errNotUsed = fmt.Errorf("webrtcwire: %w", errors.ErrUnsupported)

func (n pionNet) ListenPacket(network, address string) (net.PacketConn, error) {
	return n.Network.ListenPacket(context.Background(), network, address)
}

func (n pionNet) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	address := ":0"
	if local != nil {
		address = local.String()
	}
	return listenUDP(n.Network, network, address)
}

func (n pionNet) ListenTCP(string, *net.TCPAddr) (transport.TCPListener, error) {
	return nil, errNotUsed
}

func (n pionNet) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	return n.DialContext(ctx, network, address)
}

func (n pionNet) DialUDP(network string, _, remote *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := n.Dial(network, remote.String())
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("want a *net.UDPConn, not a %T", conn), conn.Close())
	}
	return udp, nil
}

func (n pionNet) DialTCP(network string, _, remote *net.TCPAddr) (transport.TCPConn, error) {
	conn, err := n.Dial(network, remote.String())
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		return impatientTCP{tcp}, nil
	}
	return impatientTCP{proxiedTCP{conn}}, nil
}

// impatientTCP ends with a Write that takes longer than tcpWriteTimeout: pion would wait for as long
// as the system, minutes, also to close.
type impatientTCP struct{ transport.TCPConn }

func (c impatientTCP) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(tcpWriteTimeout)) // fails with the connection
	n, err := c.TCPConn.Write(b)
	if err != nil {
		_ = c.Close() // half a message may have gone
	}
	return n, err
}

func (n pionNet) ResolveIPAddr(string, string) (*net.IPAddr, error) { return nil, errNotUsed }

func (n pionNet) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	addr, err := n.resolve(network, address)
	if err != nil {
		return nil, err
	}
	return net.UDPAddrFromAddrPort(addr), nil
}

func (n pionNet) ResolveTCPAddr(network, address string) (*net.TCPAddr, error) {
	addr, err := n.resolve(network, address)
	if err != nil {
		return nil, err
	}
	return net.TCPAddrFromAddrPort(addr), nil
}

func (n pionNet) resolve(network, address string) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	return resolve(ctx, n.Network, network, address)
}

func (n pionNet) Interfaces() ([]*transport.Interface, error) {
	interfaces, err := n.Network.Interfaces()
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

func (n pionNet) CreateDialer(*net.Dialer) transport.Dialer { return n }

func (n pionNet) CreateListenConfig(*net.ListenConfig) transport.ListenConfig {
	return pionListenConfig(n)
}

// pionListenConfig is pionNet with contexts.
type pionListenConfig struct{ Network }

func (c pionListenConfig) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, errNotUsed
}

// proxiedTCP is a connection through a proxy, where TCP's own settings are not ours to make.
type proxiedTCP struct{ net.Conn }

func (c proxiedTCP) LocalAddr() net.Addr {
	if tcp, ok := c.Conn.LocalAddr().(*net.TCPAddr); ok {
		return tcp
	}
	return &net.TCPAddr{IP: net.IPv4zero} // pion insists on one
}

func (c proxiedTCP) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}
func (proxiedTCP) CloseRead() error                       { return nil }
func (proxiedTCP) CloseWrite() error                      { return nil }
func (proxiedTCP) SetLinger(int) error                    { return nil }
func (proxiedTCP) SetKeepAlive(bool) error                { return nil }
func (proxiedTCP) SetKeepAlivePeriod(time.Duration) error { return nil }
func (proxiedTCP) SetNoDelay(bool) error                  { return nil }
func (proxiedTCP) SetWriteBuffer(int) error               { return nil }
func (proxiedTCP) SetReadBuffer(int) error                { return nil }
