package client

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// maxCandidates bounds the addresses known of a torrent's peers.
const maxCandidates = 2000

// A candidate that failed is tried again after retryBase, doubled with each failure
// in a row up to retryMax.
const (
	retryBase = 3 * time.Second
	retryMax  = 30 * time.Minute
)

// candidate is a peer that may be dialled.
type candidate struct {
	addr      netip.AddrPort
	given     bool // by the user, who wants it tried for ever
	dialling  bool
	connected bool
	self      bool // it turned out to be us
	seed      bool // of no use once we are complete
	failures  int
	next      time.Time
}

// candidates are the addresses known of a torrent's peers.
type candidates struct {
	byAddr map[netip.AddrPort]*candidate
}

func newCandidates() candidates { return candidates{make(map[netip.AddrPort]*candidate)} }

// add makes an address known. It reports whether it was new.
func (cs *candidates) add(addr netip.AddrPort, given bool) bool {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() || addr.Addr().IsMulticast() {
		return false
	}
	if c := cs.byAddr[addr]; c != nil {
		c.given = c.given || given
		return false
	}
	if len(cs.byAddr) >= maxCandidates && !cs.makeRoom() {
		return false
	}
	cs.byAddr[addr] = &candidate{addr: addr, given: given}
	return true
}

// makeRoom forgets a candidate that failed, or at random one that is not in use.
func (cs *candidates) makeRoom() bool {
	var victim *candidate
	for _, c := range cs.byAddr { // the order of maps is random
		if c.dialling || c.connected || c.given {
			continue
		}
		if victim == nil || c.failures > victim.failures {
			victim = c
		}
		if victim.failures > 0 {
			break
		}
	}
	if victim == nil {
		return false
	}
	delete(cs.byAddr, victim.addr)
	return true
}

// ready returns up to n candidates to dial now, those with the fewest failures
// first and ties at random, and when to look again.
func (cs *candidates) ready(now time.Time, n int, usable func(*candidate) bool) (out []*candidate, again time.Time) {
	for _, c := range cs.byAddr {
		if c.dialling || c.connected || c.self || !usable(c) {
			continue
		}
		if c.next.After(now) {
			if again.IsZero() || c.next.Before(again) {
				again = c.next
			}
			continue
		}
		out = append(out, c)
	}
	best := 0
	for i, c := range out {
		if c.failures == 0 {
			out[i], out[best] = out[best], out[i]
			best++
		}
	}
	if len(out) > n {
		out, again = out[:n], now
	}
	return out, again
}

// failed notes that a candidate could not be reached or was of no use.
func (c *candidate) failed(now time.Time) {
	wait := retryMax
	if c.failures < 12 {
		wait = min(retryBase<<c.failures, retryMax)
	}
	if c.given {
		wait = min(wait, 10*retryBase)
	}
	c.failures++
	c.next = now.Add(wait + rand.N(wait/4))
}
