package swarm

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// maxCandidates bounds the addresses known of a swarm's peers.
const maxCandidates = 2000

// A candidate that failed is tried again after retryBase, doubled with each failure
// in a row up to retryMax. Only useful data ends the row: who takes connections and
// hangs up has failed, too.
const (
	retryBase = 3 * time.Second
	retryMax  = 30 * time.Minute
)

// Candidate is a peer that may be dialled.
type Candidate struct {
	Addr netip.AddrPort
	// Given: by the user, who wants it tried for ever.
	Given bool
	// Linked: by the magnet link, so that a private torrent may have it (BEP 27).
	Linked bool
	// Seed: of no use once we are complete.
	Seed bool
	// UTP: somebody says that it speaks uTP, which is then tried at the same time as TCP.
	UTP bool

	origin    origin
	outcome   outcome
	speaker   netip.Addr // who named it
	dialling  bool
	punching  bool // dialled by uTP beside that, since a relay said so
	connected bool
	self      bool // it turned out to be us
	byUTP     bool // uTP came through last time, and is tried first
	failures  int
	next      time.Time
}

// candidates are the addresses known of a swarm's peers. Who names more than others
// loses his first when there are too many.
type candidates struct {
	byAddr map[netip.AddrPort]*Candidate
	named  map[netip.Addr]int // by speaker
}

func newCandidates() candidates {
	return candidates{make(map[netip.AddrPort]*Candidate), make(map[netip.Addr]int)}
}

// add makes an address known, unless it cannot be one of a peer. It returns the
// candidate, nil if there is none, and whether it is new.
func (cs *candidates) add(addr netip.AddrPort, speaker netip.Addr, given bool) (c *Candidate, added bool) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() || addr.Addr().IsMulticast() {
		return nil, false
	}
	if c := cs.byAddr[addr]; c != nil {
		c.Given = c.Given || given
		return c, false
	}
	if len(cs.byAddr) >= maxCandidates && !cs.makeRoom(speaker) {
		return nil, false
	}
	c = &Candidate{Addr: addr, Given: given, speaker: speaker}
	cs.byAddr[addr] = c
	cs.named[speaker]++
	return c, true
}

// makeRoom forgets a candidate of the speaker who named most, unless that is the one
// who names another: one that failed, or at random one that is not in use.
func (cs *candidates) makeRoom(speaker netip.Addr) bool {
	most, loudest := 0, speaker
	for s, n := range cs.named {
		if n > most || n == most && s == speaker {
			most, loudest = n, s
		}
	}
	var victim *Candidate
	for _, c := range cs.byAddr { // the order of maps is random
		if c.speaker != loudest || c.dialling || c.punching || c.connected || c.Given || loudest == speaker && c.failures == 0 {
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
	cs.forget(victim)
	return true
}

func (cs *candidates) forget(c *Candidate) {
	delete(cs.byAddr, c.Addr)
	if cs.named[c.speaker]--; cs.named[c.speaker] == 0 {
		delete(cs.named, c.speaker)
	}
}

// ready returns up to n candidates to dial now, and when to look again. Those that the
// user gave come first. The rest are taken from all who named some in turn, beginning with
// those of whom the fewest are being dialled: a thousand addresses of one peer that lead
// nowhere do not delay another's. Of one speaker's those with the fewest failures come
// first, and ties at random.
func (cs *candidates) ready(now time.Time, n int, usable func(*Candidate) bool) (out []*Candidate, again time.Time) {
	bySpeaker := make(map[netip.Addr][]*Candidate)
	dialling := make(map[netip.Addr]int)
	found := 0
	for _, c := range cs.byAddr {
		if c.dialling {
			dialling[c.speaker]++
		}
		if c.dialling || c.connected || c.self || !usable(c) {
			continue
		}
		if c.next.After(now) {
			if again.IsZero() || c.next.Before(again) {
				again = c.next
			}
			continue
		}
		if found++; c.Given {
			out = append(out, c)
		} else {
			bySpeaker[c.speaker] = append(bySpeaker[c.speaker], c)
		}
	}
	for _, list := range bySpeaker {
		slices.SortFunc(list, func(a, b *Candidate) int { return cmp.Compare(a.failures, b.failures) })
	}
	for len(out) < min(n, found) {
		next, least := netip.Addr{}, -1
		for speaker := range bySpeaker {
			if d := dialling[speaker]; least < 0 || d < least {
				next, least = speaker, d
			}
		}
		out = append(out, bySpeaker[next][0])
		dialling[next]++
		if bySpeaker[next] = bySpeaker[next][1:]; len(bySpeaker[next]) == 0 {
			delete(bySpeaker, next)
		}
	}
	if found > n {
		again = now
	}
	return out[:min(n, len(out))], again
}

// failed notes that a candidate could not be reached or was of no use.
func (c *Candidate) failed(now time.Time) {
	wait := retryMax
	if c.failures < 12 {
		wait = min(retryBase<<c.failures, retryMax)
	}
	if c.Given {
		wait = min(wait, 10*retryBase)
	}
	c.failures++
	c.next = now.Add(wait + rand.N(wait/4))
}

// Refused notes that the connection to a candidate was not kept. self: it was to us.
func (c *Candidate) Refused(self bool, now time.Time) {
	c.dialling, c.self = false, self
	c.failed(now)
}

// Connected notes that the candidate is a peer.
func (c *Candidate) Connected() { c.dialling, c.connected = false, true }

// Invited reports whether it may be a peer of a private torrent though no tracker has
// named it.
func (c *Candidate) Invited() bool { return c.Given || c.Linked }

// InUse reports whether it is connected.
func (c *Candidate) InUse() bool { return c.connected }

// Gone notes that its connection has ended. useful: blocks came or went.
func (c *Candidate) Gone(useful bool, now time.Time) {
	c.connected = false
	if !useful {
		c.failed(now)
		return
	}
	c.failures, c.next = 0, now.Add(retryBase)
}
