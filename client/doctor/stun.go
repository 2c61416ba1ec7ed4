package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/stun/v4"

	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/webrtcwire"
)

const (
	// maxSTUN bounds the servers that are asked, and stunPatience how long they have.
	maxSTUN      = 4
	stunPatience = 4 * time.Second
	// stunAgain is when a question is asked again; it doubles (RFC 8489 section 6.2.1).
	stunAgain = 500 * time.Millisecond
	maxPacket = 1500
)

// mapping is how a NAT gives out ports (RFC 4787 section 4.1).
type natMapping string

const (
	mapUnknown     natMapping = "unknown"
	mapNone        natMapping = "none"                 // there is no NAT
	mapIndependent natMapping = "endpoint-independent" // one port for all
	mapDependent   natMapping = "address-dependent"    // another for each: "symmetric"
)

// filtering is whom a NAT lets in (RFC 4787 section 5).
type natFilter string

const (
	filterUnknown     natFilter = "unknown"
	filterIndependent natFilter = "endpoint-independent"
	filterAddress     natFilter = "address-dependent"
	filterPort        natFilter = "address-and-port-dependent"
)

// nat is what was found out about it (RFC 5780).
type nat struct {
	Mapping natMapping `json:"mapping"`
	Filter  natFilter  `json:"filtering"`
	Mapped  string     `json:"mapped,omitempty"` // where the first server sees us
}

// reflection is the answer of a server.
type reflection struct {
	server, mapped, other netip.AddrPort // other: OTHER-ADDRESS, if it has one
}

