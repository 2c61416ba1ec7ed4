package webrtcwire

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// reflexiveTTL is how long an answer of a STUN server is used before it is
	// asked again, in the background. NATs forget mappings after 30 s or more.
	reflexiveTTL = 25 * time.Second

	// srflxPriority is RFC 8445 section 5.1.2.1 with the recommended type
	// preference 100 and component 1.
	srflxPriority = 100<<24 | 65535<<8 | 255
)

// reflexive knows the addresses under which STUN servers see the shared socket
// (server-reflexive candidates). It asks once for the whole process and in the
// background, so that no description waits for a STUN server that is down: only
// the very first may wait, for at most Config.GatherTimeout.
type reflexive struct {
	mux     *mux
	servers []string
	logger  *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	addrs   []netip.AddrPort
	asked   time.Time
	asking  bool
	answers chan struct{} // closed when the first round is over
}

func newReflexive(mux *mux, servers []string, logger *slog.Logger) *reflexive {
	r := &reflexive{mux: mux, servers: servers, logger: logger, answers: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if len(servers) == 0 {
		close(r.answers)
	} else {
		r.refresh()
	}
	return r
}

func (r *reflexive) close() {
	r.cancel()
	r.wg.Wait()
}

// addresses returns what is known, waiting until ctx ends only if no server has
// had the time to answer yet.
func (r *reflexive) addresses(ctx context.Context) []netip.AddrPort {
	r.refresh()
	select {
	case <-r.answers:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addrs
}

func (r *reflexive) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.servers) == 0 || r.asking || r.ctx.Err() != nil || time.Since(r.asked) < reflexiveTTL {
		return
	}
	r.asking = true
	r.wg.Go(func() {
		addrs := r.askAll()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.asked.IsZero() {
			close(r.answers)
		}
		r.addrs, r.asked, r.asking = addrs, time.Now(), false
	})
}

func (r *reflexive) askAll() []netip.AddrPort {
	found := make([][]netip.AddrPort, len(r.servers))
	var wg sync.WaitGroup
	for i, server := range r.servers {
		wg.Go(func() { found[i] = r.ask(server) })
	}
	wg.Wait()
	var addrs []netip.AddrPort
	seen := map[netip.AddrPort]bool{}
	for _, list := range found {
		for _, addr := range list {
			if !seen[addr] {
				seen[addr] = true
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

// ask asks one server, over each address family that its name has.
func (r *reflexive) ask(server string) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, network := range []string{"udp4", "udp6"} {
		udp, err := resolveUDP(r.ctx, network, server)
		if err != nil {
			r.logger.Debug("STUN server not resolved", "server", server, "network", network, "error", err)
			continue
		}
		addr, err := r.mux.ask(r.ctx, udp)
		if err != nil {
			r.logger.Debug("STUN server did not answer", "server", server, "network", network, "error", err)
			continue
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

func resolveUDP(ctx context.Context, network, hostPort string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, network, port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+strings.TrimPrefix(network, "udp"), host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if len(ips) == 0 {
		return netip.AddrPort{}, &net.DNSError{Err: "no address", Name: host}
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(number)), nil
}

// addReflexive adds server-reflexive candidates to a description. pion need not
// know of them: a peer's checks to such an address arrive at the shared socket,
// which is their base (RFC 8445 section 6.1.2.4).
func addReflexive(sdp string, addrs []netip.AddrPort) string {
	var lines strings.Builder
	for i, addr := range addrs {
		if strings.Contains(sdp, fmt.Sprintf(" %s %d typ ", addr.Addr(), addr.Port())) {
			continue // no NAT: a host candidate says the same
		}
		related := "0.0.0.0"
		if addr.Addr().Is6() {
			related = "::"
		}
		fmt.Fprintf(&lines, "a=candidate:srflx%d 1 udp %d %s %d typ srflx raddr %s rport 0\r\n",
			i, srflxPriority-i, addr.Addr(), addr.Port(), related)
	}
	if lines.Len() == 0 {
		return sdp
	}
	const end = "a=end-of-candidates\r\n"
	if i := strings.LastIndex(sdp, end); i >= 0 {
		return sdp[:i] + lines.String() + sdp[i:]
	}
	return sdp + lines.String()
}
