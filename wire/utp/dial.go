package utp

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// errTooMany is returned when no number is left for a connection to an address.
var errTooMany = errors.New("too many uTP connections to one address")

// DialContext connects to addr.
func (s *Socket) DialContext(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	c, err := s.open(addr)
	if err != nil {
		return nil, s.opError("dial", addr, err)
	}
	select {
	case <-c.ready:
	case <-ctx.Done():
		c.abort(context.Cause(ctx))
		return nil, s.opError("dial", addr, ctx.Err())
	}
	if err := c.failed(); err != nil {
		return nil, s.opError("dial", addr, err)
	}
	return c, nil
}

// attempts bounds the search for a free connection number.
const attempts = 64

func (s *Socket) open(addr netip.AddrPort) (*Conn, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, net.ErrClosed
	}
	for range attempts {
		id := random16()
		if s.conns[keyOf(addr, id)] != nil || s.conns[keyOf(addr, id+1)] != nil {
			continue
		}
		c := newConn(s, addr, id, id+1)
		s.conns[c.key] = c
		s.mu.Unlock()
		c.connect()
		return c, nil
	}
	s.mu.Unlock()
	return nil, errTooMany
}
