package discovery

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2"
)

const (
	// announceInterval is how often a torrent is announced while it downloads.
	announceInterval = 15 * time.Minute
	// idleInterval is that of one that looks for nobody; nodes forget peers after half
	// an hour or so.
	idleInterval = 24 * time.Minute
	// hungryInterval replaces announceInterval while peers are needed and none were
	// found, or those that were are not enough. It doubles with each lookup up to
	// announceInterval.
	hungryInterval = time.Minute
	// firstInterval takes its place where there are too few nodes for a full
	// lookup, which then costs next to nothing: others may be about to announce.
	firstInterval = 500 * time.Millisecond
	// fullReach is how many nodes an announce normally ends up at (K of BEP 5). One
	// that reached fewer is made again once more nodes are known.
	fullReach = 8
	// movedInterval is the least time between two lookups that Moved asks for.
	movedInterval = time.Minute
	// regrowPause keeps a routing table that grows node by node from causing a
	// lookup for each.
	regrowPause = 250 * time.Millisecond
	// maxFoundPeers bounds the peers taken from one node's answer; a packet holds
	// fewer anyway.
	maxFoundPeers = 300
)

// Port is where a peer is reached. With Implied, nodes take the UDP port of this node's packets
// for it, as long as they are able to.
type Port struct {
	Number  uint16
	Implied bool
}

// Announce looks for the peers of a torrent and, unless port is nil, makes this one known to the
// nodes responsible, at the port that it has in each family by then: at once, then every 15
// minutes, each minute or more often at first while it needs peers and none are found, and as
// soon as there are more nodes than the few it has reached, or after Moved. An idle torrent is announced
// every 24 minutes or so and looks for nobody. Lookups of many torrents wait for each
// other, those that need them most going first; need, which nil takes for Active, may be
// changed meanwhile. It returns when ctx ends or the DHT is closed.
//
// Peers are handed to found as they come in, from several goroutines; the
// same may come again, and this client itself may be among them. Peers that
// announce the torrent to this very node are handed on, too. Addresses that the node
// which names them may not name (Network.MayName) are left out.
func (d *DHT) Announce(ctx context.Context, infoHash [20]byte, port func(v4 bool) Port, need *Need, found func([]netip.AddrPort)) {
	if !d.enter() {
		return
	}
	defer d.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	guarded := func(peers []netip.AddrPort) {
		d.guard.run("taking in the DHT's peers", func() { found(peers) })
	}
	known, stop := d.peers.watch(infoHash, guarded)
	defer stop()
	if len(known) > 0 {
		guarded(known)
	}
	if need == nil {
		need = NewNeed(Active)
	}
	s := schedule{need: need, level: Fresh, hungry: firstInterval}
	for {
		level, ok := d.turns.take(ctx, need, s.rounds)
		if !ok {
			return
		}
		grown, again := d.tableGrown(), d.toAnnounceAgain()
		peers, reached := d.lookup(ctx, infoHash, port, guarded)
		d.turns.give(level)
		s.looked(peers, reached)
		if !s.wait(ctx, grown, again) {
			return
		}
	}
}

// schedule says when a torrent is looked for again.
type schedule struct {
	need   *Need
	level  Level
	rounds int           // lookups since it became fresh
	hungry time.Duration // the wait after a lookup that did not help
	last   time.Time     // when the last lookup was over
	peers  int           // that it found
	full   bool          // it reached as many nodes as it should
	moved  time.Time     // when a lookup was last due because of Moved
}

func (s *schedule) looked(peers, reached int) {
	s.rounds++
	s.last, s.peers, s.full = time.Now(), peers, reached >= fullReach
	if s.full {
		s.hungry = max(s.hungry, hungryInterval)
	}
}

// interval is the wait after the last lookup.
func (s *schedule) interval(l Level) time.Duration {
	switch {
	case l == Idle && s.full:
		return around(idleInterval)
	case l == Active && s.peers > 0:
		return around(announceInterval)
	}
	return around(s.hungry)
}

// around spreads what began together over a fifth of the time.
func around(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5) }

// wait waits until it is time for the next lookup: the interval, or sooner when there are more
// nodes than the few that were reached, when the torrent comes to need more, or when all is
// to be announced again. It returns false when ctx ends first.
func (s *schedule) wait(ctx context.Context, grown, again <-chan struct{}) bool {
	if s.full {
		grown = nil
	}
	level, changed := s.need.get()
	due := s.turnTo(level)
	s.hungry = min(2*s.hungry, s.ceiling())
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-grown:
			grown = nil
			due = earlier(due, time.Now().Add(regrowPause))
		case <-again:
			again = nil
			due = earlier(due, s.moveAgain(time.Now()))
		case <-changed:
			level, changed = s.need.get()
			due = s.turnTo(level)
		}
		timer.Reset(time.Until(due))
	}
}

// moveAgain returns when what Moved asks for is due.
func (s *schedule) moveAgain(now time.Time) time.Time {
	if next := s.moved.Add(movedInterval); now.Before(next) {
		now = next
	}
	s.moved = now
	return now
}

// turnTo returns when the next lookup of a torrent of that level is due. One that needs more than
// before begins anew.
func (s *schedule) turnTo(l Level) time.Time {
	if l > s.level {
		s.rounds, s.hungry = 0, min(s.hungry, hungryInterval)
	}
	s.level = l
	return s.last.Add(s.interval(l))
}

// ceiling is how far the wait may grow: not far where there are few nodes, since asking them
// costs little.
func (s *schedule) ceiling() time.Duration {
	switch {
	case s.level == Idle:
		return idleInterval
	case s.full:
		return announceInterval
	}
	return hungryInterval
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// lookup is one get_peers traversal in each family, ended by announce_peer to the closest
// nodes. It returns how many peers were named and how many nodes answered.
func (d *DHT) lookup(ctx context.Context, infoHash [20]byte, port func(v4 bool) Port, found func([]netip.AddrPort)) (peers, reached int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, h := range d.halves {
		wg.Go(func() {
			p, r := d.lookupIn(ctx, h, infoHash, port, found)
			mu.Lock()
			defer mu.Unlock()
			peers, reached = peers+p, reached+r
		})
	}
	wg.Wait()
	return peers, reached
}

func (d *DHT) lookupIn(ctx context.Context, h *half, infoHash [20]byte, port func(v4 bool) Port, found func([]netip.AddrPort)) (peers, reached int) {
	var opts []dht.AnnounceOpt
	if port != nil {
		p := port(h.v4)
		opts = append(opts, dht.AnnouncePeer(dht.AnnouncePeerOpts{Port: int(p.Number), ImpliedPort: p.Implied}))
	}
	a, err := h.server.AnnounceTraversal(infoHash, opts...)
	if err != nil {
		d.log.Debug("no DHT lookup without nodes", "ipv4", h.v4, "err", err)
		return 0, 0
	}
	// Queries block until their result is taken, so the channel is read to its end
	// even when ctx has ended.
	defer context.AfterFunc(ctx, a.Close)()
	for values := range a.Peers {
		reached++
		var named []netip.AddrPort
		for _, p := range values.Peers[:min(len(values.Peers), maxFoundPeers)] {
			if addr, ok := addrPort(p); ok {
				named = append(named, addr)
			}
		}
		if len(named) > 0 && ctx.Err() == nil {
			peers += len(named)
			found(named)
		}
	}
	return peers, reached
}
