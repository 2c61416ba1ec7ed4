package doctor

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/client/reach"
)

const (
	// maxSTUN bounds the servers that are asked, and stunPatience how long all tests may
	// take.
	maxSTUN      = 4
	stunPatience = 7 * time.Second
)

// natDetails are those of "nat".
type natDetails struct {
	Mapping   string          `json:"mapping"` // as reach.Behaviour, or "none": there is no NAT
	Filtering reach.Behaviour `json:"filtering"`
	Mapped    netip.AddrPort  `json:"mapped,omitzero"` // where the first server sees us
}

// stunServers are those that a download asks, host:port each, or the first of them.
func (v *visit) stunServers() []string {
	servers, err := v.cfg.Client.STUNServers()
	if err != nil {
		return nil // the client does not start, and says why
	}
	return servers[:min(len(servers), maxSTUN)]
}

// askSTUN finds out by STUN whether UDP comes back, and what the NAT does.
func (v *visit) askSTUN(ctx context.Context) {
	servers := v.stunServers()
	if len(servers) == 0 || v.found.noRoute || v.loopback() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stunPatience)
	defer cancel()
	way := v.client.Network()
	conn, err := way.ListenPacket(ctx, "udp4", ":0")
	if err != nil {
		return
	}
	defer conn.Close()
	var resolving sync.WaitGroup
	found := make([]netip.AddrPort, len(servers))
	for i, server := range servers {
		resolving.Go(func() { found[i], _ = resolve4(ctx, way, server) })
	}
	resolving.Wait()
	found = slices.DeleteFunc(found, func(a netip.AddrPort) bool { return !a.IsValid() })
	n, _ := reach.Probe(ctx, conn, found) // as far as it went
	v.find(func(f *findings) {
		f.nat, f.stunAsked, f.stunAnswers = n, len(servers), n.Answers
	})
}

func resolve4(ctx context.Context, way *network.Network, server string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addrs, err := way.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(net.JoinHostPort(addrs[0].Unmap().String(), port))
}

// concludeNAT tells what kind of NAT there is.
func (v *visit) concludeNAT() {
	if v.client == nil || v.found.noRoute || v.found.stunAsked == 0 {
		return
	}
	n := v.found.nat
	details := natDetails{n.Mapping.String(), n.Filtering, n.Mapped}
	filter := map[reach.Behaviour]string{
		reach.EndpointIndependent:     ", and lets in whoever knows it",
		reach.AddressDependent:        ", and lets in addresses that we have sent to",
		reach.AddressAndPortDependent: ", and lets in address and port that we have sent to",
	}[n.Filtering]
	switch {
	case n.None:
		details.Mapping = "none"
		v.addDetails(nameNAT, OK, "", details, "There is no NAT: %s is our own address", n.Mapped)
	case n.Mapping == reach.EndpointIndependent:
		v.addDetails(nameNAT, OK, "", details, "The NAT shows one port to all, %s%s: peers behind other NATs can be met", n.Mapped, filter)
	case n.Mapping != reach.Unknown:
		v.addDetails(nameNAT, Warn, "Have the router map the port (UPnP, NAT-PMP), or name a TURN server with --turn for browsers", details,
			"The NAT is symmetric: each address sees another port of ours, so peers behind NATs can hardly be met over UDP%s", filter)
	default:
		if v.found.stunAnswers == 0 {
			v.add(nameNAT, None, "", "What the NAT does is not known: no STUN server answers")
			return
		}
		v.addDetails(nameNAT, None, "", details, "We are seen as %s; what the NAT does takes a second STUN server to tell (--stun)", n.Mapped)
	}
}

// udpDetails are those of "udp".
type udpDetails struct {
	STUN     int `json:"stun_answers"`
	DHTNodes int `json:"dht_nodes"`
}

// concludeUDP says whether UDP comes back at all.
func (v *visit) concludeUDP() {
	if v.client == nil || v.found.noRoute {
		return
	}
	f := &v.found
	asked := f.stunAsked > 0 || !v.cfg.Client.DisableDHT
	var by []string
	for what, has := range map[string]bool{"STUN servers": f.stunAnswers > 0, "the DHT": f.nodes > 0, "a tracker": f.udpTracker} {
		if has {
			by = append(by, what)
		}
	}
	slices.Sort(by)
	switch {
	case len(by) > 0:
		v.addDetails(nameUDP, OK, "", udpDetails{f.stunAnswers, f.nodes}, "UDP comes back: answers came from %s", strings.Join(by, ", "))
	case v.loopback():
		v.add(nameUDP, None, "", "UDP stays on this machine")
	case v.nameless():
		v.add(nameUDP, None, "", "Whether UDP works is not known: those to ask have names that cannot be looked up")
	case !asked:
		v.add(nameUDP, None, "", "Nobody was asked over UDP")
	default:
		v.addDetails(nameUDP, Fail, "A firewall, of this machine or of the network, lets no UDP out or no answers in: open it for UDP. Without, there is no DHT, no uTP, no UDP tracker and no WebRTC but through TURN over TCP", udpDetails{},
			"UDP is blocked: nobody answers, neither STUN servers nor the DHT")
	}
}

func (v *visit) loopback() bool {
	return v.client.UDPAddr().(*net.UDPAddr).IP.IsLoopback()
}
