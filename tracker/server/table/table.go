package table

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how long peers are kept, and how many. The zero Config is ready for use.
type Config struct {
	// Expire is how long a classic peer is kept after its last announce; 0 means 45 min
	// (one and a half times the usual interval). At most 12 h.
	Expire time.Duration
	// ExpireWeb is the same of web peers, for those whose socket ends without notice; 0
	// means 10 min.
	ExpireWeb time.Duration
	// Limits bound the table.
	Limits Limits
	// Now is when the table is made; the zero Time means the present. Only Tick moves
	// the table's clock afterwards.
	Now time.Time
}

// Limits bound a table. 0 means the default, a negative number none.
type Limits struct {
	Swarms    int // 4,000,000
	Peers     int // 20,000,000
	SwarmSize int // peers of one swarm: 200,000
	// HostPeers bounds the peers of one host in all swarms: 20,000. A host is an IPv4
	// address or an IPv6 network of 64 bits.
	HostPeers int
	// HostInSwarm bounds the peers of one host in one swarm: 100, as many clients can be
	// behind one NAT.
	HostInSwarm int
	// Offers bounds the offers of one web announce: 100.
	Offers int
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		at  *int
		def int
	}{
		{&l.Swarms, 4_000_000}, {&l.Peers, 20_000_000}, {&l.SwarmSize, 200_000},
		{&l.HostPeers, 20_000}, {&l.HostInSwarm, 100}, {&l.Offers, 100},
	} {
		if *d.at == 0 {
			*d.at = d.def
		} else if *d.at < 0 {
			*d.at = 1 << 30
		}
	}
	l.SwarmSize = min(l.SwarmSize, placeMost)
	return l
}

// Table holds swarms. Its methods can be called from many goroutines.
type Table struct {
	limits    Limits
	expire    uint16 // in units of seenUnit
	expireWeb uint16 // seconds
	start     time.Time
	seed      uint64 // of tags and offers: unknown to strangers
	hashSeed  maphash.Seed

	now    atomic.Uint32 // seconds since start
	swept  int           // the shard that Tick looks at next
	tickMu sync.Mutex

	swarms  atomic.Int64
	classic [2]atomic.Int64 // IPv4, IPv6
	web     atomic.Int64
	hosts   sketch

	shards [shards]shard
}

// New makes an empty table.
func New(cfg Config) *Table {
	if cfg.Now.IsZero() {
		cfg.Now = time.Now()
	}
	t := &Table{
		limits:    cfg.Limits.withDefaults(),
		expire:    (seconds(cfg.Expire, 45*time.Minute) + seenUnit - 1) / seenUnit,
		expireWeb: seconds(cfg.ExpireWeb, 10*time.Minute),
		start:     cfg.Now,
		seed:      randomSeed(),
		hashSeed:  maphash.MakeSeed(),
	}
	t.hosts.seed = randomSeed()
	return t
}

// seconds fits a duration to the 16 bits that a peer's age has.
func seconds(d, def time.Duration) uint16 {
	if d <= 0 {
		d = def
	}
	return uint16(max(1, min(d, 12*time.Hour)/time.Second))
}

// swarmFor returns a swarm, which is made if it is not there.
func (t *Table) swarmFor(s *shard, h *Hash, hash uint32) (*swarm, error) {
	if w := s.lookup(h, hash); w != nil {
		return w, nil
	}
	if t.swarms.Load() >= int64(t.limits.Swarms) {
		return nil, ErrSwarms
	}
	t.swarms.Add(1)
	return s.make(h, hash), nil
}

// dropIfEmpty forgets a swarm without peers.
func (t *Table) dropIfEmpty(s *shard, w *swarm, hash uint32) {
	if s.size(w) == 0 {
		h := w.hash
		s.drop(&h, hash)
		t.swarms.Add(-1)
	}
}

// room says whether one more peer of a host fits.
func (t *Table) room(s *shard, w *swarm, host uint64, sameHost int) error {
	switch {
	case t.total() >= int64(t.limits.Peers):
		return ErrPeers
	case s.size(w) >= t.limits.SwarmSize:
		return ErrSwarmPeers
	case sameHost >= t.limits.HostInSwarm:
		return ErrHostInSwarm
	case t.hosts.count(host) >= t.limits.HostPeers:
		return ErrHostPeers
	}
	return nil
}

func (t *Table) total() int64 {
	return t.classic[0].Load() + t.classic[1].Load() + t.web.Load()
}

// Scrape returns the counts of a swarm; zeros if it is not known.
func (t *Table) Scrape(h Hash) (Counts, error) {
	s, hash := t.hash(&h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.lookup(&h, hash); w != nil {
		return s.counts(w), nil
	}
	return Counts{}, nil
}

// Size tells how much is in a table. Entries of one client count each.
type Size struct{ Swarms, Peers4, Peers6, PeersWeb int64 }

// Size returns how much is in the table.
func (t *Table) Size() Size {
	return Size{t.swarms.Load(), t.classic[0].Load(), t.classic[1].Load(), t.web.Load()}
}

// hostKey is what counts as one host: an IPv4 address, or an IPv6 network of 64 bits.
func hostKey(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
	}
	b := a.As16()
	var k uint64
	for _, x := range b[:8] {
		k = k<<8 | uint64(x)
	}
	return k ^ 1<<63 // apart from IPv4 addresses
}
