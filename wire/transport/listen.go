package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"syscall"
)

// listenAttempts bounds the search for a port number that is free for both TCP
// and UDP. Each attempt takes a TCP port that the system chose.
const listenAttempts = 32

// ListenOptions say where to listen. The zero value is any port on every interface.
type ListenOptions struct {
	// Host is the address; empty is every interface, with IPv4 and IPv6.
	Host string
	// Port is for TCP and UDP alike; 0 is any. With Fallback, any free port is taken when it is in
	// use.
	Port     int
	Fallback bool
	// Network opens the sockets; nil: package net.
	Network Network
	// Logger receives panics over packets; nil means none.
	Logger *slog.Logger
}

// ListenTCP listens for peers.
func ListenTCP(o ListenOptions) (net.Listener, error) {
	ln, err := listenTCP(o, o.Port)
	if err != nil && o.Fallback && o.Port != 0 && errors.Is(err, errInUse) {
		ln, err = listenTCP(o, 0)
	}
	return ln, err
}

// ListenUDP opens the UDP socket, at o.Port itself.
func ListenUDP(o ListenOptions) (*UDPSocket, error) { return listenUDP(o, o.Port) }

// ListenBoth listens at the same port number for TCP and UDP. With Fallback, or
// when Port is 0, it looks for a number that is free for both; else it fails when
// either is in use.
func ListenBoth(o ListenOptions) (net.Listener, *UDPSocket, error) {
	var err error
	port := o.Port
	for range listenAttempts {
		var ln net.Listener
		var udp *UDPSocket
		if ln, err = listenTCP(o, port); err == nil {
			if udp, err = listenUDP(o, portOf(ln.Addr())); err == nil {
				return ln, udp, nil
			}
			ln.Close()
		}
		if !errors.Is(err, errInUse) || port != 0 && !o.Fallback {
			break
		}
		port = 0
	}
	return nil, nil, err
}

// portOf returns the port of a listener of TCP.
func portOf(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

func listenTCP(o ListenOptions, port int) (net.Listener, error) {
	ln, err := orPlain(o.Network).Listen(context.Background(), "tcp", net.JoinHostPort(o.Host, strconv.Itoa(port)))
	if err != nil {
		return nil, listenError("TCP", port, err)
	}
	return ln, nil
}

func listenUDP(o ListenOptions, port int) (*UDPSocket, error) {
	pc, err := orPlain(o.Network).ListenPacket(context.Background(), "udp", net.JoinHostPort(o.Host, strconv.Itoa(port)))
	if err != nil {
		return nil, listenError("UDP", port, err)
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return nil, fmt.Errorf("listening on UDP port %d: want a *net.UDPConn, not a %T", port, pc)
	}
	return newUDPSocket(udp, o.Logger), nil
}

// errInUse is EADDRINUSE, which Windows numbers differently.
var errInUse = errors.New("port in use")

// wsaeaddrinuse is what Windows reports for EADDRINUSE.
const wsaeaddrinuse = syscall.Errno(10048)

func listenError(network string, port int, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaeaddrinuse) {
		return fmt.Errorf("%s port %d is in use by another program; use --port 0 for any free port (%w: %w)", network, port, errInUse, err)
	}
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("no permission to listen on %s port %d; use a port above 1023, or --port 0 for any (%w)", network, port, err)
	}
	return fmt.Errorf("listening on %s port %d: %w", network, port, err)
}
