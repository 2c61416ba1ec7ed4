package swarm

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// Search is what came of looking for classic peers so far.
type Search struct {
	// Addresses of peers, by who named them first. Discovered are those of the DHT and of
	// the local network; Exchanged those that peers named; Given the user's and the link's.
	Tracked, Discovered, Exchanged, Given int
	// Dialling is how many are being dialled; the others are how many attempts ended how:
	// with a connection, refused, with no answer, with no way there, or with a
	// connection but no handshake that fits.
	Dialling                                             int
	Connected, Refused, Silent, Unreachable, HungUp, Own int
}

// Search returns what came of looking for peers.
func (s *Swarm) Search() Search {
	found := s.search
	found.Dialling = s.dialling
	for _, c := range s.candidates.byAddr {
		if c.self {
			found.Own++
		}
	}
	return found
}

// dialled takes in how an attempt ended.
func (s *Search) dialled(err error) {
	var failed net.Error
	switch {
	case err == nil:
		s.Connected++
	case errors.Is(err, syscall.ECONNREFUSED):
		s.Refused++
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		s.Unreachable++
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &failed) && failed.Timeout():
		s.Silent++
	default:
		s.HungUp++
	}
}

// Add adds what came of looking in another swarm.
func (s *Search) Add(other Search) {
	s.Tracked += other.Tracked
	s.Discovered += other.Discovered
	s.Exchanged += other.Exchanged
	s.Given += other.Given
	s.Dialling += other.Dialling
	s.Connected += other.Connected
	s.Refused += other.Refused
	s.Silent += other.Silent
	s.Unreachable += other.Unreachable
	s.HungUp += other.HungUp
	s.Own += other.Own
}

// Named is how many addresses of peers are known, our own left out.
func (s Search) Named() int { return s.Tracked + s.Discovered + s.Exchanged + s.Given - s.Own }
