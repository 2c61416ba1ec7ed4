package main

import (
	"net"
	"net/netip"
	"strconv"
)

// shareLinks are the addresses of a page.
type shareLinks struct {
	main  string // for everybody
	lan   string // for this network; "": none
	local string // for this machine; "": it is not listened at
	// guessed says that main is only this network's: whether it can be reached from
	// elsewhere is not known.
	guessed bool
}

// findLinks finds by which addresses others reach what listens at addr. names are those of its
// certificates.
func findLinks(f *shareFlags, addr net.Addr, secure bool, names []string) (l shareLinks) {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	port := strconv.Itoa(portOf(addr))
	at := func(host string) string {
		if (secure && port == "443") || (!secure && port == "80") {
			if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
				host = "[" + host + "]"
			}
			return scheme + host + "/"
		}
		return scheme + net.JoinHostPort(host, port) + "/"
	}
	var bound netip.Addr
	if tcp, ok := addr.(*net.TCPAddr); ok {
		bound = tcp.AddrPort().Addr().Unmap()
	}
	switch {
	case bound.IsUnspecified():
		l.local = "http://localhost:" + port + "/" // as it is served on this machine, but with --tls-only
		if f.tls.only {
			l.local = at("localhost")
		}
		public, lan := ownPublicAddress(), ownAddress(outward)
		if own, err := netip.ParseAddr(lan); err == nil && !own.IsLoopback() {
			l.lan = at(lan)
		}
		switch {
		case public.IsValid():
			l.main = at(public.String())
		case l.lan != "":
			l.main, l.guessed = l.lan, true
		default:
			l.main = l.local
		}
	case bound.IsLoopback():
		l.main = at(bound.String())
		l.local = l.main
	default:
		l.main, l.lan = at(bound.String()), at(bound.String())
		l.guessed = bound.IsPrivate() || bound.IsLinkLocalUnicast()
	}
	if len(names) > 0 {
		l.main, l.guessed = at(names[0]), false
	}
	if f.public != nil {
		l.main, l.guessed = f.public.Scheme+"://"+f.public.Host+"/", false
	}
	return l
}

// ownPublicAddress is an address of this machine that the world can reach, if it has one; of
// IPv4 if possible, since not everybody has the other.
func ownPublicAddress() (found netip.Addr) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return found
	}
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if !ok {
			continue
		}
		a, ok := netip.AddrFromSlice(network.IP)
		a = a.Unmap()
		if !ok || !a.IsGlobalUnicast() || a.IsPrivate() || sharedSpace.Contains(a) {
			continue
		}
		if a.Is4() {
			return a
		}
		if !found.IsValid() {
			found = a
		}
	}
	return found
}

// sharedSpace is behind carriers' NATs (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
