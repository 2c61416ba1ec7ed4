package swarm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// origin is who named a candidate first.
type origin int

const (
	exchanged  origin = iota // a peer
	tracked                  // a tracker
	discovered               // the DHT, or the local network
	given                    // the user, or the link
)

// outcome is how the last attempt to dial a candidate ended.
type outcome int

const (
	untried outcome = iota
	joined
	refused
	silent
	unreachable
	hungUp
)

// Search is what came of looking for classic peers so far: how many addresses were named by
// trackers, by the DHT and on the local network, by peers, by the user and the link; how
// many are being dialled; and of how many the last attempt ended with a connection, was
// refused, had no answer, had no way there, or had no handshake that fits.
type Search struct {
	Tracked, Discovered, Exchanged, Given                  int
	Dialling, Joined, Refused, Silent, Unreachable, HungUp int
}

// Named is how many addresses of peers are known.
func (s Search) Named() int { return s.Tracked + s.Discovered + s.Exchanged + s.Given }

// Search adds to sum what came of looking for peers, addresses of our own left out.
func (s *Swarm) Search(sum *Search, own func(netip.AddrPort) bool) {
	origins := [...]*int{exchanged: &sum.Exchanged, tracked: &sum.Tracked, discovered: &sum.Discovered, given: &sum.Given}
	outcomes := [...]*int{
		untried: new(int), joined: &sum.Joined, refused: &sum.Refused,
		silent: &sum.Silent, unreachable: &sum.Unreachable, hungUp: &sum.HungUp,
	}
	for _, c := range s.candidates.byAddr {
		if c.self || own(c.Addr) {
			continue
		}
		*origins[c.origin]++
		*outcomes[c.outcome]++
		if c.dialling && c.outcome == untried {
			sum.Dialling++
		}
	}
}

// outcomeOf says what an error of dialling means.
func outcomeOf(err error) outcome {
	var failed net.Error
	switch {
	case err == nil:
		return joined
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return unreachable
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &failed) && failed.Timeout():
		return silent
	}
	return hungUp
}
