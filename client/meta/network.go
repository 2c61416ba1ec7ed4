package meta

import (
	"context"
	"net"
	"net/http"
	"net/netip"

	"github.com/causeway-bt/causeway/client/network"
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

// orPlain returns n, or the net package with the same policy.
func orPlain(n Network) Network {
	if n != nil {
		return n
	}
	plain, err := network.New(network.Config{})
	if err != nil {
		panic(err) // it has nothing to go wrong with
	}
	return plain
}
