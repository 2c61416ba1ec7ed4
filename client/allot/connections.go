package allot

import (
	"cmp"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// ErrFull says that a connection was refused for want of places.
var ErrFull = errors.New("there are connections enough")

// ErrGaveWay says that a connection ended to make room for another.
var ErrGaveWay = errors.New("it gave its place to another peer")

// Worth is what a connection is good for, to be compared with others.
type Worth struct {
	Joined time.Time
	// Moved is when a block last came or went, zero if none did.
	Moved time.Time
	// Active: one side wants something that the other has, and may have it. Hoping: it
	// may not yet.
	Active, Hoping bool
	// Rate is what came and went lately, in bytes per second.
	Rate float64
}

// movingFor is for how long a connection counts as moving data after a block.
const movingFor = 30 * time.Second

// Useful reports whether data moved lately, or may at any time.
func (w Worth) Useful(now time.Time) bool { return w.class(now) >= active }

// The classes of connections, from the worst to the best.
const (
	useless = iota
	hoping
	active
	moving
)

// class orders connections roughly.
func (w Worth) class(now time.Time) int {
	switch {
	case !w.Moved.IsZero() && now.Sub(w.Moved) < movingFor:
		return moving
	case w.Active:
		return active
	case w.Hoping:
		return hoping
	default:
		return useless
	}
}

// Member is who has a place. Its methods are called from any goroutine, and must not
// call back.
type Member interface {
	Worth() Worth
	// Evict ends the connection, in its own time.
	Evict(why error)
}

// Connections is the places for connections of all torrents of a client, each of which
// has a bound of its own. When all are taken, a newcomer gets the place of the
// connection that is worth least: of the torrent that has the most beyond its share,
// and there of the address that has the most. Who moves data keeps its place. Thus a
// hundred connections from one address, or to one torrent, keep nobody out. Hosts whose
// connections have been of no use before come last.
type Connections struct {
	mu      sync.Mutex
	limit   int
	taken   int
	members map[any]map[*Place]struct{} // by torrent
	record  record
}

// Place is a connection's place.
type Place struct {
	of      *Connections
	torrent any
	host    netip.Prefix
	member  Member
	gone    bool
}

// NewConnections returns limit places.
func NewConnections(limit int) *Connections {
	return &Connections{limit: limit, members: make(map[any]map[*Place]struct{}), record: newRecord()}
}

// hostBits is how much of an IPv6 address tells hosts apart: who has one has all of
// its /64.
const hostBits = 64

// HostOf returns what counts as one host: an IPv4 address or an IPv6 /64.
func HostOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := hostBits
	if a.Is4() {
		bits = 32
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // all that have no address are one
	}
	return p
}

// Len returns how many places are taken in all.
func (c *Connections) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken
}

// Chance reports whether a torrent that may have most connections could get one more:
// there is a place, or somebody would give way.
func (c *Connections) Chance(torrent any, most int, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.makeRoom(&Place{torrent: torrent}, most, now)
	return err == nil
}

