package discovery

import (
	"context"
	"math/rand/v2"
	"net/netip"
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
	// regrowPause keeps a routing table that grows node by node from causing a
	// lookup for each.
	regrowPause = 250 * time.Millisecond
	// maxFoundPeers bounds the peers taken from one node's answer; a packet holds
	// fewer anyway.
	maxFoundPeers = 300
)

// Announce looks for the peers of a torrent and, if port is not 0 or implied is
// true, makes this one known to the nodes responsible: at once, then every 15
// minutes, each minute or more often at first while it needs peers and none are found, and as
// soon as there are more nodes than the few it has reached. An idle torrent is announced
// every 24 minutes or so and looks for nobody. Lookups of many torrents wait for each
// other, those that need them most going first; need, which nil takes for Active, may be
// changed meanwhile. It returns when ctx ends or the DHT is closed.
//
// With implied, nodes take the UDP port of this node's packets for the peer's
// port. Peers are handed to found as they come in, from several goroutines; the
// same may come again, and this client itself may be among them. Peers that
// announce the torrent to this very node are handed on, too. Addresses that the node
// which names them may not name (Network.MayName) are left out.
func (d *DHT) Announce(ctx context.Context, infoHash [20]byte, port int, implied bool, need *Need, found func([]netip.AddrPort)) {
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
		grown := d.tableGrown()
		peers, reached := d.lookup(ctx, infoHash, port, implied, guarded)
		d.turns.give(level)
		s.looked(peers, reached)
		if !s.wait(ctx, grown) {
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
// nodes than the few that were reached, or when the torrent comes to need more. It returns
// false when ctx ends first.
func (s *schedule) wait(ctx context.Context, grown <-chan struct{}) bool {
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
		case <-changed:
			level, changed = s.need.get()
			due = s.turnTo(level)
		}
		timer.Reset(time.Until(due))
	}
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

// lookup is one get_peers traversal, ended by announce_peer to the closest nodes. It
// returns how many peers were named and how many nodes answered.
func (d *DHT) lookup(ctx context.Context, infoHash [20]byte, port int, implied bool, found func([]netip.AddrPort)) (peers, reached int) {
	var opts []dht.AnnounceOpt
	if port != 0 || implied {
		opts = append(opts, dht.AnnouncePeer(dht.AnnouncePeerOpts{Port: port, ImpliedPort: implied}))
	}
	a, err := d.server.AnnounceTraversal(infoHash, opts...)
	if err != nil {
		d.log.Debug("no DHT lookup without nodes", "err", err)
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
