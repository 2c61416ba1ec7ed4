package webrtcwire

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// Mapped is a port of a NAT's that leads to one of ours.
type Mapped struct {
	TCP      bool           // else UDP
	External netip.AddrPort // of the NAT
	Internal netip.AddrPort // ours; zero: not to be told
}

// Priorities of server-reflexive candidates, by the formula of RFC 8445 section 5.1.2.1 for
// component 1.
const (
	// srflxPreference is the type preference that RFC 8445 section 5.1.2.2 recommends.
	srflxPreference = 100

	// tcpOffset is how much less that of TCP is, as pion has it for host candidates: UDP is
	// better where there is both.
	tcpOffset = 27

	// passivePreference is the local preference of RFC 6544 section 4.2: a direction of 2 for
	// what is passive and server-reflexive, and nothing that sets candidates apart.
	passivePreference = 2<<13 | (1<<13 - 1)

	srflxPriority    = srflxPreference<<24 | 65535<<8 | 255
	tcpSrflxPriority = (srflxPreference-tcpOffset)<<24 | passivePreference<<8 | 255
)

// reflexive returns the NATs' ports that lead to us: what STUN servers see, for which ctx
// bounds the wait, and the servers of relays, and what is known to be mapped now.
func (t *Transport) reflexive(ctx context.Context, used []*relay) (ports []Mapped) {
	for _, addr := range t.stun.addresses(ctx) {
		ports = append(ports, Mapped{External: addr})
	}
	if t.config.RelayOnly {
		return ports
	}
	for _, relay := range used {
		if addr := relay.allocation.Mapped(); addr.IsValid() && relay.shared {
			ports = append(ports, Mapped{External: addr})
		}
	}
	if t.config.Mapped == nil {
		return ports
	}
	for _, m := range t.config.Mapped() {
		if !m.TCP || t.tcp != nil {
			ports = append(ports, m)
		}
	}
	return ports
}

// addReflexive adds server-reflexive candidates to others. pion need not know of them: a
// peer's checks to such an address arrive at the shared socket, which is their base (RFC 8445
// section 6.1.2.4), or by the TCP port.
func addReflexive(candidates []string, ports []Mapped) []string {
	known := map[string]bool{}
	for _, c := range candidates {
		if f := strings.Fields(c); len(f) > 5 {
			known[target(f[2], f[4], f[5])] = true
		}
	}
	for i, m := range ports {
		line := m.candidate(i)
		f := strings.Fields(line)
		if to := target(f[2], f[4], f[5]); !known[to] { // no NAT: a host candidate says the same
			known[to] = true
			candidates = append(candidates, line)
		}
	}
	return candidates
}

// target is what sets candidates apart for those who connect.
func target(protocol, address, port string) string {
	return strings.ToLower(protocol) + " " + address + " " + port
}

// candidate is the candidate-attribute of the nth server-reflexive candidate (RFC 8839 section
// 5.1; of TCP RFC 6544 section 4.5).
func (m Mapped) candidate(n int) string {
	protocol, priority, direction := "udp", srflxPriority, ""
	if m.TCP {
		protocol, priority, direction = "tcp", tcpSrflxPriority, " tcptype passive"
	}
	base := m.Internal
	if !base.IsValid() {
		base = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
		if m.External.Addr().Is6() {
			base = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
		}
	}
	return fmt.Sprintf("srflx%d 1 %s %d %s %d typ srflx raddr %s rport %d%s",
		n, protocol, priority-n, m.External.Addr(), m.External.Port(), base.Addr(), base.Port(), direction)
}
