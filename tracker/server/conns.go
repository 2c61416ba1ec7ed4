package server

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// connections counts the open TCP connections, in all and by host. A host is what the
// table takes for one: an IPv4 address or an IPv6 network of 64 bits.
type connections struct {
	mu             sync.Mutex
	most, mostHost int
	n              int
	hosts          map[netip.Addr]int // with at least one; so no larger than n
}

func (c *connections) init(most, mostHost int) {
	c.most, c.mostHost, c.hosts = most, mostHost, make(map[netip.Addr]int)
}

// host is what counts as one host.
func host(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is6() {
		p, _ := a.WithZone("").Prefix(64)
		return p.Addr()
	}
	return a
}

// admit counts one more connection of a host; the text is why there may be none.
func (c *connections) admit(h netip.Addr) (refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.n >= c.most:
		return "too many connections in all; further ones are closed"
	case c.hosts[h] >= c.mostHost:
		return "too many connections of one host; its further ones are closed"
	}
	c.n++
	c.hosts[h]++
	return ""
}

func (c *connections) leave(h netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.hosts[h]--; c.hosts[h] <= 0 {
		delete(c.hosts, h)
	}
}

func (c *connections) open() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.n)
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	host   netip.Addr
	of     *Server
	handed atomic.Bool // to net/http
	close  sync.Once
	err    error
}

// drain has the loop that answers the connection end once it waits for a request.
func (c *counted) drain() {
	if !c.handed.Load() {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// Close closes the connection.
func (c *counted) Close() error {
	c.close.Do(func() {
		c.err = c.Conn.Close()
		c.of.conns.leave(c.host)
		c.of.forget(c)
	})
	return c.err
}
