package meta

import (
	"context"
	"net"
	"net/http"
	"net/netip"
)

// Network is how torrents are fetched. A nil one means the net package, and the proxy
// that the environment names.
type Network interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// LookupNetIP is as net.Resolver has it; network is "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	// HTTPTransport returns a transport, whose dialling is not used but whose proxy is.
	HTTPTransport() *http.Transport
	// MayName tells whether what speaker says (zero: an unknown stranger) may send us
	// to named: to no address that is more inner than its own.
	MayName(speaker, named netip.Addr) bool
}

// plainNetwork is the net package, with the policy that Network asks for.
type plainNetwork struct{ net.Dialer }

func (*plainNetwork) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}

func (*plainNetwork) HTTPTransport() *http.Transport {
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}

func (*plainNetwork) MayName(speaker, named netip.Addr) bool {
	return reach(named) >= reach(speaker)
}

// How far an address reaches: an inner one is smaller.
const (
	thisComputer = iota
	thisLink
	thisSite
	everywhere
)

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598: behind a provider's NAT

// reach tells how far an address reaches; that of an unknown stranger is everywhere.
func reach(addr netip.Addr) int {
	switch addr = addr.Unmap(); {
	case !addr.IsValid():
		return everywhere
	case addr.IsLoopback(), addr.IsUnspecified(): // to connect to 0.0.0.0 is to connect to oneself
		return thisComputer
	case addr.IsLinkLocalUnicast(), addr.IsMulticast():
		return thisLink
	case addr.IsPrivate(), sharedSpace.Contains(addr):
		return thisSite
	}
	return everywhere
}
