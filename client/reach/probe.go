package reach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/pion/stun/v4"
)

// Behaviour is what a NAT makes depend on whom we talk to (RFC 4787, section 4.1 of mapping,
// section 5 of filtering).
type Behaviour int

const (
	Unknown Behaviour = iota
	EndpointIndependent
	AddressDependent
	// Dependent is one of AddressDependent and AddressAndPortDependent; it takes a server with
	// two addresses to tell which.
	Dependent
	AddressAndPortDependent
)

func (b Behaviour) String() string {
	switch b {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case Dependent:
		return "address-dependent or address- and port-dependent"
	case AddressAndPortDependent:
		return "address- and port-dependent"
	}
	return "unknown"
}

// NAT is what lies between a UDP socket and the world.
type NAT struct {
	// None: nothing that changes addresses. Filtering is a firewall's, then.
	None bool
	// Mapped is where the first server saw the socket.
	Mapped netip.AddrPort
	// Mapping says whether others see it there, too; Filtering whose packets come in.
	Mapping, Filtering Behaviour
}

// ErrBlocked means that no STUN server has answered: no UDP comes through, or the servers are
// all down.
var ErrBlocked = errors.New("no STUN server answers over UDP")

// probeSchedule is how long an answer is waited for before a request is sent again, and the
// last time before it is taken as lost: cut short against RFC 8489, for a person waits.
var probeSchedule = []time.Duration{300 * time.Millisecond, 500 * time.Millisecond, 700 * time.Millisecond}

// maxProbed bounds the servers that are tried.
const maxProbed = 8

// Flags of CHANGE-REQUEST (RFC 5780, section 7.2): answer from another port, or address.
const (
	changePort = 0x02
	changeAddr = 0x04
)

// Probe finds out what kind of NAT conn is behind, as RFC 5780 does with a server that has
// OTHER-ADDRESS. Without such a server the ports that two servers of one family see are
// compared, and Filtering stays Unknown. conn must be new, or not have been used with these
// servers for minutes, since a NAT lets in those whom we have sent to; nobody else may read
// it meanwhile. It takes up to 6 s, and each server that is down 1.5 s.
func Probe(ctx context.Context, conn net.PacketConn, servers []netip.AddrPort) (NAT, error) {
	p := prober{ctx, conn}
	defer conn.SetReadDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	var first, second answer
	var behind error
	for _, server := range servers[:min(len(servers), maxProbed)] {
		a, err := p.ask(server, 0)
		if ctx.Err() != nil {
			return NAT{}, ctx.Err()
		}
		if err != nil {
			behind = err
			continue
		}
		a.server = server
		switch {
		case a.other.IsValid():
			return p.behaviour(a)
		case !first.mapped.IsValid():
			first = a
		case !second.mapped.IsValid() && server.Addr() != first.server.Addr() && server.Addr().Is4() == first.server.Addr().Is4():
			second = a
		}
	}
	if !first.mapped.IsValid() {
		if behind != nil {
			return NAT{}, fmt.Errorf("%w: %w", ErrBlocked, behind)
		}
		return NAT{}, ErrBlocked
	}
	n := NAT{Mapped: first.mapped, None: p.isOwn(first.mapped)}
	switch {
	case !second.mapped.IsValid():
	case second.mapped == first.mapped:
		n.Mapping = EndpointIndependent
	default:
		n.Mapping = Dependent
	}
	return n, nil
}

// prober puts questions to STUN servers, one at a time.
type prober struct {
	ctx  context.Context
	conn net.PacketConn
}

type answer struct {
	server, mapped netip.AddrPort
	other          netip.AddrPort // OTHER-ADDRESS; zero: none
}

