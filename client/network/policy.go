package network

import (
	"context"
	"fmt"
	"net/netip"
)

// scope says from how far away an address can be reached.
type scope int

const (
	scopeLoopback scope = iota
	scopeLinkLocal
	scopePrivate // RFC 1918, RFC 4193, RFC 6598
	scopeGlobal
)

// sharedSpace is what carriers use behind their NATs (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func scopeOf(a netip.Addr) scope {
	switch a = a.Unmap(); {
	case a.IsLoopback():
		return scopeLoopback
	case a.IsLinkLocalUnicast():
		return scopeLinkLocal
	case a.IsPrivate(), sharedSpace.Contains(a):
		return scopePrivate
	default:
		return scopeGlobal
	}
}

// MayName reports whether what speaker told us may send us to named. A speaker from
// outside (or an unknown one: the zero Addr) must not make us reach into this machine
// or its network; one on the same network may name it and what is farther out.
// What the user typed is not asked about.
func (n *Network) MayName(speaker, named netip.Addr) bool {
	named = named.Unmap()
	if !named.IsValid() || named.IsUnspecified() || named.IsMulticast() {
		return false
	}
	from := scopeGlobal
	switch {
	case speaker.IsValid():
		from = scopeOf(speaker)
	case n.bound && !n.reachesOut():
		from = scopeLoopback // whoever spoke is on this machine
	}
	return scopeOf(named) >= from
}

// reachesOut reports whether a bound address is of use beyond this machine.
func (n *Network) reachesOut() bool {
	return n.v4.IsValid() && !n.v4.IsLoopback() || n.v6.IsValid() && !n.v6.IsLoopback()
}

type speakerKey struct{}

// From returns a context for dialling what speaker named, by the address policy: see
// [Network.MayName].
func From(ctx context.Context, speaker netip.Addr) context.Context {
	return context.WithValue(ctx, speakerKey{}, speaker)
}

// ForbiddenError says that a stranger named an address that he may not.
type ForbiddenError struct{ Address string }

func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("%s is an address inside of this network, named from outside of it", e.Address)
}

// IsGlobal reports whether an address can be reached from everywhere, NATs and firewalls aside.
func IsGlobal(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && scopeOf(a) == scopeGlobal
}