// Admit gives a place to a connection of a torrent that may have most of them. It may
// evict another for it, or fail with ErrFull.
func (c *Connections) Admit(torrent any, most int, m Member, addr netip.Addr, now time.Time) (*Place, error) {
	p := &Place{of: c, torrent: torrent, host: HostOf(addr), member: m}
	c.mu.Lock()
	victim, err := c.makeRoom(p, most, now)
	if err == nil {
		if victim != nil {
			c.record.useless(victim.host, evictedWeight, now)
			c.remove(victim)
		}
		if c.members[torrent] == nil {
			c.members[torrent] = make(map[*Place]struct{})
		}
		c.members[torrent][p] = struct{}{}
		c.taken++
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if victim != nil {
		victim.member.Evict(ErrGaveWay)
	}
	return p, nil
}

// makeRoom returns who has to go for a newcomer, nil if nobody has.
func (c *Connections) makeRoom(p *Place, most int, now time.Time) (*Place, error) {
	own := c.members[p.torrent]
	pool, sharing := own, len(c.members)
	if len(own) == 0 {
		sharing++
	}
	switch {
	case len(own) >= most:
	case c.taken < c.limit:
		return nil, nil
	default:
		for _, others := range c.members {
			if len(others) > len(pool) && len(others) > len(own)+1 {
				pool = others
			}
		}
	}
	// A torrent gets its share, whatever the others' connections are worth.
	owing := len(own) < min(most, c.limit/sharing) && len(pool) > c.limit/sharing
	if victim := c.pick(pool, p.host, owing, now); victim != nil {
		return victim, nil
	}
	return nil, ErrFull
}

// A connection that moves nothing gives way to one with no better claim after a while:
// one that is of no use soon, one that hopes to be unchoked when it has had its turns.
// Where most move nothing, others are let in sooner; and who was of no use before gives
// way at once to who was not.
const (
	uselessGrace = 15 * time.Second
	hopingGrace  = time.Minute
	scarceGrace  = 5 * time.Second
	knownGrace   = time.Second
)

// pick returns which of some connections gives way to a newcomer from a host: one that
// moves nothing and has had its time, or is of a host that has more than the newcomer's
// would have; else, if that host has several, one that moves data. owing: the newcomer
// has a right to a place, so that somebody goes in any case.
func (c *Connections) pick(pool map[*Place]struct{}, newcomer netip.Prefix, owing bool, now time.Time) *Place {
	counts, still := make(map[netip.Prefix]int), 0
	worth := make(map[*Place]Worth, len(pool))
	for p := range pool {
		counts[p.host]++
		worth[p] = p.member.Worth()
		if !worth[p].Useful(now) {
			still++
		}
	}
	most := 0
	for _, n := range counts {
		most = max(most, n)
	}
	scarce, clean := still*4 >= len(pool)*3, c.record.clean(newcomer, now)
	own := counts[newcomer] + 1
	var victim *Place
	var rank int
	for p, w := range worth {
		r := 0
		switch {
		case counts[p.host] == most && most > own && w.class(now) < moving: // of the crowd
		case w.mayGo(c.grace(p.host, clean, scarce, now), now):
			r = 1
		case most > own+1 && counts[p.host] == most:
			r = 2
		case owing:
			r = 3
		default:
			continue
		}
		if victim == nil || r < rank || r == rank && worthLess(w, worth[victim], now) {
			victim, rank = p, r
		}
	}
	return victim
}

// grace returns how long a connection of a host may be of no use.
func (c *Connections) grace(host netip.Prefix, cleanNewcomer, scarce bool, now time.Time) time.Duration {
	switch {
	case !cleanNewcomer:
		return hopingGrace
	case !c.record.clean(host, now):
		return knownGrace
	case scarce:
		return scarceGrace
	}
	return hopingGrace
}

// mayGo reports whether a connection has had its time without moving anything.
func (w Worth) mayGo(grace time.Duration, now time.Time) bool {
	switch w.class(now) {
	case useless:
		return now.Sub(w.Joined) >= min(uselessGrace, grace)
	case hoping:
		return now.Sub(w.Joined) >= grace
	default:
		return false
	}
}

// worthLess compares two connections. Of two that are worth the same the younger goes:
// whoever floods comes last.
func worthLess(a, b Worth, now time.Time) bool {
	order := cmp.Or(cmp.Compare(a.class(now), b.class(now)), cmp.Compare(a.Rate, b.Rate), b.Joined.Compare(a.Joined))
	return order < 0
}

// Leave gives the place back. It may be called more than once.
func (p *Place) Leave() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if !p.gone {
		now := time.Now()
		if p.member.Worth().Moved.IsZero() {
			p.of.record.useless(p.host, 1, now)
		} else {
			p.of.record.useful(p.host)
		}
	}
	p.of.remove(p)
}

func (c *Connections) remove(p *Place) {
	if p.gone {
		return
	}
	p.gone = true
	c.taken--
	delete(c.members[p.torrent], p)
	if len(c.members[p.torrent]) == 0 {
		delete(c.members, p.torrent)
	}
}
