package transport

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// listenAttempts bounds the search for a port number that is free for both TCP
// and UDP. Each attempt takes a TCP port that the system chose.
const listenAttempts = 32

// ListenTCP listens for peers at host:port. An empty host is every interface, with
// IPv4 and IPv6; port 0 is any. With fallback, any free port is taken when the
// one asked for is in use.
func ListenTCP(host string, port int, fallback bool) (net.Listener, error) {
	ln, err := listenTCP(host, port)
	if err != nil && fallback && port != 0 && errors.Is(err, errInUse) {
		ln, err = listenTCP(host, 0)
	}
	return ln, err
}

// ListenUDP opens the UDP socket at host:port; see [ListenTCP] for their meaning.
func ListenUDP(host string, port int) (*UDPSocket, error) {
	pc, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, listenError("UDP", port, err)
	}
	return NewUDPSocket(pc.(*net.UDPConn)), nil
}

// ListenBoth listens at the same port number for TCP and UDP. With fallback, or
// when port is 0, it looks for a number that is free for both; else it fails when
// either is in use.
func ListenBoth(host string, port int, fallback bool) (net.Listener, *UDPSocket, error) {
	var err error
	for range listenAttempts {
		var ln net.Listener
		var udp *UDPSocket
		if ln, err = listenTCP(host, port); err == nil {
			if udp, err = ListenUDP(host, ln.Addr().(*net.TCPAddr).Port); err == nil {
				return ln, udp, nil
			}
			ln.Close()
		}
		if !errors.Is(err, errInUse) || port != 0 && !fallback {
			break
		}
		port = 0
	}
	return nil, nil, err
}

func listenTCP(host string, port int) (net.Listener, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, listenError("TCP", port, err)
	}
	return ln, nil
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
