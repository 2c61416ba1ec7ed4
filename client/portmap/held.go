package portmap

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// held is what a gateway maps for us.
type held struct {
	gateway gateway
	local   netip.Addr
	lease   time.Duration // to ask for
	grants  []grant       // TCP first
	expires time.Time     // zero: never
}

// acquire finds the gateway and has it map the port.
func (m *Mapper) acquire(ctx context.Context, w way) (*held, error) {
	found := m.probe(ctx, w)
	if len(found) == 0 {
		return nil, ErrNoGateway
	}
	lease := m.timing.lease
	if w.tunnel {
		lease = m.timing.tunnelLease
	}
	var first error // the most preferred protocol's
	for _, g := range found {
		h := &held{gateway: g, local: w.local, lease: lease}
		err := m.open(ctx, h)
		if err == nil {
			m.told(h)
			return h, nil
		}
		m.release(h)
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// open maps or renews what h holds. Where the gateway gives TCP and UDP different ports, it is
// asked once more for the same one.
func (m *Mapper) open(ctx context.Context, h *held) error {
	suggested := m.cfg.Port
	if len(h.grants) > 0 {
		suggested = h.grants[0].external.Port()
	}
	var grants []grant
	ask := func(tcp bool) error {
		w := want{tcp, m.cfg.Port, suggested, h.lease}
		exchange, cancel := context.WithTimeout(ctx, m.timing.exchange)
		defer cancel()
		g, err := h.gateway.open(exchange, w)
		if err != nil {
			return &refusedError{h.gateway.protocol(), h.gateway.address(), w.String(), err}
		}
		suggested = g.external.Port()
		grants = append(grants, g)
		return nil
	}
	var err error
	for _, tcp := range []bool{true, false} {
		if err == nil && (!tcp || m.cfg.TCP) {
			err = ask(tcp)
		}
	}
	if err == nil && len(h.grants) == 0 && len(grants) == 2 && grants[0].external.Port() != grants[1].external.Port() {
		// TCP has another port than UDP: it is moved to that of UDP, if it can be.
		exchange, cancel := context.WithTimeout(ctx, m.timing.exchange)
		if h.gateway.close(exchange, grants[0]) == nil {
			w := grants[0].want
			w.suggested = grants[1].external.Port()
			if g, againErr := h.gateway.open(exchange, w); againErr == nil {
				grants[0] = g
			} else {
				err = &refusedError{h.gateway.protocol(), h.gateway.address(), w.String(), againErr}
			}
		}
		cancel()
	}
	if err != nil {
		if len(h.grants) == 0 {
			h.grants = grants // to be released
		}
		return err
	}
	h.grants = grants
	h.expires = time.Time{}
	for _, g := range grants {
		if g.lease > 0 {
			ends := time.Now().Add(g.lease)
			if h.expires.IsZero() || ends.Before(h.expires) {
				h.expires = ends
			}
		}
	}
	return nil
}

// told makes known what h holds.
func (m *Mapper) told(h *held) {
	first, last := h.grants[0], h.grants[len(h.grants)-1]
	m.tell(Status{
		State: OK, Protocol: h.gateway.protocol(), Gateway: h.gateway.address(),
		Internal: netip.AddrPortFrom(h.local, m.cfg.Port), External: first.external, UDPPort: last.external.Port(),
		Lease: first.lease,
	})
}

// lost makes known that it is gone.
func (m *Mapper) lost(why error) {
	s, _ := m.Status()
	s.State, s.Err = Lost, why
	m.tell(s)
}

// release removes what h holds, in a bounded time.
func (m *Mapper) release(h *held) {
	if len(h.grants) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.timing.leave)
	defer cancel()
	for _, g := range h.grants {
		if err := h.gateway.close(ctx, g); err != nil {
			m.log.Debug("a mapping could not be removed", "of", g.want, "err", err)
		}
	}
	h.grants = nil
}

// errForgotten is why a mapping is lost that the gateway has no more.
var errForgotten = errors.New("the gateway has forgotten the mapping; it is asked again")

// keep renews and checks what h holds, until it is lost, the way to the gateway is another, or
// ctx ends.
func (m *Mapper) keep(ctx context.Context, h *held, w way) {
	defer func() { m.release(h) }()
	check := m.timing.check
	if h.gateway.protocol() == UPnP {
		check = m.timing.checkUPnP
	}
	renew := time.NewTimer(m.untilRenewal(h))
	defer renew.Stop()
	look, move := time.NewTicker(check), time.NewTicker(m.timing.interfaces)
	defer look.Stop()
	defer move.Stop()
	for {
		again := false // ask for the ports again
		select {
		case <-ctx.Done():
			return
		case <-move.C:
			if m.moved(w) {
				m.lost(errors.New("the way to the gateway has changed"))
				return
			}
			continue
		case <-look.C:
			again = !m.intact(ctx, h)
		case <-renew.C:
			again = true
		}
		if again {
			if err := m.open(ctx, h); err != nil {
				m.log.Debug("a mapping was not renewed", "err", err)
				if before, _ := m.Status(); before.State == Lost || !h.expires.IsZero() && time.Now().After(h.expires) {
					if ctx.Err() == nil {
						m.lost(err)
					}
					return
				}
			} else {
				m.told(h)
			}
			renew.Reset(m.untilRenewal(h))
		}
	}
}

// untilRenewal is half of what is left of the lease.
func (m *Mapper) untilRenewal(h *held) time.Duration {
	if h.expires.IsZero() {
		return m.timing.lease
	}
	return max(time.Until(h.expires)/2, m.timing.minRenew)
}

// intact asks the gateway whether it still has what it gave, and tells when it has not. One
// that does not answer is given until the lease ends.
func (m *Mapper) intact(ctx context.Context, h *held) bool {
	exchange, cancel := context.WithTimeout(ctx, m.timing.exchange)
	defer cancel()
	external, ok, err := h.gateway.intact(exchange, h.grants)
	switch {
	case err != nil:
		m.log.Debug("the gateway does not answer", "gateway", h.gateway.address(), "err", err)
	case !ok:
		m.lost(errForgotten)
		return false
	case external.IsValid() && external != h.grants[0].external.Addr():
		// The gateway got another address, with which mappings may or may not have stayed.
		return false
	}
	return true
}

// probe asks by all protocols at once which of them the gateway speaks. The best is waited
// for a little.
func (m *Mapper) probe(ctx context.Context, w way) []gateway {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan gateway)
	var asking sync.WaitGroup
	answer := func(g gateway) {
		select {
		case answers <- g:
		case <-ctx.Done():
		}
	}
	for _, address := range w.gateways {
		asking.Go(func() {
			if g, err := probePCP(ctx, m.cfg.Network, address, m.nonce); err == nil {
				answer(g)
			}
		})
		asking.Go(func() {
			if g, err := probeNATPMP(ctx, m.cfg.Network, address); err == nil {
				answer(g)
			}
		})
	}
	asking.Go(func() { searchUPnP(ctx, m.cfg.Network, w, answer) })
	go func() {
		asking.Wait()
		close(answers)
	}()
	enough := time.AfterFunc(m.timing.probe, cancel)
	defer enough.Stop()
	var found []gateway
	for g := range answers {
		found = append(found, g)
		if g.protocol() == preference[0] {
			enough.Reset(m.timing.shortGrace)
		} else if len(found) == 1 {
			enough.Reset(m.timing.grace)
		}
	}
	slices.SortStableFunc(found, func(a, b gateway) int {
		return slices.Index(preference, a.protocol()) - slices.Index(preference, b.protocol())
	})
	return found
}
