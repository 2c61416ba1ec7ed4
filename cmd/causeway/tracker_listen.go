package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/causeway-bt/causeway/tracker/server/port"
)

// anyPortTries is how often a port is looked for that is free for TCP and UDP.
const anyPortTries = 50

// trackerSockets are what a tracker listens at.
type trackerSockets struct {
	udp   *net.UDPConn
	http  net.Listener
	ws    net.Listener // http, unless it has an address of its own
	tcp   []net.Listener
	split []*port.Splitter // over tcp
}

func (s *trackerSockets) close() {
	if s.udp != nil {
		s.udp.Close()
	}
	for _, listener := range s.tcp {
		listener.Close()
	}
}

// open listens at all addresses. What it has opened when it fails is closed.
func (f *trackerFlags) open(ctx context.Context) (s trackerSockets, err error) {
	common := net.JoinHostPort(f.listen, strconv.Itoa(f.port))
	httpAt, udpAt := orElse(f.http, common), orElse(f.udp, common)
	tries := 1
	if f.port == 0 && f.http == "" && f.udp == "" {
		tries = anyPortTries
	}
	for range tries {
		if s, err = openPair(ctx, httpAt, udpAt, tries > 1); err == nil {
			break
		}
	}
	if err != nil {
		return s, err
	}
	s.ws = s.http
	if f.ws != "" && f.ws != f.http {
		var config net.ListenConfig
		if s.ws, err = config.Listen(ctx, "tcp", f.ws); err != nil {
			s.close()
			return s, cannotListen(err)
		}
		s.tcp = append(s.tcp, s.ws)
	}
	return s, nil
}

// openPair listens for TCP and UDP, at the same port if that is what is wanted of any.
func openPair(ctx context.Context, tcp, udp string, same bool) (s trackerSockets, err error) {
	var config net.ListenConfig
	if s.http, err = config.Listen(ctx, "tcp", tcp); err != nil {
		return s, cannotListen(err)
	}
	s.tcp = []net.Listener{s.http}
	if same {
		host, _, err := net.SplitHostPort(udp)
		if err != nil {
			return s, err
		}
		udp = net.JoinHostPort(host, strconv.Itoa(portOf(s.http.Addr())))
	}
	conn, err := config.ListenPacket(ctx, "udp", udp)
	if err != nil {
		s.close()
		return s, cannotListen(err)
	}
	s.udp = conn.(*net.UDPConn) // as package net says of "udp"
	return s, nil
}

func cannotListen(err error) error {
	return fmt.Errorf("the tracker cannot listen: %w; another --port may be free", err)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func portOf(addr net.Addr) int {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	}
	return 0
}

// publicHost is how others reach this machine.
type publicHost struct {
	name      string       // as it was given, or ""
	addresses []netip.Addr // of it, at most one of each family
}

// resolvePublic looks up the addresses of --public.
func resolvePublic(ctx context.Context, name string) (p publicHost, err error) {
	if name == "" {
		return p, nil
	}
	p.name = name
	addresses := []netip.Addr{}
	if a, err := netip.ParseAddr(name); err == nil {
		addresses = append(addresses, a)
	} else if addresses, err = net.DefaultResolver.LookupNetIP(ctx, "ip", name); err != nil {
		return p, fmt.Errorf("looking up --public %s: %w", name, err)
	}
	for _, a := range addresses {
		a = a.Unmap().WithZone("")
		if !slices.ContainsFunc(p.addresses, func(other netip.Addr) bool { return other.Is4() == a.Is4() }) {
			p.addresses = append(p.addresses, a)
		}
	}
	if len(p.addresses) == 0 {
		return p, errors.New("--public has no address")
	}
	return p, nil
}

// outward is an address of the world (RFC 5737). Nothing is sent there.
var outward = netip.MustParseAddr("192.0.2.1")

// at is how one at an address reaches what listens here. The zero Addr is somebody outside.
func (p publicHost) at(listening net.Addr, from netip.Addr) string {
	host, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return listening.String()
	}
	if own, err := netip.ParseAddr(host); err == nil && own.IsUnspecified() {
		if !from.IsValid() {
			from = outward
		}
		host = ownAddress(from)
	}
	if p.name != "" {
		host = p.name
	}
	return net.JoinHostPort(host, port)
}

// ownAddress is this machine's address on the way to another, or loopback if there is none.
func ownAddress(to netip.Addr) string {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9))) // which sends nothing
	if err != nil {
		return "127.0.0.1"
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().String() // as package net says of "udp"
}
