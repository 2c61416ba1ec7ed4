package transport

import (
	"context"
	"net"
)

// Dialer opens connections. A nil one means package net.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Network opens listening sockets. A nil one means package net.
type Network interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	// ListenPacket returns a *net.UDPConn.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

type plainNetwork struct{ net.ListenConfig }

func orPlain(n Network) Network {
	if n == nil {
		return &plainNetwork{}
	}
	return n
}
