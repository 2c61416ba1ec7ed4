package client

import (
	"net"
	"testing"

	"github.com/causeway-bt/causeway/client/swarm"
)

// connFrom is a connection that comes from an address.
type connFrom struct {
	net.Conn
	addr net.Addr
}

func (c connFrom) RemoteAddr() net.Addr { return c.addr }

// TestWhoCameByTCP: only TCP from another network shows that our port can be connected to.
func TestWhoCameByTCP(t *testing.T) {
	c := newClient(t, plain(t))
	for _, test := range []struct {
		kind swarm.Transport
		from net.Addr
		want int // who have come by then
	}{
		{swarm.UTP, &net.UDPAddr{IP: net.IPv4(5, 5, 5, 5), Port: 1}, 0},
		{swarm.TCP, &net.TCPAddr{IP: net.IPv4(192, 168, 1, 5), Port: 1}, 0},
		{swarm.TCP, &net.TCPAddr{IP: net.IPv4(5, 5, 5, 5), Port: 1}, 1},
	} {
		c.cameFrom(connFrom{addr: test.from}, test.kind)
		if got := c.CameIn(); got != test.want {
			t.Errorf("%v from %v: %d came in, want %d", test.kind, test.from, got, test.want)
		}
		if got := c.Announced().Known4; got != (test.want > 0) {
			t.Errorf("%v from %v: the port is known to be reached: %v", test.kind, test.from, got)
		}
	}
}
