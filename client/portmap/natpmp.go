package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// NAT-PMP (RFC 6886 section 3).
const (
	natpmpVersion  = 0
	natpmpAddress  = 0 // operations
	natpmpUDP      = 1
	natpmpTCP      = 2
	answerFlag     = 128
	natpmpHeader   = 8
	natpmpAddrLen  = 12
	natpmpMapLen   = 16
	natpmpMapAsked = 12
)

var (
	errRubbish = errors.New("the gateway answers with rubbish")
	errVersion = errors.New("the gateway speaks another version")
)

// natpmpResults are the result codes of section 3.5.
var natpmpResults = map[uint16]string{
	1: "it does not speak this version",
	2: "it is not allowed; look for UPnP or NAT-PMP in the gateway's settings",
	3: "it has no connection itself",
	4: "it has no more ports",
	5: "it does not know the operation",
}

type resultError struct {
	code uint16
	text string
}

func (e *resultError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("result %d", e.code)
	}
	return fmt.Sprintf("%s (result %d)", e.text, e.code)
}

// natpmpAnswer is what a gateway says.
type natpmpAnswer struct {
	operation byte
	result    uint16
	clock     uint32
	address   netip.Addr    // of natpmpAddress
	internal  uint16        // of the others
	external  uint16        //
	lifetime  time.Duration //
}

// parseNATPMP reads an answer. Fields behind a result other than 0 need not be there.
func parseNATPMP(b []byte) (a natpmpAnswer, err error) {
	if len(b) < natpmpHeader || len(b) > maxAnswer || b[1] < answerFlag {
		return a, errRubbish
	}
	if b[0] != natpmpVersion {
		return a, errVersion
	}
	a.operation, a.result, a.clock = b[1]-answerFlag, binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:])
	switch {
	case a.operation > natpmpTCP:
		return a, errRubbish
	case a.result != 0:
		return a, nil
	case a.operation == natpmpAddress && len(b) >= natpmpAddrLen:
		a.address = netip.AddrFrom4([4]byte(b[8:12]))
	case a.operation != natpmpAddress && len(b) >= natpmpMapLen:
		a.internal, a.external = binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
		a.lifetime = seconds(binary.BigEndian.Uint32(b[12:]))
	default:
		return a, errRubbish
	}
	return a, nil
}

// maxLease bounds what a gateway may say of a lease.
const maxLease = 7 * 24 * time.Hour

func seconds(n uint32) time.Duration { return min(time.Duration(n)*time.Second, maxLease) }

// natpmp is a gateway that speaks NAT-PMP.
type natpmp struct {
	net      Network
	gateway  netip.Addr
	external netip.Addr
	epoch    epoch
	lost     bool // by the clock of the last answer
}

func probeNATPMP(ctx context.Context, n Network, at netip.Addr) (*natpmp, error) {
	g := &natpmp{net: n, gateway: at}
	if err := g.askAddress(ctx); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *natpmp) protocol() Protocol  { return NATPMP }
func (g *natpmp) address() netip.Addr { return g.gateway }

// ask has one operation done.
func (g *natpmp) ask(ctx context.Context, operation byte, request []byte, internal uint16) (answer natpmpAnswer, err error) {
	err = exchange(ctx, g.net, g.gateway, func(netip.Addr) []byte { return request }, func(b []byte) bool {
		a, parseErr := parseNATPMP(b)
		if parseErr != nil || a.operation != operation || a.result == 0 && a.internal != internal {
			return false
		}
		answer = a
		return true
	})
	if err != nil {
		return answer, err
	}
	g.lost = g.epoch.restarted(answer.clock, time.Now()) || g.lost
	if answer.result != 0 {
		return answer, &resultError{answer.result, natpmpResults[answer.result]}
	}
	return answer, nil
}

func (g *natpmp) askAddress(ctx context.Context) error {
	answer, err := g.ask(ctx, natpmpAddress, []byte{natpmpVersion, natpmpAddress}, 0)
	if err != nil {
		return err
	}
	g.external = answer.address
	return nil
}

// mapping is a request to map a port.
func (g *natpmp) mapping(ctx context.Context, w want, external uint16, lease time.Duration) (natpmpAnswer, error) {
	operation := byte(natpmpUDP)
	if w.tcp {
		operation = natpmpTCP
	}
	b := make([]byte, natpmpMapAsked)
	b[1] = operation
	binary.BigEndian.PutUint16(b[4:], w.internal)
	binary.BigEndian.PutUint16(b[6:], external)
	binary.BigEndian.PutUint32(b[8:], uint32(lease/time.Second))
	return g.ask(ctx, operation, b, w.internal)
}

func (g *natpmp) open(ctx context.Context, w want) (grant, error) {
	answer, err := g.mapping(ctx, w, w.suggested, w.lease)
	switch {
	case err != nil:
		return grant{}, err
	case answer.external == 0 || answer.lifetime == 0:
		return grant{}, errRubbish
	}
	g.lost = false
	return grant{w, netip.AddrPortFrom(g.external, answer.external), answer.lifetime}, nil
}

func (g *natpmp) close(ctx context.Context, gr grant) error {
	_, err := g.mapping(ctx, gr.want, 0, 0)
	return err
}

func (g *natpmp) intact(ctx context.Context, _ []grant) (netip.Addr, bool, error) {
	err := g.askAddress(ctx)
	return g.external, !g.lost, err
}
