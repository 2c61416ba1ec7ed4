package relay

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// ownAddressesTTL is how long the list of this machine's addresses is believed.
const ownAddressesTTL = time.Minute

// inner are the ranges that nobody from outside may reach through us, besides loopback,
// link-local and private ones: carriers' shared space and what addresses of IPv4 hide in.
// (RFC 6890 and its successors.)
var inner = parsePrefixes(
	"100.64.0.0/10",  // behind carriers' NATs, RFC 6598
	"192.0.0.0/24",   // IETF protocol assignments
	"192.88.99.0/24", // 6to4 relays, RFC 7526
	"198.18.0.0/15",  // benchmarks, RFC 2544
	"64:ff9b:1::/48", // local NAT64, RFC 8215
	"100::/64",       // discard, RFC 6666
	"2001::/23",      // IETF protocol assignments, Teredo among them
	"fec0::/10",      // site-local, RFC 3879
)

// never are ranges that are no host's.
var never = parsePrefixes("0.0.0.0/8", "240.0.0.0/4", "::/128")

// embedding are the ranges whose addresses stand for one of IPv4, and where in them it is.
var embedding = []struct {
	prefix netip.Prefix
	at     int // byte
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64, RFC 6052
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible, RFC 4291 section 2.5.5.1
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4, RFC 3056
}

func parsePrefixes(texts ...string) (prefixes []netip.Prefix) {
	for _, text := range texts {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}

func within(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// isHost reports whether an address is of a single host.
func isHost(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsValid() && !a.IsMulticast() && !within(never, a)
}

// isInner reports whether an address is of this machine or a network around it, not of the
// world's.
func isInner(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsPrivate() || within(inner, a) {
		return true
	}
	if !a.Is6() {
		return false
	}
	bytes := a.As16()
	for _, e := range embedding {
		if e.prefix.Contains(a) {
			v4 := netip.AddrFrom4([4]byte(bytes[e.at:]))
			return !isHost(v4) || isInner(v4)
		}
	}
	return false
}

// policy says where packets may be relayed to, and takes them from.
type policy struct {
	allowInner bool
	public     []netip.Addr
	relays     *relays
	ownPort    func(uint16) bool // may be nil
	now        func() time.Time

	own atomic.Pointer[ownList]
}

// ownList are the addresses of this machine at a time.
type ownList struct {
	addresses map[netip.Addr]bool
	listed    time.Time
}

// mayPermit reports whether a client may ask for packets of an address to be relayed. Of our
// own addresses we learn only later whether it means other clients' relays or this machine.
func (p *policy) mayPermit(a netip.Addr) bool {
	a = a.Unmap()
	return isHost(a) && (p.allowInner || p.isOwn(a) || !isInner(a))
}

// mayRelay reports whether a packet may be relayed to or from an address: of our own, only
// to the relays of other clients and to ports that Config.OwnPort has, since programs of
// this machine, the tracker among them, may trust what comes from it.
func (p *policy) mayRelay(to netip.AddrPort) bool {
	a := to.Addr().Unmap()
	switch {
	case !isHost(a) || to.Port() == 0:
		return false
	case p.allowInner:
		return true
	case p.isOwn(a):
		return p.relays.has(netip.AddrPortFrom(a, to.Port())) || p.ownPort != nil && p.ownPort(to.Port())
	}
	return !isInner(a)
}

func (p *policy) isOwn(a netip.Addr) bool {
	own, now := p.own.Load(), p.now()
	if own == nil || now.Sub(own.listed) > ownAddressesTTL {
		own = &ownList{ownAddresses(p.public), now}
		p.own.Store(own)
	}
	return own.addresses[a.WithZone("")]
}

// ownAddresses lists the addresses of this machine, and those under which the world knows it.
func ownAddresses(public []netip.Addr) map[netip.Addr]bool {
	own := map[netip.Addr]bool{}
	for _, a := range public {
		own[a.Unmap()] = true
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return own // what is left are the ranges
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok {
			if a, ok := netip.AddrFromSlice(network.IP); ok {
				own[a.Unmap()] = true
			}
		}
	}
	return own
}
