package discovery

import (
	"context"
	"net"
	"net/netip"
)

// Network is how discovery reaches the outside, apart from the socket that the DHT is
// handed. A nil one means package net, and that everybody may name any address.
type Network interface {
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	Interfaces() ([]net.Interface, error)
	// MayName says whether what speaker told us (the zero Addr: an unknown stranger) may
	// have us send to named.
	MayName(speaker, named netip.Addr) bool
}

// plainNetwork is package net.
type plainNetwork struct{}

func (plainNetwork) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var c net.ListenConfig
	return c.ListenPacket(ctx, network, address)
}

func (plainNetwork) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}

func (plainNetwork) Interfaces() ([]net.Interface, error) { return net.Interfaces() }

func (plainNetwork) MayName(_, _ netip.Addr) bool { return true }

func orPlain(n Network) Network {
	if n == nil {
		return plainNetwork{}
	}
	return n
}
