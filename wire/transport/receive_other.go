//go:build !linux

package transport

import (
	"net"
	"net/netip"
	"time"
)

// drains says that one wake-up reads all the packets that wait.
const drains = false

// receiver reads one packet at a time.
type receiver struct {
	conn   *net.UDPConn
	buffer []byte
}

func newReceiver(conn *net.UDPConn) *receiver {
	return &receiver{conn: conn, buffer: make([]byte, maxDatagram)}
}

// stampArrivals does nothing here: packets come when they are read, which is at once.
func stampArrivals(*net.UDPConn) {}

// receive waits for a packet and hands it over.
func (r *receiver) receive(deliver func([]byte, netip.AddrPort, time.Time)) (packets int, err error) {
	n, from, err := r.conn.ReadFromUDPAddrPort(r.buffer)
	if err != nil {
		return 0, err
	}
	deliver(r.buffer[:n], from, time.Now())
	return 1, nil
}