// stunServers are those that are asked, host:port each.
func (v *visit) stunServers() []string {
	urls := v.cfg.Client.STUN
	if urls == nil {
		urls = swarm.DefaultICEServers
	}
	servers, err := webrtcwire.STUNServers(urls)
	if err != nil {
		return nil
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
	a := newAsker(conn)
	defer a.close()
	var asking sync.WaitGroup
	var mu sync.Mutex
	var answers []reflection
	for _, server := range servers {
		asking.Go(func() {
			at, err := resolve4(ctx, way, server)
			if err != nil {
				return
			}
			if r, err := a.ask(ctx, at, false, false); err == nil {
				mu.Lock()
				answers = append(answers, r)
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	found := nat{Mapping: mapUnknown, Filter: filterUnknown}
	if len(answers) > 0 {
		found = classify(ctx, a, answers, way)
	}
	v.find(func(f *findings) {
		f.nat, f.stunAsked, f.stunAnswers = found, len(servers), len(answers)
	})
}

// classify runs the tests of RFC 5780 section 4 that the servers allow.
func classify(ctx context.Context, a *asker, answers []reflection, way *network.Network) nat {
	first := answers[0]
	found := nat{Mapping: mapUnknown, Filter: filterUnknown, Mapped: first.mapped.String()}
	if i := slices.IndexFunc(answers, func(r reflection) bool { return r.other.IsValid() }); i >= 0 {
		tester := answers[i]
		found.Filter = filterPort
		var testing sync.WaitGroup
		var anywhere, anyPort bool
		testing.Go(func() {
			_, err := a.ask(ctx, tester.server, true, true)
			anywhere = err == nil
		})
		testing.Go(func() {
			_, err := a.ask(ctx, tester.server, false, true)
			anyPort = err == nil
		})
		testing.Wait()
		switch {
		case anywhere:
			found.Filter = filterIndependent
		case anyPort:
			found.Filter = filterAddress
		}
		// Its other address shows whether that sees another port of ours.
		if r, err := a.ask(ctx, netip.AddrPortFrom(tester.other.Addr(), tester.server.Port()), false, false); err == nil {
			answers = append(answers, r)
		}
	}
	found.Mapping = mappingOf(answers, netip.AddrPortFrom(ownAddr(way), a.port()))
	return found
}

// mappingOf tells it from where servers see us; own is where we are.
func mappingOf(answers []reflection, own netip.AddrPort) natMapping {
	first, found := answers[0], mapUnknown
	if first.mapped == own {
		return mapNone
	}
	for _, r := range answers[1:] {
		switch {
		case r.mapped != first.mapped:
			return mapDependent
		case r.server != first.server:
			found = mapIndependent
		}
	}
	return found
}

// ownAddr is the address that IPv4 goes out from.
func ownAddr(way *network.Network) netip.Addr {
	conn, err := way.DialContext(context.Background(), "udp4", far4)
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
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

// asker asks STUN servers over one socket.
type asker struct {
	conn net.PacketConn
	done chan struct{}

	mu      sync.Mutex
	waiting map[[stun.TransactionIDSize]byte]chan reflection
}

func newAsker(conn net.PacketConn) *asker {
	a := &asker{conn: conn, done: make(chan struct{}), waiting: make(map[[stun.TransactionIDSize]byte]chan reflection)}
	go a.receive()
	return a
}

func (a *asker) close() {
	a.conn.Close()
	<-a.done
}

func (a *asker) port() uint16 { return uint16(a.conn.LocalAddr().(*net.UDPAddr).Port) }

func (a *asker) receive() {
	defer close(a.done)
	b := make([]byte, maxPacket)
	for {
		n, _, err := a.conn.ReadFrom(b)
		if err != nil {
			return
		}
		m := &stun.Message{Raw: slices.Clone(b[:n])}
		if m.Decode() != nil || m.Type != stun.BindingSuccess {
			continue
		}
		var mapped stun.XORMappedAddress
		if mapped.GetFrom(m) != nil {
			continue
		}
		r := reflection{mapped: addrPort(mapped.IP, mapped.Port)}
		var other stun.OtherAddress
		if other.GetFrom(m) == nil {
			r.other = addrPort(other.IP, other.Port)
		}
		a.mu.Lock()
		waiting := a.waiting[m.TransactionID]
		delete(a.waiting, m.TransactionID)
		a.mu.Unlock()
		if waiting != nil {
			waiting <- r
		}
	}
}

func addrPort(ip net.IP, port int) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}

// changeRequest is CHANGE-REQUEST (RFC 5780 section 7.2), of which the server is to answer
// from another address or port.
type changeRequest struct{ address, port bool }

func (c changeRequest) AddTo(m *stun.Message) error {
	var flags byte
	if c.address {
		flags |= 4
	}
	if c.port {
		flags |= 2
	}
	m.Add(stun.AttrChangeRequest, []byte{0, 0, 0, flags})
	return nil
}

var errSilent = errors.New("the STUN server does not answer")

// ask asks a server until it answers or ctx ends.
func (a *asker) ask(ctx context.Context, server netip.AddrPort, otherAddress, otherPort bool) (reflection, error) {
	setters := []stun.Setter{stun.TransactionID, stun.BindingRequest}
	if otherAddress || otherPort {
		setters = append(setters, changeRequest{otherAddress, otherPort})
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 1600*time.Millisecond) // three questions: silence is an answer, too
		defer cancel()
	}
	m, err := stun.Build(setters...)
	if err != nil {
		return reflection{}, fmt.Errorf("making a STUN request: %w", err)
	}
	answered := make(chan reflection, 1)
	a.mu.Lock()
	a.waiting[m.TransactionID] = answered
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.waiting, m.TransactionID)
		a.mu.Unlock()
	}()
	for wait := stunAgain; ; wait *= 2 {
		if _, err := a.conn.WriteTo(m.Raw, net.UDPAddrFromAddrPort(server)); err != nil {
			return reflection{}, err
		}
		select {
		case r := <-answered:
			r.server = server
			return r, nil
		case <-ctx.Done():
			return reflection{}, errSilent
		case <-time.After(wait):
		}
	}
}

// concludeNAT tells what kind of NAT there is.
func (v *visit) concludeNAT() {
	if v.client == nil || v.found.noRoute || v.found.stunAsked == 0 {
		return
	}
	n := v.found.nat
	filter := map[natFilter]string{
		filterIndependent: ", and lets in whoever knows it", filterAddress: ", and lets in addresses that we have sent to",
		filterPort: ", and lets in address and port that we have sent to",
	}[n.Filter]
	switch n.Mapping {
	case mapNone:
		v.addDetails(nameNAT, OK, "", n, "There is no NAT: %s is our own address", n.Mapped)
	case mapIndependent:
		v.addDetails(nameNAT, OK, "", n, "The NAT shows one port to all, %s%s: peers behind other NATs can be met", n.Mapped, filter)
	case mapDependent:
		v.addDetails(nameNAT, Warn, "Have the router map the port (UPnP, NAT-PMP), or name a TURN server with --turn for browsers", n,
			"The NAT is symmetric: each address sees another port of ours, so peers behind NATs can hardly be met over UDP%s", filter)
	default:
		if v.found.stunAnswers == 0 {
			v.add(nameNAT, None, "", "What the NAT does is not known: no STUN server answers")
			return
		}
		v.addDetails(nameNAT, None, "", n, "We are seen as %s; what the NAT does takes a second STUN server to tell (--stun)", n.Mapped)
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
