//go:build !linux

package transport

import (
	"net"
	"net/netip"
)

// sender sends the packets of batches one by one.
type sender struct{ conn *net.UDPConn }

func newSender(conn *net.UDPConn) *sender { return &sender{conn} }

func (s *sender) send(b *Batch) error { return sendPlain(s.conn, b.data, b.packets) }

func (*sender) segments([]byte, int, netip.AddrPort) (n int, refused bool, err error) {
	return 0, true, nil
}
