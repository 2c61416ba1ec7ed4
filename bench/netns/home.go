package netns

import (
	"fmt"
	"net/netip"
)

// NAT is how a home's router treats UDP (RFC 4787, with the names of RFC 3489 beside). All
// but Symmetric keep the port of a host as long as no other host of the home has it.
// TCP goes out through each; nothing but the answers come in.
type NAT int

const (
	// PortRestricted maps endpoint-independently and lets in what comes from an address and
	// port that the host has sent to ("port restricted cone"): most home routers.
	PortRestricted NAT = iota
	// AddressRestricted maps likewise and lets in what comes from any port of an address
	// that the host has sent to ("restricted cone").
	AddressRestricted
	// FullCone maps likewise and lets in what comes from anywhere to a port from which the
	// host has sent.
	FullCone
	// Symmetric gives a host another port for each address and port that it sends to, and
	// lets in their answers alone.
	Symmetric
	// None is a router without NAT: the hosts have public addresses and a firewall as
	// PortRestricted has.
	None
)

// openFor is how long a NAT keeps UDP ports open without traffic from the inside. RFC 4787
// asks for two minutes at least; what is met in the field begins at 30 s.
const openFor = "30s"

// Config says how a home is.
type Config struct {
	NAT      NAT
	BlockUDP bool // the router forwards no UDP
	// Inside and Outside, if not 0, are a UDP port of the home's first host and what a NAT
	// that is FullCone or PortRestricted makes of it. Others stay as they are.
	Inside, Outside uint16
	IPv6            bool // hosts have IPv6 as well: addresses of their own behind a firewall that lets answers in
}

// Home is a network behind a router.
type Home struct {
	Router *Host // its addresses are those of the public side; device "wide", and "home" inside
	config Config
	number int
	hosts  int
	world  *World
}

// Home makes a home whose router has one public address.
func (w *World) Home(c Config) *Home {
	w.t.Helper()
	h := &Home{Router: w.space("router"), config: c, number: w.homes, world: w}
	w.homes++
	w.attach(h.Router, "wide", 1)
	h.Router.exec("", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.netfilter.nf_conntrack_udp_timeout=30", "net.netfilter.nf_conntrack_udp_timeout_stream=30") // openFor
	commands := []string{"link add home type bridge mcast_snooping 0", "link set home up", "address add " + h.inner4(1) + "/24 dev home"}
	if c.NAT == None {
		w.core.batch("route add " + h.inner4(0) + "/24 via " + h.Router.IPv4[0].String() + " dev " + h.Router.port + " onlink")
	}
	if c.IPv6 {
		commands = append(commands, "address add "+h.inner6(1)+"/64 dev home nodad")
		w.core.batch("route add " + h.inner6(0) + "/64 via " + h.Router.IPv6[0].String() + " dev " + h.Router.port + " onlink")
	}
	h.Router.batch(commands...)
	h.Router.Nft(h.rules())
	return h
}

// inner4 is an address of the home's hosts: private, or of 198.51.0.0/16 without NAT, of
// which the documentation's 198.51.100.0/24 is the last home that there can be.
func (h *Home) inner4(n int) string {
	if h.config.NAT == None {
		return fmt.Sprintf("198.51.%d.%d", 100-h.number, n)
	}
	return fmt.Sprintf("192.168.%d.%d", 7+h.number, n)
}

func (h *Home) inner6(n int) string {
	if n == 0 {
		return fmt.Sprintf("2001:db8:%d::", 1+h.number)
	}
	return fmt.Sprintf("2001:db8:%d::%d", 1+h.number, n)
}

// Host makes a host in the home. Hosts of one home reach each other, by multicast, too.
func (h *Home) Host() *Host {
	w := h.world
	w.t.Helper()
	host := w.space("host")
	h.hosts++
	n := 1 + h.hosts
	port := fmt.Sprint("h", h.hosts)
	w.link(h.Router, port, host, "eth0")
	h.Router.batch("link set " + port + " master home")
	host.IPv4 = []netip.Addr{netip.MustParseAddr(h.inner4(n))}
	commands := []string{"address add " + h.inner4(n) + "/24 dev eth0", "route add default via " + h.inner4(1)}
	if h.config.IPv6 {
		host.IPv6 = []netip.Addr{netip.MustParseAddr(h.inner6(n))}
		commands = append(commands, "address add "+h.inner6(n)+"/64 dev eth0 nodad", "route add default via "+h.inner6(1))
	}
	host.batch(commands...)
	return host
}

// rules are the router's, for nft. What comes to the router itself from outside is dropped,
// not refused: were it accepted, its connection would hold the port and the host's would
// be given another.
func (h *Home) rules() string {
	c := h.config
	leave, learn, enter := "masquerade", "", ""
	switch c.NAT {
	case AddressRestricted:
		learn, enter = "update @open { ip daddr . udp sport : ip saddr }", "dnat to ip saddr . udp dport map @open"
	case FullCone:
		learn, enter = "update @open { udp sport : ip saddr }", "dnat to udp dport map @open"
	case Symmetric:
		leave = "masquerade fully-random"
	}
	rules := "table ip router {\n"
	if learn != "" {
		key := "inet_service"
		if c.NAT == AddressRestricted {
			key = "ipv4_addr . inet_service"
		}
		rules += "map open { type " + key + " : ipv4_addr; flags dynamic,timeout; timeout " + openFor + "; size 4096; }\n" +
			"chain enter {\n type nat hook prerouting priority -100\n iifname \"wide\" ip protocol udp " + enter + "\n}\n" +
			"chain learn {\n type filter hook forward priority -1\n iifname \"home\" oifname \"wide\" ip protocol udp " + learn + "\n}\n"
	}
	if c.NAT != None && c.Outside != 0 {
		rules += fmt.Sprintf("chain shift {\n type nat hook postrouting priority 99\n oifname \"wide\" udp sport %d masquerade to :%d\n}\n", c.Inside, c.Outside)
	}
	if c.NAT == FullCone && c.Outside != 0 {
		rules += "set shifted { type inet_proto; flags dynamic,timeout; timeout " + openFor + "; size 8; }\n" +
			fmt.Sprintf("chain learn2 {\n type filter hook forward priority -1\n iifname \"home\" oifname \"wide\" udp sport %d update @shifted { ip protocol }\n}\n", c.Inside) +
			fmt.Sprintf("chain enter2 {\n type nat hook prerouting priority -101\n iifname \"wide\" ip protocol @shifted udp dport %d dnat to %s:%d\n}\n", c.Outside, h.inner4(2), c.Inside)
	}
	if c.NAT != None {
		rules += "chain leave {\n type nat hook postrouting priority 100\n oifname \"wide\" " + leave + "\n}\n"
	}
	block := ""
	if c.BlockUDP {
		block = " meta l4proto udp drop\n"
	}
	rules += "chain forward {\n type filter hook forward priority 0; policy drop\n" + block +
		" iifname \"home\" accept\n ct state established,related accept\n ct status dnat accept\n}\n" +
		"chain input {\n type filter hook input priority 0; policy drop\n iifname \"home\" accept\n ct state established,related accept\n}\n}\n"
	return rules + "table ip6 router {\nchain forward {\n type filter hook forward priority 0; policy drop\n" + block +
		" iifname \"home\" accept\n ct state established,related accept\n icmpv6 type echo-request accept\n}\n}\n"
}
