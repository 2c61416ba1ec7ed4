package doctor

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/discovery"
)

const (
	// namesPatience is how long looking up names may take; those that take longer are of no
	// use to anybody who waits for a peer.
	namesPatience = 5 * time.Second
	// maxNames bounds those that are looked up.
	maxNames = 32
)

// lookUp looks up the names of all that a download would contact.
func (v *visit) lookUp(ctx context.Context) {
	if v.found.noRoute || v.loopback() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesPatience)
	defer cancel()
	names := v.names()
	unknown := make([]string, 0, len(names))
	var mu sync.Mutex
	var looking sync.WaitGroup
	for _, name := range names {
		looking.Go(func() {
			if _, err := v.client.Network().LookupNetIP(ctx, "ip", name); err != nil {
				mu.Lock()
				defer mu.Unlock()
				unknown = append(unknown, name)
			}
		})
	}
	looking.Wait()
	slices.Sort(unknown)
	v.find(func(f *findings) { f.names, f.unknown = names, unknown })
}

// names are those of STUN servers, nodes to start from and trackers; addresses are none.
func (v *visit) names() (names []string) {
	addresses := v.stunServers()
	switch {
	case v.cfg.Client.DisableDHT:
	case v.cfg.Client.DHTBootstrap != nil:
		addresses = append(addresses, v.cfg.Client.DHTBootstrap...)
	default:
		addresses = append(addresses, discovery.DefaultBootstrap...)
	}
	var hosts []string
	for _, address := range addresses {
		if host, _, err := net.SplitHostPort(address); err == nil {
			hosts = append(hosts, host)
		}
	}
	for _, tracker := range v.trackers() {
		if u, err := url.Parse(tracker); err == nil {
			hosts = append(hosts, u.Hostname())
		}
	}
	for _, host := range hosts {
		if _, err := netip.ParseAddr(host); err != nil && host != "" && !slices.Contains(names, host) && len(names) < maxNames {
			names = append(names, host)
		}
	}
	return names
}

// nameless reports whether no name can be looked up, and nobody was to be asked who has an
// address instead.
func (v *visit) nameless() bool {
	return len(v.found.names) > 0 && len(v.found.unknown) == len(v.found.names)
}

// concludeNames tells how looking up names went.
func (v *visit) concludeNames() {
	n, unknown := len(v.found.names), v.found.unknown
	switch {
	case n == 0:
	case v.nameless():
		v.add(nameDNS, Fail, "See to name resolution (DNS) on this machine: is a name server set, and does it answer?", "No name can be looked up, of %s", strings.Join(v.found.names, ", "))
	case len(unknown) > 0:
		v.add(nameDNS, OK, "", "Names can be looked up, but for %s", strings.Join(unknown, ", "))
	default:
		v.add(nameDNS, OK, "", "Names can be looked up")
	}
}
