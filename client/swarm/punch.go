package swarm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/causeway-bt/causeway/client/source"
	"github.com/causeway-bt/causeway/wire/transport"
)

// A hole is punched by dialling again and again for a short while: the first packets of the
// side that is earlier are lost at the other's NAT, and both are to try until both have begun.
const (
	punchTimeout = 8 * time.Second
	punchAttempt = 1500 * time.Millisecond
	// punchesAtOnce bounds those of one swarm.
	punchesAtOnce = 8
)

// slowDial is after what time an address that has not answered counts as one that cannot be
// reached; it is tried on beside that.
const slowDial = 3 * time.Second

// unreached tells the host of a candidate that may be reached through a hole.
func (s *Swarm) unreached(c *Candidate) {
	if !c.punching && !c.connected {
		s.host.Unreached(s, c.Addr)
	}
}

// errUnreached: no connection to the address could be made at all.
var errUnreached = errors.New("not reached")

// Punch dials an address by uTP alone, at once, as another peer does to us at the same time
// (BEP 55). speaker told us to. It reports whether that is done.
func (s *Swarm) Punch(speaker netip.Addr, addr netip.AddrPort) bool {
	if s.running == nil || s.shared.DialUTP == nil || s.punching >= punchesAtOnce ||
		!s.shared.Net.MayName(speaker, addr.Addr()) || s.host.Banned(&source.Identity{Addr: addr}) {
		return false
	}
	c, _ := s.candidates.add(addr, speaker, false)
	if c == nil || c.punching || c.connected || c.self {
		return false
	}
	c.punching = true
	s.punching++
	ctx := s.running.ctx
	return s.host.Go(func() { s.punch(ctx, c) })
}

func (s *Swarm) punch(ctx context.Context, c *Candidate) {
	var conn Conn
	err := s.guard(func() (err error) {
		conn, err = s.punchThrough(ctx, c.Addr)
		return err
	})
	if err == nil {
		if err = s.host.Attach(ctx, conn); err != nil {
			conn.Close()
		}
	}
	s.host.Do(func() {
		s.punching--
		c.punching = false
		if err != nil {
			s.log.Debug("no hole was punched", "to", c.Addr, "err", err)
		}
	})
}

// punchThrough connects by uTP, and exchanges handshakes.
func (s *Swarm) punchThrough(ctx context.Context, addr netip.AddrPort) (Conn, error) {
	if err := s.shared.Punches.Take(ctx); err != nil {
		return Conn{}, err
	}
	defer s.shared.Punches.Done()
	conn, err := transport.Dial(ctx, addr, s.cfg.InfoHash, transport.DialOptions{
		Encryption: s.shared.Encryption,
		Connect:    func(ctx context.Context) (net.Conn, error) { return s.dialAgain(ctx, addr) },
	})
	if err != nil {
		return Conn{}, err
	}
	theirs, err := s.greet(ctx, conn)
	if err != nil {
		conn.Close()
		return Conn{}, err
	}
	return Conn{Conn: conn, Swarm: s, Kind: UTP, Addr: addr, Outgoing: true, Handshake: theirs}, nil
}

// dialAgain dials by uTP again and again.
func (s *Swarm) dialAgain(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, punchTimeout)
	defer cancel()
	for {
		attempt, cancel := context.WithTimeout(ctx, punchAttempt)
		conn, err := s.shared.DialUTP(attempt, addr)
		if err != nil {
			<-attempt.Done() // one that is refused at once may not be refused next time
		}
		cancel()
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
	}
}
