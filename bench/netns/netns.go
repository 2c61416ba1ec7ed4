// Package netns makes small internets of network namespaces for tests: a public network,
// hosts with public addresses, homes behind routers with the classic kinds of NAT, and VPNs.
// It needs Linux, root, ip (iproute2) and nft (nftables), for a VPN /dev/net/tun, and skips the
// test without them.
//
//	world := netns.New(t)
//	server := world.Public(2) // a host with two addresses of either family
//	home := world.Home(netns.Config{NAT: netns.PortRestricted})
//	host := home.Host()
//	... proc.Spec{Command: host.Exec(), Path: "causeway", Args: ...} ...
//	... host.Do(func() { conn, err = net.ListenPacket("udp4", ":0") }) ...
//
// Everything goes when the test ends. Namespaces have names of their own, so tests may run
// side by side. A World is for one goroutine: subtests that run side by side get hosts that
// were made before.
package netns

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// made counts the worlds of this process, for the names of their namespaces.
var made atomic.Int32

// World is a public network. It has no broadcast or multicast: its hosts reach each other
// through a router that is no hop to think of.
type World struct {
	t      testing.TB
	prefix string // of the namespaces' names
	core   *Host
	public int // addresses that were given away
	homes  int
	spaces int
}

// Host is a network namespace with addresses.
type Host struct {
	Name       string       // of the namespace
	IPv4, IPv6 []netip.Addr // at eth0, or for a router at its public side; IPv6 may be none
	world      *World
	port       string // the public network's device to it, if it is linked to that
}

// The router of the public network has these addresses on every link.
const (
	core4 = "203.0.113.1"
	core6 = "2001:db8::1"
)

// firstPublic is the last part of the first address that a public host gets.
const firstPublic = 10

// New makes a public network, or skips the test. It fails it instead where the environment
// says that all tests are to run and the user is root.
func New(t testing.TB) *World {
	t.Helper()
	if testing.Short() {
		t.Skip("runs ip and nft: not with -short")
	}
	w := &World{t: t, prefix: fmt.Sprintf("cw%d-%d", os.Getpid(), made.Add(1))}
	w.core = w.space("core")
	w.core.exec("", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	return w
}

// Public makes a host with a number of public addresses of each family, at most 200 in all.
func (w *World) Public(addresses int) *Host {
	w.t.Helper()
	h := w.space("public")
	w.attach(h, "eth0", addresses)
	return h
}

// attach links a host to the public network.
func (w *World) attach(h *Host, device string, addresses int) {
	w.t.Helper()
	port := fmt.Sprint("p", w.public)
	h.port = port
	w.link(w.core, port, h, device)
	core := []string{"address add " + core4 + "/32 dev " + port, "address add " + core6 + "/128 dev " + port + " nodad"}
	var own []string
	for range addresses {
		n := firstPublic + w.public
		w.public++
		four, six := netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}), netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", n))
		h.IPv4, h.IPv6 = append(h.IPv4, four), append(h.IPv6, six)
		own = append(own, fmt.Sprintf("address add %s/32 dev %s", four, device), fmt.Sprintf("address add %s/128 dev %s nodad", six, device))
		core = append(core, fmt.Sprintf("route add %s/32 dev %s", four, port), fmt.Sprintf("route add %s/128 dev %s", six, port))
	}
	w.core.batch(core...)
	h.batch(append(own,
		fmt.Sprintf("route add default via %s dev %s onlink src %s", core4, device, h.IPv4[0]),
		fmt.Sprintf("route add default via %s dev %s onlink src %s", core6, device, h.IPv6[0]))...)
}

// Narrow has the public network take IP packets of mtu bytes at most on their way to h, from now on. It cuts those of
// IPv4 that may be cut.
func (w *World) Narrow(h *Host, mtu int) {
	w.t.Helper()
	var routes []string
	for _, a := range slices.Concat(h.IPv4, h.IPv6) {
		routes = append(routes, fmt.Sprintf("route change %s dev %s mtu lock %d", netip.PrefixFrom(a, a.BitLen()), h.port, mtu))
	}
	w.core.batch(routes...)
}

// BlackHole is Narrow, by a network that tells nobody of what it drops.
func (w *World) BlackHole(h *Host, mtu int) {
	w.t.Helper()
	w.core.Nft(`table inet silent {
	chain out {
		type filter hook output priority 0
		icmp type destination-unreachable drop
		icmpv6 type packet-too-big drop
	}
}
`)
	w.Narrow(h, mtu)
}

// space makes a network namespace.
func (w *World) space(kind string) *Host {
	w.t.Helper()
	w.spaces++
	h := &Host{Name: fmt.Sprintf("%s-%s%d", w.prefix, kind, w.spaces), world: w}
	w.run("", "ip", "netns", "add", h.Name)
	w.t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", h.Name).Run() })
	h.batch("link set lo up")
	// Addresses are ours to choose; without the wait to see whether a neighbour has them, they serve at once.
	h.exec("", "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
	return h
}

// link makes a cable between two devices.
func (w *World) link(a *Host, deviceA string, b *Host, deviceB string) {
	w.t.Helper()
	a.batch(fmt.Sprintf("link add %s type veth peer name %s netns %s", deviceA, deviceB, b.Name), "link set "+deviceA+" up")
	b.batch("link set " + deviceB + " up")
}

// Exec is what is put before a command line to have it run at the host, as Exec.
func (h *Host) Exec() []string { return Exec(h.Name) }

// Exec is what is put before a command line to have it run in a network namespace, and without
// a proxy, which is not to be reached from there. The process keeps the id that it is started
// with.
func Exec(name string) []string {
	words := []string{"ip", "netns", "exec", name, "env"}
	for _, proxy := range []string{"http_proxy", "https_proxy", "all_proxy", "no_proxy"} {
		words = append(words, "-u", proxy, "-u", strings.ToUpper(proxy))
	}
	return words
}

// Do runs f on a thread of the host, so that the sockets which it opens are the host's; they
// stay so. Goroutines that f starts are elsewhere: an address must be literal, and of one
// family.
func (h *Host) Do(f func()) {
	h.world.t.Helper()
	if err := Enter(h.Name, func() error { f(); return nil }); err != nil {
		h.world.t.Fatal(err)
	}
}

// IP runs commands of ip in the namespace, one a line, as "address del 203.0.113.10/32 dev eth0".
func (h *Host) IP(commands ...string) {
	h.world.t.Helper()
	h.batch(commands...)
}

// Nft loads rules in the namespace.
func (h *Host) Nft(rules string) {
	h.world.t.Helper()
	h.exec(rules, "nft", "-f", "-")
}

func (h *Host) batch(commands ...string) {
	h.world.t.Helper()
	h.world.run(strings.Join(commands, "\n")+"\n", "ip", "-n", h.Name, "-batch", "-")
}

func (h *Host) exec(stdin, program string, arguments ...string) {
	h.world.t.Helper()
	words := slices.Concat(h.Exec(), []string{program}, arguments)
	h.world.run(stdin, words[0], words[1:]...)
}

// run runs a command, and skips or fails the test if it fails.
func (w *World) run(stdin, name string, arguments ...string) {
	w.t.Helper()
	cmd := exec.Command(name, arguments...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	w.cannot(fmt.Sprintf("%s %s: %v: %s (input: %q)", name, strings.Join(arguments, " "), err, out, stdin))
}

// cannot skips or fails the test for a reason.
func (w *World) cannot(why string) {
	w.t.Helper()
	why = "no network namespaces can be made here: " + why
	if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" && os.Getuid() == 0 {
		w.t.Fatal(why)
	}
	w.t.Skip(why)
}
