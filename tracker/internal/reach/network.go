// Package reach is how this project's trackers are reached, whatever they speak: the
// network that is handed down, HTTP redirects that must not reach in, URLs as people
// write them, and errors in words.
//
//	visit := reach.NewVisit(ctx, network, log, "tcp")
//	defer visit.Close()
//	res, err := visit.Client().Do(request)   // reach.Explain(err) is for people
package reach

import (
	"context"
	"net"
	"net/http"
	"net/netip"
)

// Network is the way to the outside world. Its methods are called from several
// goroutines.
type Network interface {
	// DialContext is as in net.Dialer; networks are tcp, tcp4, tcp6, udp, udp4 and
	// udp6, addresses host:port with a name or an IP address.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)

	// LookupNetIP is as in net.Resolver; the network is ip, ip4 or ip6.
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)

	// HTTPTransport returns a transport whose proxy and TLS settings are used. It is
	// cloned, and dials with DialContext.
	HTTPTransport() *http.Transport

	// MayName is the address policy: whether what speaker (the zero Addr: an unknown
	// stranger) says may send us to named.
	MayName(speaker, named netip.Addr) bool
}

// System is the network of package net, with proxies from the environment.
type System struct{}

// DialContext implements Network.
func (System) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// LookupNetIP implements Network.
func (System) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}

// HTTPTransport implements Network.
func (System) HTTPTransport() *http.Transport {
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}

// MayName lets everybody name addresses that are no more inner than his own.
func (System) MayName(speaker, named netip.Addr) bool {
	return outerness(named) >= outerness(speaker)
}

// outerness orders addresses from this machine to the world. The zero Addr is
// anybody out there.
func outerness(a netip.Addr) int {
	switch a = a.Unmap(); {
	case !a.IsValid():
		return 3
	case a.IsLoopback(), a.IsUnspecified():
		return 0
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a == broadcast:
		return 1
	case a.IsPrivate(), carrierNAT.Contains(a):
		return 2
	}
	return 3
}

var (
	broadcast  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	carrierNAT = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
)

// AddrOf returns the IP address of a socket's end, the zero Addr if it has none.
func AddrOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
