package relay

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what TURN may cost. A zero field has the default beside it.
type Limits struct {
	// Allocations are relayed ports, in all (DefaultAllocations), of a user
	// (DefaultUserAllocations), and of an IPv4 address or an IPv6 network of 64 bits
	// (DefaultAddressAllocations). A browser needs one for each of its connections, and
	// for each that it offers.
	Allocations, UserAllocations, AddressAllocations int

	// Lifetime is how long an allocation may last, however often it is refreshed
	// (DefaultLifetime). One that is not refreshed ends after the time that its client has
	// asked for, an hour at most.
	Lifetime time.Duration

	// Rate and UserRate bound the bytes per second that are relayed, both directions
	// together, in all (DefaultRate) and for a user (DefaultUserRate). What is beyond is
	// dropped.
	Rate, UserRate int64

	// Conns bounds TCP and TLS connections that speak TURN, in all (DefaultConns) and of
	// an address (AddressAllocations).
	Conns int
}

// The default limits. An allocation costs about 20 KB, and a port.
const (
	DefaultAllocations        = 2000
	DefaultUserAllocations    = 100
	DefaultAddressAllocations = 200
	DefaultLifetime           = 12 * time.Hour
	DefaultRate               = 100 << 20
	DefaultUserRate           = 10 << 20
	DefaultConns              = 2000
)

func (l *Limits) setDefaults() {
	defaultTo(&l.Allocations, DefaultAllocations)
	defaultTo(&l.UserAllocations, DefaultUserAllocations)
	defaultTo(&l.AddressAllocations, DefaultAddressAllocations)
	defaultTo(&l.Lifetime, DefaultLifetime)
	defaultTo(&l.Rate, DefaultRate)
	defaultTo(&l.UserRate, DefaultUserRate)
	defaultTo(&l.Conns, DefaultConns)
}

func defaultTo[T int | int64 | time.Duration](value *T, otherwise T) {
	if *value <= 0 {
		*value = otherwise
	}
}

// burst is how long a rate may be exceeded from rest: a window of a fast peer.
const burst = 500 * time.Millisecond

func limiter(bytesPerSecond int64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(bytesPerSecond), max(int(float64(bytesPerSecond)*burst.Seconds()), maxDatagram))
}

var errQuota = errors.New("relay: as many allocations as there may be")

// quota counts allocations and connections.
type quota struct {
	limits Limits

	mu        sync.Mutex
	total     int
	users     map[string]*user
	addresses map[netip.Addr]int
	conns     int
	connsOf   map[netip.Addr]int
}

// user is somebody who has allocations.
type user struct {
	allocations int
	rate        *rate.Limiter
}

func newQuota(limits Limits) *quota {
	return &quota{limits: limits, users: map[string]*user{}, addresses: map[netip.Addr]int{}, connsOf: map[netip.Addr]int{}}
}

// network is what counts as one address: one of IPv6 is easily another.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	return netip.PrefixFrom(a, 64).Masked().Addr()
}

// room reports whether a user may have one more allocation, from an address.
func (q *quota) room(id string, from netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.has(id, network(from))
}

func (q *quota) has(id string, from netip.Addr) bool {
	u := q.users[id]
	return q.total < q.limits.Allocations && q.addresses[from] < q.limits.AddressAllocations &&
		(u == nil || u.allocations < q.limits.UserAllocations)
}

// take counts one more allocation, and returns the user's limiter; give takes it back.
func (q *quota) take(id string, from netip.Addr) (*rate.Limiter, error) {
	from = network(from)
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.has(id, from) {
		return nil, errQuota
	}
	u := q.users[id]
	if u == nil {
		u = &user{rate: limiter(q.limits.UserRate)}
		q.users[id] = u
	}
	u.allocations++
	q.total++
	q.addresses[from]++
	return u.rate, nil
}

func (q *quota) give(id string, from netip.Addr) {
	from = network(from)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if u := q.users[id]; u != nil {
		if u.allocations--; u.allocations == 0 {
			delete(q.users, id)
		}
	}
	if q.addresses[from]--; q.addresses[from] == 0 {
		delete(q.addresses, from)
	}
}

func (q *quota) allocations() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}

// takeConn counts one more TCP connection; giveConn takes it back.
func (q *quota) takeConn(from netip.Addr) bool {
	from = network(from)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.conns >= q.limits.Conns || q.connsOf[from] >= q.limits.AddressAllocations {
		return false
	}
	q.conns++
	q.connsOf[from]++
	return true
}

func (q *quota) giveConn(from netip.Addr) {
	from = network(from)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.conns--
	if q.connsOf[from]--; q.connsOf[from] == 0 {
		delete(q.connsOf, from)
	}
}
