package webrtcwire

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
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

	// maxQuestioned bounds the servers that are asked: those that were added last stay out.
	maxQuestioned = 8
)

// Mirror knows the addresses under which STUN servers see a UDP socket (server-reflexive
// candidates). It asks once for the whole process and in the background, so that no
// description waits for a STUN server that is down while another answers: until the first
// round is over, descriptions wait for the first answer, at most for Config.GatherTimeout.
//
// A Transport has one of its own, or is given one that others use as well.
type Mirror struct {
	cfg    MirrorConfig
	asker  asker
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	servers []string
	addrs   []netip.AddrPort // of the last round that is over, or of the first
	asked   time.Time        // when the last round was over
	asking  bool
	first   chan struct{} // closed with the first answer, or the first round
	over    chan struct{} // closed when the first round is over
}

// MirrorConfig is what a Mirror needs. All but Write may be left out.
type MirrorConfig struct {
	// Write sends a packet by the socket. What comes back belongs to Mirror.Receive.
	Write func(b []byte, to netip.AddrPort) (int, error)
	// Servers are the STUN servers to ask, host:port each.
	Servers []string
	// Network looks their names up; nil: package net.
	Network Network
	// OnRound is told the answers of a round, of which there are none without a network. It
	// must not block.
	OnRound func([]Reflection)
	// Logger receives debug messages; nil: none.
	Logger *slog.Logger
}

// Reflection is a STUN server's answer: where it sees the socket.
type Reflection struct {
	Name   string         // of the server, as it was configured
	Server netip.AddrPort // that answered
	Mapped netip.AddrPort
}

// NewMirror returns a Mirror that asks with the first Ask.
func NewMirror(cfg MirrorConfig) *Mirror {
	if cfg.Network == nil {
		cfg.Network = &plainNetwork{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnRound == nil {
		cfg.OnRound = func([]Reflection) {}
	}
	r := &Mirror{cfg: cfg, servers: cfg.Servers, asker: newAsker(cfg.Write), first: make(chan struct{}), over: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if len(r.servers) == 0 {
		close(r.first)
		close(r.over)
	}
	return r
}

// STUNServers returns the STUN servers among those of Config.ICEServers, as a MirrorConfig
// has them.
func STUNServers(urls []string) ([]string, error) {
	servers, err := parseICEServers(urls)
	if err != nil {
		return nil, fmt.Errorf("webrtcwire: %w", err)
	}
	return servers.stun, nil
}

// Receive takes a STUN packet if it is an answer to a question of this Mirror's.
func (r *Mirror) Receive(packet []byte, _ netip.AddrPort) (taken bool) {
	return isSTUN(packet) && isResponse(packet) && r.asker.answered(packet)
}

// Ask has the servers asked now, as at the start and after a change of the network, unless they
// are being asked.
func (r *Mirror) Ask() {
	r.mu.Lock()
	if !r.asked.IsZero() {
		r.asked = time.Now().Add(-reflexiveTTL) // the answers stay until then
	}
	r.mu.Unlock()
	r.refresh()
}

// add has more servers asked from now on.
func (r *Mirror) add(servers []string) {
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

// Close waits until nothing is asked any more.
func (r *Mirror) Close() {
	r.cancel()
	r.wg.Wait()
}

// addresses returns what is known, waiting until ctx ends only if no server has
// had the time to answer yet.
func (r *Mirror) addresses(ctx context.Context) []netip.AddrPort {
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

func (r *Mirror) refresh() {
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
func (r *Mirror) askAll(servers []string) {
	var found []netip.AddrPort // guarded by r.mu
	var answers []Reflection   // the same
	var wg sync.WaitGroup
	for _, server := range servers {
		for _, network := range []string{"udp4", "udp6"} {
			wg.Go(func() {
				answer, err := r.ask(network, server)
				if err != nil {
					r.cfg.Logger.Debug("no address from a STUN server", "server", server, "network", network, "error", err)
					return
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				answers = append(answers, answer)
				if slices.Contains(found, answer.Mapped) {
					return
				}
				found = append(found, answer.Mapped)
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
	if r.ctx.Err() == nil {
		r.cfg.OnRound(answers)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() {
		if len(found) == 0 {
			close(r.first)
		}
		close(r.over)
	}
	r.addrs, r.asked, r.asking = found, time.Now(), false
	if len(r.servers) > len(servers) {
		r.asked = r.asked.Add(-reflexiveTTL) // more were added meanwhile
	}
}

func (r *Mirror) ask(network, server string) (Reflection, error) {
	udp, err := resolve(r.ctx, r.cfg.Network, network, server)
	if err != nil {
		return Reflection{}, err
	}
	mapped, err := r.asker.ask(r.ctx, udp)
	return Reflection{Name: server, Server: udp, Mapped: mapped}, err
}
