package reach

import (
	"net"
	"net/netip"
	"slices"
)

// maxLocal bounds the addresses of this machine that are compared: one that runs containers
// may have thousands, which come and go.
const maxLocal = 256

// localAddrs are the addresses of this machine that may lead somewhere, sorted.
func localAddrs(list func() ([]net.Interface, error)) ([]netip.Addr, error) {
	interfaces, err := list()
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().IsGlobalUnicast() && len(found) < maxLocal {
				found = append(found, p.Addr())
			}
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return found, nil
}