// behaviour asks a server that has another address. Filtering comes first: sending to the
// other address opens the NAT for it.
func (p prober) behaviour(a answer) (NAT, error) {
	n := NAT{Mapped: a.mapped, None: p.isOwn(a.mapped)}
	for _, test := range []struct {
		change byte
		shows  Behaviour
	}{{changeAddr | changePort, EndpointIndependent}, {changePort, AddressDependent}} {
		if _, err := p.ask(a.server, test.change); err == nil {
			n.Filtering = test.shows
			break
		} else if p.ctx.Err() != nil {
			return n, p.ctx.Err()
		}
	}
	if n.Filtering == Unknown {
		n.Filtering = AddressAndPortDependent
	}
	// Section 4.3: the other address with the same port, then with the other one.
	second, err := p.ask(netip.AddrPortFrom(a.other.Addr(), a.server.Port()), 0)
	if err != nil {
		return n, p.ctx.Err() // its other address cannot be reached: Mapping is not known
	}
	if second.mapped == a.mapped {
		n.Mapping = EndpointIndependent
		return n, nil
	}
	third, err := p.ask(a.other, 0)
	switch {
	case err != nil:
		n.Mapping = Dependent
		return n, p.ctx.Err()
	case third.mapped == second.mapped:
		n.Mapping = AddressDependent
	default:
		n.Mapping = AddressAndPortDependent
	}
	return n, nil
}

// ask puts one question until it is answered.
func (p prober) ask(server netip.AddrPort, change byte) (answer, error) {
	setters := []stun.Setter{stun.TransactionID, stun.BindingRequest}
	if change != 0 {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, change}})
	}
	request, err := stun.Build(setters...)
	if err != nil {
		return answer{}, fmt.Errorf("build a STUN request: %w", err)
	}
	for _, wait := range probeSchedule {
		if _, err := p.conn.WriteTo(request.Raw, net.UDPAddrFromAddrPort(server)); err != nil {
			return answer{}, fmt.Errorf("ask the STUN server %s: %w", server, err)
		}
		if err := p.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return answer{}, err
		}
		if p.ctx.Err() != nil { // the deadline just set may have undone that of ctx
			return answer{}, p.ctx.Err()
		}
		a, err := p.await(request.TransactionID)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return a, err
		}
	}
	return answer{}, fmt.Errorf("no answer from %s", server)
}

// await reads until there is an answer, from wherever it comes. An error of the socket is
// no reason to stop: it is how a closed port is told.
func (p prober) await(id [stun.TransactionIDSize]byte) (answer, error) {
	b := make([]byte, 1500)
	for errs := 0; ; {
		n, _, err := p.conn.ReadFrom(b)
		if err != nil {
			if errs++; errs > len(probeSchedule) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				return answer{}, err
			}
			continue
		}
		if a, ok := parseAnswer(b[:n], id); ok {
			return a, nil
		}
	}
}

// parseAnswer reads a STUN server's answer to the request with an id.
func parseAnswer(b []byte, id [stun.TransactionIDSize]byte) (a answer, ok bool) {
	message := &stun.Message{Raw: slices.Clone(b)}
	if message.Decode() != nil || message.Type != stun.BindingSuccess || message.TransactionID != id {
		return a, false
	}
	var mapped stun.XORMappedAddress
	if mapped.GetFrom(message) != nil {
		return a, false
	}
	if a.mapped, ok = addrPort(mapped.IP, mapped.Port); !ok {
		return a, false
	}
	var other stun.OtherAddress
	if other.GetFrom(message) == nil {
		a.other, _ = addrPort(other.IP, other.Port)
	}
	return a, true
}

func addrPort(ip net.IP, port int) (netip.AddrPort, bool) {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || a.IsUnspecified() || port <= 0 || port > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), true
}

// isOwn reports whether an address is the socket's own.
func (p prober) isOwn(mapped netip.AddrPort) bool {
	at, ok := p.conn.LocalAddr().(*net.UDPAddr)
	if !ok || at.Port != int(mapped.Port()) {
		return false
	}
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr() == mapped.Addr()
	})
}
