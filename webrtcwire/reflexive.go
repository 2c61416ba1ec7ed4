package webrtcwire

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// reflexiveTTL is how long an answer of a STUN server is used before it is
	// asked again, in the background. NATs forget mappings after 30 s or more.
	reflexiveTTL = 25 * time.Second

	// reflexiveGrace is how much longer than for the first answer of all a
	// description waits for those of other servers and the other address family.
	reflexiveGrace = 100 * time.Millisecond

	// srflxPriority is RFC 8445 section 5.1.2.1 with the recommended type
	// preference 100 and component 1.
	srflxPriority = 100<<24 | 65535<<8 | 255

	// maxQuestioned bounds the servers that are asked: those that were added last stay out.
	maxQuestioned = 8
)

// reflexive knows the addresses under which STUN servers see the shared socket
// (server-reflexive candidates). It asks once for the whole process and in the
// background, so that no description waits for a STUN server that is down while
// another answers: until the first round is over, descriptions wait for the first
// answer, at most for Config.GatherTimeout.
type reflexive struct {
	mux     *mux
	servers []string
	network Network
	logger  *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	addrs  []netip.AddrPort // of the last round that is over, or of the first
	asked  time.Time        // when the last round was over
	asking bool
	first  chan struct{} // closed with the first answer, or the first round
	over   chan struct{} // closed when the first round is over
}

func newReflexive(mux *mux, servers []string, network Network, logger *slog.Logger) *reflexive {
	r := &reflexive{mux: mux, servers: servers, network: network, logger: logger, first: make(chan struct{}), over: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if len(servers) == 0 {
		close(r.first)
		close(r.over)
	} else {
		r.refresh()
	}
	return r
}

// add has more servers asked from now on.
func (r *reflexive) add(servers []string) {
	added := false
	r.mu.Lock()
	for _, server := range servers {
		if len(r.servers) < maxQuestioned && !slices.Contains(r.servers, server) {
			r.servers = append(slices.Clip(r.servers), server) // askAll reads the old list
			added = true
		}
	}
	if added && !r.asked.IsZero() {
		r.asked = time.Now().Add(-reflexiveTTL) // the answers of the others stay until then
	}
	r.mu.Unlock()
	if added {
		r.refresh()
	}
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
	case <-r.first:
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(ctx, reflexiveGrace)
	defer cancel()
	select {
	case <-r.over:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.addrs)
}

func (r *reflexive) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.servers) == 0 || r.asking || r.ctx.Err() != nil || time.Since(r.asked) < reflexiveTTL {
		return
	}
	r.asking = true
	servers := r.servers
	r.wg.Go(func() { r.askAll(servers) })
}

// askAll asks every server, over each address family that its name has.
func (r *reflexive) askAll(servers []string) {
	var found []netip.AddrPort // guarded by r.mu
	var wg sync.WaitGroup
	for _, server := range servers {
		for _, network := range []string{"udp4", "udp6"} {
			wg.Go(func() {
				addr, err := r.ask(network, server)
				if err != nil {
					r.logger.Debug("no address from a STUN server", "server", server, "network", network, "error", err)
					return
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				if slices.Contains(found, addr) {
					return
				}
				found = append(found, addr)
				if !r.asked.IsZero() {
					return // the last round's will do until this one is over
				}
				if r.addrs = found; len(found) == 1 {
					close(r.first)
				}
			})
		}
	}
	wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() {
		if len(found) == 0 {
			close(r.first)
		}
		close(r.over)
	}
	r.addrs, r.asked, r.asking = found, time.Now(), false
}

func (r *reflexive) ask(network, server string) (netip.AddrPort, error) {
	udp, err := resolve(r.ctx, r.network, network, server)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return r.mux.ask(r.ctx, udp)
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
