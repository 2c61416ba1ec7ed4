package allot

import (
	"net/netip"
	"sync"
	"time"
)

// Gate bounds connections that have come in and whose handshake is not finished. When
// it is full, the oldest of the host that counts most is shut out for a newcomer: its connections
// count, and those that came to nothing. A host that comes again and again is let in at a rate.
type Gate struct {
	mu     sync.Mutex
	limit  int
	inside map[*Visitor]struct{}
	hosts  map[netip.Prefix]int
	lately map[netip.Prefix]*visits
}

// visits is how many connections a host may still make, and how many of the last came to nothing.
type visits struct {
	left   float64
	last   time.Time
	vain   int
	vainAt time.Time // the last of them
}

// A host may make visitBurst connections at once, and visitsPerSecond more as time goes
// by: each costs a handshake, which may be encrypted. maxVisits bounds the hosts that are
// remembered.
const (
	visitBurst      = 100
	visitsPerSecond = 2
	maxVisits       = 8192
)

// vainMost is how many connections that came to nothing count, and vainTime after what time one of them counts no
// more.
const (
	vainMost = 3
	vainTime = 20 * time.Second
)

// allowed reports whether a host may make another connection. g.mu is held.
func (g *Gate) allowed(host netip.Prefix, now time.Time) bool {
	v := g.lately[host]
	if v == nil {
		if len(g.lately) >= maxVisits {
			for other, v := range g.lately {
				if v.fill(now); v.left >= visitBurst && v.inVain(now) == 0 {
					delete(g.lately, other)
				}
			}
		}
		if len(g.lately) >= maxVisits {
			clear(g.lately)
		}
		v = &visits{left: visitBurst, last: now}
		g.lately[host] = v
	}
	v.fill(now)
	if v.left < 1 {
		return false
	}
	v.left--
	return true
}

func (v *visits) fill(now time.Time) {
	v.left = min(v.left+now.Sub(v.last).Seconds()*visitsPerSecond, visitBurst)
	v.last = now
}

// inVain is how many connections that came to nothing count now.
func (v *visits) inVain(now time.Time) int { return max(v.vain-int(now.Sub(v.vainAt)/vainTime), 0) }

// Visitor is a connection in a Gate.
type Visitor struct {
	gate  *Gate
	host  netip.Prefix
	since time.Time
	close func()
}

// handshakeGrace is how long a handshake may take before it gives way to that of a host
// with as many: an honest one takes a few round trips.
const handshakeGrace = 2 * time.Second

// NewGate returns a gate for limit connections.
func NewGate(limit int) *Gate {
	return &Gate{limit: limit, inside: make(map[*Visitor]struct{}), hosts: make(map[netip.Prefix]int), lately: make(map[netip.Prefix]*visits)}
}

// Enter lets a connection in, or returns nil: it is to be closed. close is called, at
// most once and from any goroutine, if it has to go for another.
func (g *Gate) Enter(addr netip.Addr, now time.Time, close func()) *Visitor {
	v := &Visitor{gate: g, host: HostOf(addr), since: now, close: close}
	g.mu.Lock()
	if !g.allowed(v.host, now) {
		g.mu.Unlock()
		return nil
	}
	var victim *Visitor
	if len(g.inside) >= g.limit {
		if victim = g.victim(v, now); victim == nil {
			g.mu.Unlock()
			return nil
		}
		g.remove(victim, false, now)
	}
	g.inside[v] = struct{}{}
	g.hosts[v.host]++
	g.mu.Unlock()
	if victim != nil {
		victim.close()
	}
	return v
}

// victim returns who gives way to a newcomer.
func (g *Gate) victim(newcomer *Visitor, now time.Time) (victim *Visitor) {
	own, most := g.weight(newcomer.host, now)+1, 0
	for v := range g.inside {
		n := g.weight(v.host, now)
		if n < own || n == own && now.Sub(v.since) < handshakeGrace {
			continue
		}
		if victim == nil || n > most || n == most && v.since.Before(victim.since) {
			victim, most = v, n
		}
	}
	return victim
}

// weight is what a host counts.
func (g *Gate) weight(host netip.Prefix, now time.Time) int {
	n := g.hosts[host]
	if v := g.lately[host]; v != nil {
		n += v.inVain(now)
	}
	return n
}

// Leave gives the place back, of a connection whose handshake is finished, or that has come to nothing.
func (v *Visitor) Leave(finished bool, now time.Time) {
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	v.gate.remove(v, finished, now)
}

func (g *Gate) remove(v *Visitor, finished bool, now time.Time) {
	if _, inside := g.inside[v]; !inside {
		return
	}
	delete(g.inside, v)
	if g.hosts[v.host]--; g.hosts[v.host] == 0 {
		delete(g.hosts, v.host)
	}
	switch lately := g.lately[v.host]; {
	case lately == nil:
	case finished:
		lately.vain = 0
	default:
		lately.vain, lately.vainAt = min(lately.inVain(now)+1, vainMost), now
	}
}
