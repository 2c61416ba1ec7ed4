package server

import (
	"errors"
	"net"
	"net/netip"
)

// udpBuffer is how many bytes of packets the system is asked to hold for us: bursts of
// announces that come at once.
const udpBuffer = 4 << 20

// ServePacket answers UDP announces and scrapes that come to a socket, until the socket
// or the Server is closed. On Linux it reads and writes many packets with one system
// call. It can be called for several sockets, or several times for one.
func (s *Server) ServePacket(conn net.PacketConn) error { return s.ServePacketShared(conn, nil) }

// ServePacketShared is ServePacket for a socket that others use, too: packets that are not
// IsPacket go to other, which must return soon and not keep the slice.
func (s *Server) ServePacketShared(conn net.PacketConn, other func(b []byte, from netip.AddrPort)) error {
	if !s.track(conn) {
		return errClosed
	}
	defer s.forget(conn)
	if other == nil {
		other = func([]byte, netip.AddrPort) { s.stats.UDP.Malformed.Add(1) }
	}
	err := s.servePackets(conn, other)
	if errors.Is(err, net.ErrClosed) {
		return errClosed
	}
	return err
}

// udpRead is the largest packet that is read whole: a scrape has at most 1496 bytes,
// STUN and TURN less than 2048.
const udpRead = 2048

// servePlain reads and answers packets one by one.
func (s *Server) servePlain(conn net.PacketConn, other func([]byte, netip.AddrPort)) error {
	var b [udpRead]byte
	var reply [UDPReply]byte
	w, _ := conn.(PacketWriter)
	if w == nil {
		w = plainWriter{conn}
	}
	udp, _ := conn.(*net.UDPConn)
	for {
		var n int
		var from netip.AddrPort
		var err error
		if udp != nil {
			n, from, err = udp.ReadFromUDPAddrPort(b[:])
		} else {
			var addr net.Addr
			n, addr, err = conn.ReadFrom(b[:])
			if a, ok := addr.(interface{ AddrPort() netip.AddrPort }); ok {
				from = a.AddrPort()
			}
		}
		if err != nil {
			if transient(err) {
				continue
			}
			return err
		}
		if !IsPacket(b[:n]) {
			other(b[:n], from)
			continue
		}
		if n = s.HandlePacket(w, b[:n], from, reply[:]); n > 0 {
			_, _ = w.WriteToUDPAddrPort(reply[:n], from)
		}
	}
}

// plainWriter lets any PacketConn be a PacketWriter.
type plainWriter struct{ net.PacketConn }

func (w plainWriter) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return w.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

// transient says whether a socket can be read on: an error of an earlier packet that was
// sent (ICMP, which some systems report here), or a packet too large for the buffer.
func transient(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	var sys interface{ Temporary() bool }
	return refused(err) || (errors.As(err, &sys) && sys.Temporary() && !isTimeout(err))
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
