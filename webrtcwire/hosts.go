package webrtcwire

import (
	"net"
	"sync"
	"time"
)

const (
	// interfacesTTL is how long the list of local addresses is believed. Listing
	// them takes a netlink round trip, and a laptop changes networks rarely.
	interfacesTTL = 10 * time.Second

	// maxHostCandidates bounds the local addresses put into a description: a
	// machine that runs containers may have hundreds.
	maxHostCandidates = 16
)

// hosts lists the addresses of this machine under which a socket can be reached
// directly, and follows changes of its interfaces.
type hosts struct {
	loopback bool
	list     func() ([]net.Addr, error)

	mu      sync.Mutex
	all     []net.Addr
	fetched time.Time
}

func newHosts(loopback bool, network Network) *hosts {
	return &hosts{loopback: loopback, list: func() ([]net.Addr, error) { return interfaceAddrs(network) }}
}

// forget has the interfaces listed anew.
func (h *hosts) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fetched = time.Time{}
}

// addresses returns the addresses of a socket bound to bound.
func (h *hosts) addresses(bound *net.UDPAddr) []net.Addr {
	if !bound.IP.IsUnspecified() {
		return []net.Addr{bound}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fetched.IsZero() || time.Since(h.fetched) >= interfacesTTL {
		if all, err := h.list(); err == nil {
			h.all, h.fetched = all, time.Now()
		}
	}
	return h.usable(bound)
}

func (h *hosts) usable(bound *net.UDPAddr) []net.Addr {
	v4only := bound.IP.To4() != nil
	usable := []net.Addr{}
	for _, addr := range h.all {
		prefix, ok := addr.(*net.IPNet)
		if !ok || len(usable) == maxHostCandidates {
			continue
		}
		ip := prefix.IP
		switch {
		case ip.IsLoopback() && !h.loopback,
			ip.IsUnspecified() || ip.IsMulticast(),
			ip.To4() == nil && (v4only || ip.IsLinkLocalUnicast()): // RFC 8445 section 5.1.1.1
			continue
		}
		usable = append(usable, &net.UDPAddr{IP: ip, Port: bound.Port})
	}
	return usable
}
