package portmap

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// PCP (RFC 6887 sections 7 and 11).
const (
	pcpVersion  = 2
	pcpAnnounce = 0 // opcodes
	pcpMap      = 1
	pcpHeader   = 24
	pcpMapLen   = 60
	pcpTCP      = 6 // protocol numbers of IP
	pcpUDP      = 17

	pcpUnsupportedVersion = 1
	pcpAddressMismatch    = 12
)

// pcpResults are the result codes of section 7.4 that a user can do something about.
var pcpResults = map[uint16]string{
	pcpUnsupportedVersion: "it does not speak this version",
	2:                     "it is not allowed, or another program has the port; look for UPnP or PCP in the gateway's settings",
	4:                     "it does not know the operation",
	7:                     "it has no connection itself",
	8:                     "it has no more ports",
	10:                    "we have too many ports",
	11:                    "it cannot give the port",
	pcpAddressMismatch:    "there is another NAT before it",
}

// nonce proves that a mapping is ours: a Mapper has one, so that what it had mapped before the way
// to the gateway changed is still its own.
type nonce [12]byte

func newNonce() (n nonce) {
	rand.Read(n[:])
	return n
}

// pcpAnswer is what a server says.
type pcpAnswer struct {
	opcode   byte
	result   byte
	lifetime time.Duration
	clock    uint32
	// Of pcpMap:
	nonce    nonce
	protocol byte
	internal uint16
	external netip.AddrPort
}

// parsePCP reads an answer.
func parsePCP(b []byte) (a pcpAnswer, err error) {
	if len(b) < 4 || len(b) > maxAnswer || b[1] < answerFlag {
		return a, errRubbish
	}
	if b[0] != pcpVersion {
		return a, errVersion
	}
	if len(b) < pcpHeader || len(b)%4 != 0 {
		return a, errRubbish
	}
	a = pcpAnswer{
		opcode: b[1] - answerFlag, result: b[3],
		lifetime: seconds(binary.BigEndian.Uint32(b[4:])), clock: binary.BigEndian.Uint32(b[8:]),
	}
	if a.opcode != pcpMap {
		return a, nil
	}
	if len(b) < pcpMapLen {
		return a, errRubbish
	}
	a.nonce = nonce(b[24:36])
	a.protocol = b[36]
	a.internal = binary.BigEndian.Uint16(b[40:])
	a.external = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[44:60])).Unmap(), binary.BigEndian.Uint16(b[42:]))
	return a, nil
}

// appendPCP begins a request: its header.
func appendPCP(b []byte, opcode byte, lifetime time.Duration, client netip.Addr) []byte {
	b = append(b, pcpVersion, opcode, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(lifetime/time.Second))
	as16 := client.As16()
	return append(b, as16[:]...)
}

// pcp is a gateway that speaks PCP.
type pcp struct {
	net     Network
	gateway netip.Addr
	nonce   nonce
	epoch   epoch
	lost    bool // by the clock of the last answer
}

func probePCP(ctx context.Context, n Network, at netip.Addr, ours nonce) (*pcp, error) {
	g := &pcp{net: n, gateway: at, nonce: ours}
	if err := g.announce(ctx); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *pcp) protocol() Protocol  { return PCP }
func (g *pcp) address() netip.Addr { return g.gateway }

// announce asks for nothing but the server's clock (section 14.1). A server that does not
// know how to is one nevertheless.
func (g *pcp) announce(ctx context.Context) error {
	answer, err := g.ask(ctx, func(local netip.Addr) []byte {
		return appendPCP(nil, pcpAnnounce, 0, local)
	}, func(a pcpAnswer) bool { return a.opcode == pcpAnnounce })
	if err == nil && answer.result == pcpUnsupportedVersion {
		return errVersion
	}
	return err
}

// ask makes one exchange. It fails at once if the gateway speaks only NAT-PMP or an older
// draft, which answers in its own version.
func (g *pcp) ask(ctx context.Context, request func(local netip.Addr) []byte, fits func(pcpAnswer) bool) (answer pcpAnswer, err error) {
	version := false
	err = exchange(ctx, g.net, g.gateway, request, func(b []byte) bool {
		a, parseErr := parsePCP(b)
		version = errors.Is(parseErr, errVersion)
		if !version && (parseErr != nil || !fits(a)) {
			return false
		}
		answer = a
		return true
	})
	switch {
	case err != nil:
		return answer, err
	case version:
		return answer, errVersion
	}
	g.lost = g.epoch.restarted(answer.clock, time.Now()) || g.lost
	return answer, nil
}

// mapping is a request to map a port.
func (g *pcp) mapping(ctx context.Context, w want, external netip.AddrPort, lease time.Duration) (pcpAnswer, error) {
	protocol := byte(pcpUDP)
	if w.tcp {
		protocol = pcpTCP
	}
	answer, err := g.ask(ctx, func(local netip.Addr) []byte {
		b := appendPCP(make([]byte, 0, pcpMapLen), pcpMap, lease, local)
		b = append(b, g.nonce[:]...)
		b = append(b, protocol, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, w.internal)
		b = binary.BigEndian.AppendUint16(b, external.Port())
		as16 := external.Addr().As16()
		return append(b, as16[:]...)
	}, func(a pcpAnswer) bool {
		return a.opcode == pcpMap && a.nonce == g.nonce && a.protocol == protocol && a.internal == w.internal
	})
	if err == nil && answer.result != 0 {
		err = &resultError{uint16(answer.result), pcpResults[uint16(answer.result)]}
	}
	return answer, err
}

func (g *pcp) open(ctx context.Context, w want) (grant, error) {
	answer, err := g.mapping(ctx, w, netip.AddrPortFrom(netip.IPv4Unspecified(), w.suggested), w.lease)
	switch {
	case err != nil:
		return grant{}, err
	case answer.external.Port() == 0 || !answer.external.Addr().Is4() || answer.lifetime == 0:
		return grant{}, errRubbish
	}
	g.lost = false
	return grant{w, answer.external, answer.lifetime}, nil
}

func (g *pcp) close(ctx context.Context, gr grant) error {
	_, err := g.mapping(ctx, gr.want, gr.external, 0)
	return err
}

// intact goes by the server's clock only: its address comes with the next renewal.
func (g *pcp) intact(ctx context.Context, grants []grant) (netip.Addr, bool, error) {
	err := g.announce(ctx)
	return grants[0].external.Addr(), !g.lost, err
}
