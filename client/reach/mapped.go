package reach

import (
	"net/netip"
	"slices"

	"github.com/causeway-bt/causeway/client/network"
)

// Reflection is a STUN server's answer: where it sees our UDP socket.
type Reflection struct{ Server, Mapped netip.AddrPort }

// missedRounds is after how many rounds without an answer what STUN servers saw is not
// believed any more.
const missedRounds = 3

// mapping is what STUN servers see of one family.
type mapping struct {
	at     netip.AddrPort // what all servers of the last round saw, zero if they saw several or are one
	any    netip.AddrPort // what one saw
	missed int            // rounds since the last with an answer
}

// take reads a round's answers of one family. Servers count by address: one that has several
// names is one.
func (m *mapping) take(answers []Reflection) {
	if len(answers) == 0 {
		if m.missed++; m.missed >= missedRounds {
			*m = mapping{missed: m.missed}
		}
		return
	}
	servers, same := map[netip.Addr]bool{}, true
	for _, a := range answers {
		servers[a.Server.Addr()] = true
		same = same && a.Mapped == answers[0].Mapped
	}
	kept := m.at
	*m = mapping{any: answers[0].Mapped}
	if same && (len(servers) > 1 || kept == answers[0].Mapped) { // or the other server has not answered this time
		m.at = answers[0].Mapped
	}
}

// Mapping is what a gateway passes on to us of one family; the zero Mapping: nothing.
type Mapping struct {
	Addr     netip.Addr // of the gateway, as the world sees it; may be zero, or a private one
	TCP, UDP uint16     // ports; 0: not mapped
}

// Announced is where the world reaches us. Ports are never 0 if we listen.
type Announced struct {
	// Port4 and Port6 are what others are told, in announces that have room for one port.
	Port4, Port6 uint16
	// Known4 and Known6: the world is known to reach us there. Else the port is our own,
	// whatever a NAT makes of it.
	Known4, Known6 bool
	// IP4 and IP6 are our addresses as others agree they see them; zero: not known.
	IP4, IP6 netip.Addr
}

// Port is Port4 or Port6.
func (a Announced) Port(v4 bool) uint16 {
	if v4 {
		return a.Port4
	}
	return a.Port6
}

// Known is Known4 or Known6.
func (a Announced) Known(v4 bool) bool {
	if v4 {
		return a.Known4
	}
	return a.Known6
}

// Addr is IP4 or IP6.
func (a Announced) Addr(v4 bool) netip.Addr {
	if v4 {
		return a.IP4
	}
	return a.IP6
}

// family is what is known of IPv4 or IPv6.
type family struct {
	stun      mapping
	gateway   Mapping
	votes     votes
	forwarded bool // TCP came in from the world, though we are behind a NAT
}

// port is what is announced: what a gateway has mapped, for TCP first, which every client
// has. Where only a NAT's own mapping leads to us that is for UDP alone, and of use only if
// uTP is on; a port that TCP comes in at (which the user has forwarded) is better. A gateway
// that is itself behind a NAT maps for the network between.
func (f *family) port(cfg *Config) (port uint16, known bool) {
	mapped := f.gateway.port(cfg)
	inside := f.gateway.Addr.IsValid() && !network.IsGlobal(f.gateway.Addr)
	switch {
	case mapped != 0 && !inside:
		return mapped, true
	case f.forwarded:
		return cfg.Port, true
	case cfg.UTP && f.stun.at.IsValid():
		return f.stun.at.Port(), true
	case mapped != 0:
		return mapped, false
	}
	return cfg.Port, false
}

func (m Mapping) port(cfg *Config) uint16 {
	switch {
	case cfg.TCP && m.TCP != 0:
		return m.TCP
	case cfg.UTP:
		return m.UDP
	}
	return 0
}

// address is ours as the world sees it.
func (f *family) address(voted netip.Addr) netip.Addr {
	switch {
	case network.IsGlobal(f.stun.at.Addr()):
		return f.stun.at.Addr()
	case voted.IsValid():
		return voted
	case network.IsGlobal(f.gateway.Addr):
		return f.gateway.Addr
	}
	return netip.Addr{}
}

// Entry is where a NAT lets the world in to our port.
type Entry struct {
	TCP bool // else UDP
	At  netip.AddrPort
}

// entries are where a gateway lets the world in: at the address that it tells, or if it tells none
// at ours as others see it. There TCP that was forwarded comes in at our own port. What a
// gateway maps that is itself behind a NAT does not reach the world.
func (f *family) entries(cfg *Config, voted netip.Addr) (entries []Entry) {
	ours := f.address(voted)
	add := func(tcp bool, addr netip.Addr, port uint16) {
		if e := (Entry{tcp, netip.AddrPortFrom(addr, port)}); port != 0 && network.IsGlobal(addr) && !slices.Contains(entries, e) {
			entries = append(entries, e)
		}
	}
	gateway := f.gateway.Addr
	if !gateway.IsValid() {
		gateway = ours
	}
	add(true, gateway, f.gateway.TCP)
	add(false, gateway, f.gateway.UDP)
	if f.forwarded {
		add(true, ours, cfg.Port)
	}
	return entries
}
