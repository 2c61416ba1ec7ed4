//go:build !linux

package transport

import (
	"net"
	"net/netip"
)

const groControl = 0

func enableGRO(*net.UDPConn) {}

// readSegments reads one packet.
func readSegments(conn *net.UDPConn, b, _ []byte) (n, size int, from netip.AddrPort, err error) {
	n, from, err = conn.ReadFromUDPAddrPort(b)
	return n, n, from, err
}
