package portmap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// serverPort is where gateways listen for PCP and NAT-PMP (RFC 6887 section 19, RFC 6886
// section 3).
const serverPort = 5351

const (
	// firstWait is how long an answer is waited for before the request is sent again (RFC 6886
	// section 3.1); it doubles each time.
	firstWait = 250 * time.Millisecond
	// maxAnswer is the longest packet of PCP (RFC 6887 section 7).
	maxAnswer = 1100
	// maxWrong bounds the packets of an exchange that are no answer to it.
	maxWrong = 64
)

// errSilent is why an exchange fails mostly.
var errSilent = errors.New("it does not answer")

// exchange sends a request to the gateway, again and again until ctx ends, and returns the
// first packet that accept takes. Only packets of the gateway come: the socket is connected
// to it.
func exchange(ctx context.Context, n Network, gateway netip.Addr, request func(local netip.Addr) []byte, accept func([]byte) bool) error {
	conn, err := n.DialContext(ctx, "udp4", netip.AddrPortFrom(gateway, serverPort).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	local, _ := conn.LocalAddr().(*net.UDPAddr)
	packet := request(local.AddrPort().Addr().Unmap())
	buffer := make([]byte, maxAnswer)
	wrong := 0
	for wait := firstWait; ; wait *= 2 {
		if _, err := conn.Write(packet); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(wait))
		for {
			if ctx.Err() != nil {
				return errSilent
			}
			size, err := conn.Read(buffer)
			if err != nil {
				timeout, ok := err.(net.Error)
				if !ok || !timeout.Timeout() {
					return err // nobody listens there: ICMP says so
				}
				break
			}
			if accept(buffer[:size]) {
				return nil
			}
			if wrong++; wrong >= maxWrong {
				return errRubbish
			}
		}
		if ctx.Err() != nil {
			return errSilent
		}
	}
}

// epoch is how a gateway's clock is followed. A gateway that lost its mappings counts anew.
type epoch struct {
	known bool
	clock uint32
	at    time.Time
}

// restarted takes in the gateway's clock, in seconds, and reports whether mappings are lost: it
// went back, or on by another time than passed here, by more than the 1/16 and two seconds
// that clocks may differ (RFC 6887 section 8.5).
func (e *epoch) restarted(clock uint32, now time.Time) bool {
	before := *e
	*e = epoch{true, clock, now}
	if !before.known {
		return false
	}
	if int64(clock)+1 < int64(before.clock) {
		return true
	}
	theirs := int64(clock) - int64(before.clock)
	ours := int64(now.Sub(before.at) / time.Second)
	return ours+2 < theirs-theirs/16 || theirs+2 < ours-ours/16
}
