package webrtcwire

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/pion/stun/v4"
)

const (
	// DefaultOfferLifetime is how long an offer waits for its answer. Browsers
	// give theirs 50 s; a tracker may deliver an answer late.
	DefaultOfferLifetime = 60 * time.Second

	// DefaultGatherTimeout bounds the time that candidates which need a server
	// (STUN, TURN) may hold back a description. An offer lives for 50 s at the
	// other end, and the player is waiting.
	DefaultGatherTimeout = time.Second

	// DefaultNegotiationTimeout bounds the time from having both descriptions to
	// an open data channel. webtorrent.js gives up after 25 s.
	DefaultNegotiationTimeout = 28 * time.Second

	// DefaultMaxPending bounds live offers and negotiations together. An offer costs
	// about 30 KB and 3 goroutines, with a relay a few times as much.
	DefaultMaxPending = 200

	// DefaultMaxConns bounds open connections.
	DefaultMaxConns = 500
)

// relayGatherFactor stretches GatherTimeout when only relayed candidates are
// wanted: without a TURN allocation such a description is worth nothing.
const relayGatherFactor = 5

// leastGather is for how long a description waits that has no candidate at all yet.
const leastGather = 5 * time.Second

// Config says how a Transport reaches the world. The zero value works: a UDP
// socket of its own on any port, no STUN, no TURN.
type Config struct {
	// PacketConns are the UDP socket shared by all connections, which the
	// Transport owns from New on and closes. None: a socket of our own on any
	// port. More than one: shares of one socket, such as its STUN and its DTLS
	// packets; all are read, and the first is written to.
	//
	// If they have the methods ReadFromUDPAddrPort and WriteToUDPAddrPort of
	// *net.UDPConn these are used, which saves allocations. If they have
	//
	//	HandleTimed(f func(packet []byte, from netip.AddrPort, received time.Time) (taken bool), flush func())
	//	Queue(packet []byte, to netip.AddrPort) (int, error)
	//	WriteSegments(packets []byte, size int, to netip.AddrPort) (int, error)
	//	WriteWhole(packet []byte, to netip.AddrPort) (int, error)
	//	WriteFragmentable(packet []byte, to netip.AddrPort) (int, error)
	//
	// packets are taken from, and given to, whoever has read many together and can send many
	// together. Those that are of no connection of ours f does not take: requests to a STUN
	// server, answers to another's questions, channel data of no relay of ours. With the last two, packets are as large as
	// the path takes: WriteWhole sends one whole or not at all, EMSGSIZE says that it is too large, and
	// WriteFragmentable sends in fragments what a path that has become narrower does not take.
	PacketConns []net.PacketConn

	// ICEServers are STUN and TURN servers: "stun:host:port" and
	// "turn:user:password@host:port?transport=tcp" (RFC 7064, RFC 7065 with
	// credentials added). "turns:" is TURN over TLS, or over DTLS. All connections by a TURN server share
	// one allocation, and its packets go by the socket, if they go by UDP without DTLS.
	ICEServers []string

	// RelayOnly offers and uses only candidates relayed by a TURN server.
	RelayOnly bool

	// IncludeLoopback adds loopback addresses to our candidates. It is implied
	// when the socket is bound to one.
	IncludeLoopback bool

	// OfferLifetime, GatherTimeout and NegotiationTimeout default to the
	// constants above.
	OfferLifetime      time.Duration
	GatherTimeout      time.Duration
	NegotiationTimeout time.Duration

	// MaxPending bounds live offers and negotiations, MaxConns open connections.
	// Offers may be half of MaxPending, and an offer, or a negotiation that leads
	// nowhere, gives way to an answer. Zero means the defaults above.
	MaxPending int
	MaxConns   int

	// Network reaches STUN and TURN servers, answers mDNS and lists the interfaces; nil:
	// package net. Candidates are the addresses that it lists, or if the socket is bound
	// to one, that alone.
	Network Network

	// Mirror knows how STUN servers see the socket, and serves others as well, who own it;
	// the servers of ICEServers are its business then. Nil: one of the Transport's own.
	Mirror *Mirror

	// TCPPort is the port of a TCP listener beside the socket whose connections of ICE are given
	// to [Transport.TakeTCP]; it becomes passive candidates (RFC 6544). 0: none.
	TCPPort int

	// Mapped tells which ports of NATs lead to the socket and to TCPPort: what a router was
	// asked for, or its owner has set. Each description has those of its time as
	// server-reflexive candidates, but none with RelayOnly. It must not block. Nil: none.
	Mapped func() []Mapped

	// Logger receives what this package and pion have to say. Nil: silence.
	Logger *slog.Logger
}

