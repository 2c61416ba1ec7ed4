package portmap

import (
	"errors"
	"net/netip"
	"time"
)

// Protocol is a way to talk to a gateway.
type Protocol string

const (
	PCP    Protocol = "pcp"
	NATPMP Protocol = "nat-pmp"
	UPnP   Protocol = "upnp"
)

// preference has the protocols in the order in which they are used: those that notice a
// gateway's restart and take leases first.
var preference = []Protocol{PCP, NATPMP, UPnP}

// State of a mapping.
type State string

const (
	// Searching: not known yet.
	Searching State = "searching"
	// OK: the gateway passes on what comes in at External.
	OK State = "ok"
	// Lost: it did, and forgot about it, or went away.
	Lost State = "lost"
	// Failed: there is a gateway that can, and it refused. Status.Err says why.
	Failed State = "error"
	// None: there is nothing to ask, or need to. Status.Err says why.
	None State = "none"
)

// Status is what is known of the mapping.
type Status struct {
	State    State
	Protocol Protocol
	Gateway  netip.Addr
	Internal netip.AddrPort // ours
	// External is where the gateway takes in TCP, or UDP without TCP. Its address may be a
	// private one: then there is another NAT behind the gateway.
	External netip.AddrPort
	// UDPPort is where it takes in UDP: nearly always the port of External.
	UDPPort uint16
	Lease   time.Duration // 0: until it is removed
	Err     error
}

// Reasons to be in the state None.
var (
	ErrPublic    = errors.New("this machine's own address is a public one: there is nothing to map")
	ErrOff       = errors.New("port mapping is switched off")
	ErrLoopback  = errors.New("only this machine is listened to")
	ErrNoIPv4    = errors.New("no IPv4 is used, and IPv6 needs no mapping")
	ErrNoGateway = errors.New("no gateway answers to PCP, NAT-PMP or UPnP")
)
