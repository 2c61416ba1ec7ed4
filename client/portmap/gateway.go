package portmap

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/causeway-bt/causeway/client/network"
)

// maxGateways bounds the addresses that are asked on one interface.
const maxGateways = 3

// way is how packets leave: from which address of ours, and what may be the gateway there.
type way struct {
	local    netip.Addr
	iface    net.Interface
	nets     []netip.Prefix // of the interface, IPv4
	gateways []netip.Addr
	tunnel   bool // the interface is one
}

func (w way) same(other way) bool {
	return w.local == other.local && w.iface.Index == other.iface.Index && slices.Equal(w.gateways, other.gateways)
}

// findWay finds the way of what is bound to, or else of what goes out by default.
func findWay(n Network) (w way, err error) {
	w.local = n.Bound(true)
	switch {
	case !w.local.IsValid() && n.Bound(false).IsValid():
		return w, ErrNoIPv4
	case !w.local.IsValid():
		if w.local, err = n.Outgoing(true); err != nil {
			return w, fmt.Errorf("there is no way to the outside: %w", err)
		}
	}
	switch {
	case w.local.IsLoopback():
		return w, ErrLoopback
	case network.IsGlobal(w.local):
		return w, ErrPublic
	}
	interfaces, err := n.Interfaces()
	if err != nil {
		return w, fmt.Errorf("listing the interfaces: %w", err)
	}
	for _, i := range interfaces {
		nets := prefixes(i)
		if !slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Addr() == w.local }) {
			continue
		}
		w.iface, w.nets = i, nets
		w.tunnel = i.Flags&net.FlagPointToPoint != 0
		w.gateways = routers(i.Name)
		for _, guess := range guesses(w.local, nets) {
			if len(w.gateways) == 0 || w.tunnel {
				w.gateways = append(w.gateways, guess)
			}
		}
		w.gateways = slices.DeleteFunc(w.gateways, func(a netip.Addr) bool { return a == w.local || !a.Is4() })
		w.gateways = firstOfEach(w.gateways)
		if len(w.gateways) > maxGateways {
			w.gateways = w.gateways[:maxGateways]
		}
		return w, nil
	}
	return w, fmt.Errorf("no interface has our address %v", w.local)
}

// firstOfEach removes what comes again.
func firstOfEach(addrs []netip.Addr) (once []netip.Addr) {
	for _, a := range addrs {
		if !slices.Contains(once, a) {
			once = append(once, a)
		}
	}
	return once
}

// prefixes are the IPv4 networks of an interface, each with the interface's address in it.
func prefixes(i net.Interface) (nets []netip.Prefix) {
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap().Is4() {
			nets = append(nets, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
		}
	}
	return nets
}

// guesses are where a gateway would be by custom, for systems that do not tell and for tunnels
// that have no router on the way: the first address of the network, and the first of its /24
// where the network is no larger than our own address.
func guesses(local netip.Addr, nets []netip.Prefix) (guessed []netip.Addr) {
	for _, p := range nets {
		if p.Addr() != local {
			continue
		}
		if p.Bits() > 30 {
			p = netip.PrefixFrom(p.Addr(), 24)
		}
		if first := p.Masked().Addr().Next(); first != local {
			guessed = append(guessed, first)
		}
	}
	return guessed
}
