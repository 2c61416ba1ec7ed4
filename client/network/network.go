// Package network is how the program reaches the outside world: it dials, listens,
// resolves names, gives transports for HTTP and lists interfaces, and it says which
// addresses a stranger may send us to. One Network is handed to all that touch the
// network, so that binding to an address has one place.
//
//	n, err := network.New(network.Config{Bind: addrs})
//	conn, err := n.DialContext(ctx, "tcp", "tracker.example:80")
//	if n.MayName(nodeAddr, peerAddr) { dial(peerAddr) }
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config configures a Network. The zero Config leaves everything to the system.
type Config struct {
	// Bind are the addresses that everything comes from, at most one of each family
	// (IPv4, IPv6): a family without one is not used at all. Empty: the system
	// chooses.
	Bind []netip.Addr
}

// Network is a way to the outside world. Its methods may be called from any
// goroutine.
type Network struct {
	v4, v6 netip.Addr // to dial from; zero: as the system likes, or with bound not at all
	bound  bool
}

// New returns a Network.
func New(cfg Config) (*Network, error) {
	n := &Network{bound: len(cfg.Bind) > 0}
	for _, a := range cfg.Bind {
		a = a.Unmap()
		own := &n.v6
		if a.Is4() {
			own = &n.v4
		}
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
			return nil, fmt.Errorf("%v is no address to bind to", a)
		case own.IsValid():
			return nil, fmt.Errorf("both %v and %v are to be bound to; one of each family can be", *own, a)
		}
		*own = a
	}
	return n, nil
}

const (
	// dialTimeout is for a connection attempt whose context has no earlier end.
	dialTimeout = 20 * time.Second
	// keepAlive is how often TCP looks whether the other side is there.
	keepAlive = 30 * time.Second
	// idleConnections and idleTimeout bound what an HTTP transport keeps open.
	idleConnections = 8
	idleTimeout     = 30 * time.Second
	headerTimeout   = 30 * time.Second
	maxHeaderBytes  = 64 << 10
)

// errFamily says that a family of addresses is not to be used.
var errFamily = errors.New("nothing of its address family was chosen with --listen")

// local returns the address to reach another from: zero, where the system chooses.
func (n *Network) local(to netip.Addr) (netip.Addr, error) {
	own := n.v6
	if to = to.Unmap(); to.Is4() {
		own = n.v4
	}
	if n.bound && !own.IsValid() {
		return own, fmt.Errorf("reaching %v: %w", to, errFamily)
	}
	return own, nil
}

// Uses returns an error if nothing goes to addresses of a's family.
func (n *Network) Uses(a netip.Addr) error {
	_, err := n.local(a)
	return err
}

// DialContext connects to host:port; network is "tcp", "udp" or one of these with 4
// or 6 behind it. Names are looked up, and their addresses tried one after the other
// and in both families side by side (RFC 8305). With a context of [From], addresses
// are left out that its speaker may not name.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	if speaker, told := ctx.Value(speakerKey{}).(netip.Addr); told {
		d.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil || !n.MayName(speaker, to.Addr()) {
				return &ForbiddenError{resolved}
			}
			return nil
		}
	}
	if !n.bound {
		return d.DialContext(ctx, network, address)
	}
	return n.dialBound(ctx, d, network, address)
}

// dialBound dials from the bound addresses only.
func (n *Network) dialBound(ctx context.Context, d net.Dialer, network, address string) (net.Conn, error) {
	var errs []error
	for _, own := range []netip.Addr{n.v4, n.v6} {
		family := map[bool]string{true: "4", false: "6"}[own.Is4()]
		if !own.IsValid() || strings.HasSuffix(network, "4") != own.Is4() && strings.ContainsAny(network, "46") {
			continue
		}
		if strings.HasPrefix(network, "udp") {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 0))
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(own, 0))
		}
		conn, err := d.DialContext(ctx, strings.TrimRight(network, "46")+family, address)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("dialing %s: %w", address, errFamily)
	}
	return nil, errors.Join(errs...)
}

// Listen listens for TCP at host:port; an empty host is all that is bound to.
func (n *Network) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	address, err := n.here(address)
	if err != nil {
		return nil, err
	}
	var c net.ListenConfig
	return c.Listen(ctx, network, address)
}

// ListenPacket opens a UDP socket, a *net.UDPConn, at host:port.
func (n *Network) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	address, err := n.here(address)
	if err != nil {
		return nil, err
	}
	var c net.ListenConfig
	return c.ListenPacket(ctx, network, address)
}

// here puts the bound address in the place of an empty or unspecified host.
func (n *Network) here(address string) (string, error) {
	if !n.bound {
		return address, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if own, err := netip.ParseAddr(host); host != "" && (err != nil || !own.IsUnspecified()) {
		return address, nil
	}
	own := n.v4
	if !own.IsValid() || strings.Contains(host, ":") && n.v6.IsValid() {
		own = n.v6
	}
	return net.JoinHostPort(own.String(), port), nil
}

// Bound returns the address that everything of a family comes from, zero if the
// system chooses.
func (n *Network) Bound(v4 bool) netip.Addr {
	if v4 {
		return n.v4
	}
	return n.v6
}

// Addresses far away, one of each family, to which nothing is sent: the former anycast address of
// 6to4 (RFC 7526), on nobody's own network, and one in a prefix that the whole of IPv6 is routed
// by.
const (
	far4 = "192.88.99.1:9"
	far6 = "[2000::1]:9"
)

// Outgoing returns the address by which the world would be reached in a family. An error says
// that there is no way.
func (n *Network) Outgoing(v4 bool) (netip.Addr, error) {
	network, far := "udp6", far6
	if v4 {
		network, far = "udp4", far4
	}
	conn, err := n.DialContext(context.Background(), network, far)
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), nil
}

// LookupNetIP resolves a name; network is "ip", "ip4" or "ip6". Addresses of a family
// that is not used are left out.
func (n *Network) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	all, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, err
	}
	usable := all[:0]
	for _, a := range all {
		if _, err := n.local(a); err == nil {
			usable = append(usable, a.Unmap())
		}
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("%s: %w", host, errFamily)
	}
	return usable, nil
}

// HTTPTransport returns a new transport that dials through n. Its idle connections
// are the caller's to close. A proxy of the environment is used as package net/http
// does, unless everything is bound to an address.
func (n *Network) HTTPTransport() *http.Transport {
	t := &http.Transport{
		DialContext:            n.DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        idleTimeout,
		ForceAttemptHTTP2:      true,
	}
	if !n.bound {
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

// Interfaces lists the interfaces that are used: all, or those with a bound address.
func (n *Network) Interfaces() ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil || !n.bound {
		return all, err
	}
	var used []net.Interface
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && (p.Addr().Unmap() == n.v4 || p.Addr() == n.v6) {
				used = append(used, i)
				break
			}
		}
	}
	return used, nil
}

// ParseBind reads the addresses of --listen: "" none, else one address, or one of
// each family with a comma between. A name is looked up.
func ParseBind(list string) (bind []netip.Addr, err error) {
	for host := range strings.SplitSeq(list, ",") {
		host = strings.Trim(strings.TrimSpace(host), "[]")
		if host == "" {
			continue
		}
		a, err := netip.ParseAddr(host)
		if err != nil {
			found, lookupErr := net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
			if lookupErr != nil {
				return nil, fmt.Errorf("%s is no address: %w", strconv.Quote(host), lookupErr)
			}
			a = found[0].Unmap()
		}
		if !a.IsUnspecified() {
			bind = append(bind, a)
		}
	}
	return bind, nil
}
