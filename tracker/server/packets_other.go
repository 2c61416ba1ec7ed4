//go:build !linux

package server

import (
	"net"
	"net/netip"
)

func (s *Server) servePackets(conn net.PacketConn, other func([]byte, netip.AddrPort)) error {
	if udp, ok := conn.(*net.UDPConn); ok {
		_ = udp.SetReadBuffer(udpBuffer)
	}
	return s.servePlain(conn, other)
}
