package ws

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// Bounds of what a tracker may name.
const (
	maxICEServers = 4
	maxICEURLs    = 8   // of all servers together
	maxICEURL     = 256 // bytes
	maxICESecret  = 512 // bytes of a user name or credential

	// iceRate and iceBurst bound how often a torrent's servers are looked up, per second.
	iceRate  = 0.1
	iceBurst = 3
	// vetTimeout bounds the looking up of a reply's servers.
	vetTimeout = 5 * time.Second
)

// ICEServer is a STUN or TURN server that a tracker has named, in the form of WebRTC's
// RTCIceServer. URLs are "stun:HOST:PORT", "turn:HOST:PORT?transport=udp" (or tcp), or the
// same with "turns:".
type ICEServer struct {
	URLs                 []string
	Username, Credential string
}

// An ICETaker is a Torrent that uses the STUN and TURN servers which trackers name in their
// replies, under the key "iceServers".
type ICETaker interface {
	// ICEServers is told the servers that a tracker names, when they are not those that it
	// named before. Only such are among them whose addresses the tracker may name
	// ([tracker.Network]). It must not block.
	ICEServers(from *Handle, servers []ICEServer)
}

// iceServers is what a reply says of them. What is not understood is left out, so that
// it harms nothing else in the message.
type iceServers []ICEServer

// iceServerJSON is one as it is written. URLs may be one string.
type iceServerJSON struct {
	URLs       json.RawMessage `json:"urls"`
	Username   string          `json:"username"`
	Credential string          `json:"credential"`
}

// UnmarshalJSON never fails.
func (s *iceServers) UnmarshalJSON(b []byte) error {
	*s = nil
	var list []json.RawMessage
	if json.Unmarshal(b, &list) != nil {
		return nil
	}
	urls := 0
	for _, item := range list[:min(len(list), maxICEServers)] {
		var raw iceServerJSON
		if json.Unmarshal(item, &raw) != nil || len(raw.Username) > maxICESecret || len(raw.Credential) > maxICESecret {
			continue
		}
		server := ICEServer{Username: raw.Username, Credential: raw.Credential}
		for _, text := range stringOrStrings(raw.URLs) {
			url, ok := parseICEURL(text)
			if urls == maxICEURLs || !ok || url.relays() && (raw.Username == "" || raw.Credential == "") {
				continue
			}
			urls++
			server.URLs = append(server.URLs, url.String())
		}
		if len(server.URLs) > 0 {
			*s = append(*s, server)
		}
	}
	return nil
}

func stringOrStrings(b json.RawMessage) (texts []string) {
	var one string
	if json.Unmarshal(b, &one) == nil {
		return []string{one}
	}
	if json.Unmarshal(b, &texts) != nil {
		return nil
	}
	return texts
}

// iceURL is a URL of RFC 7064 or RFC 7065.
type iceURL struct {
	scheme, host, port, transport string
}

func (u iceURL) relays() bool { return u.scheme != "stun" }

func (u iceURL) String() string {
	text := u.scheme + ":" + net.JoinHostPort(u.host, u.port)
	if u.transport != "" {
		text += "?transport=" + u.transport
	}
	return text
}

func parseICEURL(text string) (u iceURL, ok bool) {
	if len(text) > maxICEURL {
		return u, false
	}
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok {
		return u, false
	}
	u.scheme = strings.ToLower(scheme)
	switch u.scheme {
	case "stun", "turn":
		u.port = "3478"
	case "turns":
		u.port = "5349"
	default:
		return u, false
	}
	rest, query, asks := strings.Cut(rest, "?")
	if transport, is := strings.CutPrefix(query, "transport="); asks {
		if !is || !u.relays() || transport != "udp" && transport != "tcp" {
			return u, false
		}
		u.transport = transport
	}
	if host, port, err := net.SplitHostPort(rest); err == nil {
		u.host, u.port = host, port
	} else {
		u.host = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")
	}
	n, err := strconv.ParseUint(u.port, 10, 16)
	if err != nil || n == 0 {
		return u, false
	}
	u.port = strconv.FormatUint(n, 10)
	if a, err := netip.ParseAddr(u.host); err == nil {
		u.host = a.WithZone("").String()
		return u, true
	}
	return u, isHostName(u.host)
}

// isHostName reports whether a text can be the name of a host: letters, digits, hyphens and dots.
func isHostName(text string) bool {
	return text != "" && text[0] != '-' && text[0] != '.' && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

// named has the servers of a reply looked up and told to the torrent.
func (h *Handle) named(l *link, servers iceServers) {
	taker, takes := h.torrent.(ICETaker)
	if !takes || len(servers) == 0 {
		return
	}
	h.mu.Lock()
	known := slices.EqualFunc(h.ice, servers, equalICE)
	if known || h.closed || h.vetting || !h.iceRate.Allow() {
		h.mu.Unlock()
		return
	}
	h.ice, h.vetting = servers, true
	h.mu.Unlock()
	h.s.m.spawn(h.url, func() {
		defer func() {
			h.mu.Lock()
			h.vetting = false
			h.mu.Unlock()
		}()
		ctx, cancel := context.WithTimeout(h.ctx, vetTimeout)
		defer cancel()
		vetted := h.s.m.vet(ctx, l.speaker(), servers)
		if h.ctx.Err() == nil {
			taker.ICEServers(h, vetted)
		}
	})
}

func equalICE(a, b ICEServer) bool {
	return a.Username == b.Username && a.Credential == b.Credential && slices.Equal(a.URLs, b.URLs)
}

func newICERate() *rate.Limiter { return rate.NewLimiter(iceRate, iceBurst) }

// vet leaves those of servers whose addresses a tracker at speaker may name. Names become
// the addresses that were judged, but for TLS, which checks the name itself.
func (m *Manager) vet(ctx context.Context, speaker netip.Addr, servers []ICEServer) (vetted []ICEServer) {
	for _, server := range servers {
		var urls []string
		for _, text := range server.URLs {
			if url, ok := parseICEURL(text); ok && m.vetURL(ctx, speaker, &url) {
				urls = append(urls, url.String())
			}
		}
		if len(urls) > 0 {
			vetted = append(vetted, ICEServer{URLs: urls, Username: server.Username, Credential: server.Credential})
		}
	}
	return vetted
}

func (m *Manager) vetURL(ctx context.Context, speaker netip.Addr, url *iceURL) bool {
	addresses, err := reach.Lookup(ctx, m.config.Network, "ip", url.host)
	if err != nil || len(addresses) == 0 {
		return false
	}
	for _, a := range addresses {
		if !m.config.Network.MayName(speaker, a) {
			return false
		}
	}
	if url.scheme != "turns" {
		url.host = addresses[0].String()
	}
	return true
}