func (c *Config) setDefaults() {
	if c.OfferLifetime <= 0 {
		c.OfferLifetime = DefaultOfferLifetime
	}
	if c.GatherTimeout <= 0 {
		c.GatherTimeout = DefaultGatherTimeout
	}
	if c.NegotiationTimeout <= 0 {
		c.NegotiationTimeout = DefaultNegotiationTimeout
	}
	if c.MaxPending <= 0 {
		c.MaxPending = DefaultMaxPending
	}
	if c.MaxConns <= 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.Network == nil {
		c.Network = &plainNetwork{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// ICEServer is a STUN or TURN server for one description, besides those of Config. URLs are as
// in RFC 7064 and RFC 7065, without credentials.
type ICEServer struct {
	URLs                 []string
	Username, Credential string
}

// forPeer splits servers into those that relay, for an agent, and those that tell our
// address. What is none of either is left out.
func forPeer(servers []ICEServer) (turn []*stun.URI, questions []string) {
	for _, server := range servers {
		for _, url := range server.URLs {
			uri, err := stun.ParseURI(url)
			switch {
			case err != nil:
			case uri.Scheme == stun.SchemeTypeSTUN:
				questions = append(questions, net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port)))
			case uri.Scheme != stun.SchemeTypeSTUNS && server.Username != "" && server.Credential != "":
				uri.Username, uri.Password = server.Username, server.Credential
				turn = append(turn, uri)
			}
		}
	}
	return turn, questions
}

// iceServers is the parsed form of Config.ICEServers.
type iceServers struct {
	stun []string // host:port, asked by this package over the shared socket
	turn []*stun.URI
}

// CheckICEServer reports whether url can be used in Config.ICEServers.
func CheckICEServer(url string) error {
	_, err := parseICEServers([]string{url})
	return err
}

func parseICEServers(urls []string) (iceServers, error) {
	var servers iceServers
	for _, raw := range urls {
		scheme, rest, ok := strings.Cut(raw, ":")
		if !ok {
			return servers, fmt.Errorf("ICE server %q: want stun:host:port or turn:user:password@host:port", raw)
		}
		var user, password string
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			user, password, ok = strings.Cut(rest[:at], ":")
			if !ok || user == "" || password == "" {
				return servers, fmt.Errorf("ICE server %s:...@%s: want user:password before the @", scheme, rest[at+1:])
			}
			rest = rest[at+1:]
		}
		uri, err := stun.ParseURI(scheme + ":" + rest)
		if err != nil {
			return servers, fmt.Errorf("ICE server %s:%s: %w", scheme, rest, err)
		}
		switch uri.Scheme {
		case stun.SchemeTypeSTUN:
			servers.stun = append(servers.stun, net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port)))
		case stun.SchemeTypeTURN, stun.SchemeTypeTURNS:
			if user == "" {
				return servers, fmt.Errorf("ICE server %s:%s: a TURN server needs user:password@ before the host", scheme, rest)
			}
			uri.Username, uri.Password = user, password
			servers.turn = append(servers.turn, uri)
		default:
			return servers, fmt.Errorf("ICE server %s:%s: %w", scheme, rest, errSTUNS)
		}
	}
	return servers, nil
}

var errSTUNS = errors.New("STUN over TLS is not supported; use a stun: or turns: URL")
