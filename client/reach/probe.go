package reach

import (
	"cmp"
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
		return "dependent"
	case AddressAndPortDependent:
		return "address-and-port-dependent"
	}
	return "unknown"
}

// MarshalText is String, for JSON.
func (b Behaviour) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// NAT is what lies between a UDP socket and the world.
type NAT struct {
	// None: nothing that changes addresses. Filtering is a firewall's, then.
	None bool
	// Mapped is where the first server saw the socket.
	Mapped netip.AddrPort
	// Answers is how many of the servers have answered.
	Answers int
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
// it meanwhile. It takes up to 6 s. When ctx ends, what was found until then is returned with
// its error.
func Probe(ctx context.Context, conn net.PacketConn, servers []netip.AddrPort) (NAT, error) {
	p := prober{ctx, conn}
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
	var asked []*question
	for _, server := range servers[:min(len(servers), maxProbed)] {
		asked = append(asked, &question{server: server})
	}
	if err := p.ask(asked...); err != nil {
		return NAT{}, err
	}
	answered := slices.DeleteFunc(asked, func(q *question) bool { return !q.mapped.IsValid() })
	if len(answered) == 0 {
		return NAT{}, cmp.Or(ctx.Err(), ErrBlocked)
	}
	first := answered[0]
	n := NAT{Mapped: first.mapped, None: p.isOwn(first.mapped), Answers: len(answered)}
	n.compare(answered)
	for _, q := range answered {
		if q.other.IsValid() {
			return n, cmp.Or(p.behaviour(q, &n), ctx.Err())
		}
	}
	return n, ctx.Err()
}

// compare tells the mapping from what several servers see.
func (n *NAT) compare(answered []*question) {
	first := answered[0]
	for _, q := range answered[1:] {
		switch {
		case q.server.Addr() == first.server.Addr() || q.server.Addr().Is4() != first.server.Addr().Is4():
		case q.mapped != first.mapped:
			n.Mapping = Dependent
			return
		default:
			n.Mapping = EndpointIndependent
		}
	}
}

// prober puts questions to STUN servers.
type prober struct {
	ctx  context.Context
	conn net.PacketConn
}

// question is a question to a STUN server, and its answer.
type question struct {
	server  netip.AddrPort
	change  byte // flags of CHANGE-REQUEST
	request *stun.Message

	mapped netip.AddrPort // zero: no answer
	other  netip.AddrPort // OTHER-ADDRESS; zero: none
}

// behaviour asks a server that has another address. Filtering comes first: sending to the
// other address opens the NAT for it.
func (p prober) behaviour(q *question, n *NAT) error {
	anyone := &question{server: q.server, change: changeAddr | changePort}
	anyPort := &question{server: q.server, change: changePort}
	if err := p.ask(anyone, anyPort); err != nil || p.ctx.Err() != nil {
		return err
	}
	switch {
	case anyone.mapped.IsValid():
		n.Filtering = EndpointIndependent
	case anyPort.mapped.IsValid():
		n.Filtering = AddressDependent
	default:
		n.Filtering = AddressAndPortDependent
	}
	// Section 4.3: the other address with the same port, then with the other one.
	second := &question{server: netip.AddrPortFrom(q.other.Addr(), q.server.Port())}
	if err := p.ask(second); err != nil || !second.mapped.IsValid() {
		return err // its other address cannot be reached
	}
	if second.mapped == q.mapped {
		n.Mapping = EndpointIndependent
		return nil
	}
	n.Mapping = Dependent
	third := &question{server: q.other}
	if err := p.ask(third); err != nil || !third.mapped.IsValid() {
		return err
	}
	n.Mapping = AddressAndPortDependent
	if third.mapped == second.mapped {
		n.Mapping = AddressDependent
	}
	return nil
}

// ask puts questions at the same time, until all are answered, or for as long as an answer may
// take. A server that cannot be sent to gives none.
func (p prober) ask(questions ...*question) error {
	for _, q := range questions {
		setters := []stun.Setter{stun.TransactionID, stun.BindingRequest}
		if q.change != 0 {
			setters = append(setters, stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, q.change}})
		}
		var err error
		if q.request, err = stun.Build(setters...); err != nil {
			return fmt.Errorf("build a STUN request: %w", err)
		}
	}
	open := len(questions)
	for _, wait := range probeSchedule {
		for _, q := range questions {
			if !q.mapped.IsValid() {
				_, _ = p.conn.WriteTo(q.request.Raw, net.UDPAddrFromAddrPort(q.server))
			}
		}
		if err := p.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		if p.ctx.Err() != nil { // the deadline just set may have undone that of ctx
			return nil
		}
		if err := p.await(questions, &open); err != nil || open == 0 {
			return err
		}
	}
	return nil
}

// await reads until all open questions are answered, from wherever that comes, or the deadline
// passes. Other errors concern one packet: it is how a closed port is told.
func (p prober) await(questions []*question, open *int) error {
	b := make([]byte, 1500)
	for errs := 0; *open > 0; {
		n, _, err := p.conn.ReadFrom(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			if errs++; errs > maxProbed || errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("reading answers of STUN servers: %w", err)
			}
			continue
		}
		for _, q := range questions {
			if mapped, other, ok := parseAnswer(b[:n], q.request.TransactionID); ok && !q.mapped.IsValid() {
				q.mapped, q.other = mapped, other
				*open--
			}
		}
	}
	return nil
}

// parseAnswer reads a STUN server's answer to the request with an id.
func parseAnswer(b []byte, id [stun.TransactionIDSize]byte) (mapped, other netip.AddrPort, ok bool) {
	message := &stun.Message{Raw: slices.Clone(b)}
	if message.Decode() != nil || message.Type != stun.BindingSuccess || message.TransactionID != id {
		return mapped, other, false
	}
	var xor stun.XORMappedAddress
	if xor.GetFrom(message) != nil {
		return mapped, other, false
	}
	if mapped, ok = addrPort(xor.IP, xor.Port); !ok {
		return mapped, other, false
	}
	var at stun.OtherAddress
	if at.GetFrom(message) == nil {
		other, _ = addrPort(at.IP, at.Port)
	}
	return mapped, other, true
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
