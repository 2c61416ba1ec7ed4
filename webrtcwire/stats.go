package webrtcwire

import (
	"fmt"
	"strings"
)

// Stats is a snapshot of a Transport.
type Stats struct {
	Offers       int // live offers that wait for an answer
	Negotiations int // descriptions exchanged, channel not open yet
	Conns        int // open connections, counted until they are torn down

	Connected uint64 // connections ever opened
	Expired   uint64 // offers that nobody answered
	Failed    uint64 // negotiations that did not lead to a connection

	// LastFailure says what the last failed negotiation tried; nil if none failed.
	LastFailure *NegotiationError
}

// totals are the counters of Stats that only grow, guarded by Transport.mu.
type totals struct {
	connected, expired, failed uint64
	lastFailure                *NegotiationError
}

// Stats returns what is live and what became of the rest.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{
		Offers:       t.counts[stateOffered],
		Negotiations: t.counts[stateNegotiating],
		Conns:        t.counts[stateConnected],
		Connected:    t.totals.connected,
		Expired:      t.totals.expired,
		Failed:       t.totals.failed,
		LastFailure:  t.totals.lastFailure,
	}
}

// NegotiationError says why two descriptions did not become a connection, and
// with which kinds of candidates it was tried: host, srflx (behind NAT, as a STUN
// server sees it), relay (TURN), mdns (a name that hides a browser's address).
type NegotiationError struct {
	ICE    string   // state that ICE had reached, such as "checking" or "failed"
	Local  []string // kinds of our candidates
	Remote []string // kinds of theirs
	Err    error
}

func (e *NegotiationError) Error() string {
	return fmt.Sprintf("webrtcwire: no connection: %v (ICE %s; our candidates: %s; theirs: %s)",
		e.Err, e.ICE, kinds(e.Local), kinds(e.Remote))
}

func (e *NegotiationError) Unwrap() error { return e.Err }

func kinds(types []string) string {
	if len(types) == 0 {
		return "none"
	}
	return strings.Join(types, ", ")
}
