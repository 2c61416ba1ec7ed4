//go:build !linux

package transport

import "net"

// sender sends the packets of batches one by one.
type sender struct{ conn *net.UDPConn }

func newSender(conn *net.UDPConn) *sender { return &sender{conn} }

func (s *sender) send(b *Batch) error { return sendPlain(s.conn, b.data, b.packets) }
