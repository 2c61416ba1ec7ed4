package discovery

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/anacrolix/dht/v2"
)

const (
	// announceInterval is how often a torrent is announced; nodes forget peers
	// after half an hour or so.
	announceInterval = 15 * time.Minute
	// hungryInterval replaces it while no peers were found. Where there are too few
	// nodes for a full lookup, which then costs next to nothing, the first ones
	// follow sooner, from firstInterval on: others may be about to announce.
	hungryInterval = time.Minute
	firstInterval  = 500 * time.Millisecond
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
// minutes, each minute or more often while none are found, and as soon as there are
// more nodes than the few it has reached. It returns when ctx ends or the DHT is
// closed.
//
// With implied, nodes take the UDP port of this node's packets for the peer's
// port. Peers are handed to found as they come in, from several goroutines; the
// same may come again, and this client itself may be among them. Peers that
// announce the torrent to this very node are handed on, too.
func (d *DHT) Announce(ctx context.Context, infoHash [20]byte, port int, implied bool, found func([]netip.AddrPort)) {
	if !d.enter() {
		return
	}
	defer d.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	known, stop := d.peers.watch(infoHash, found)
	defer stop()
	if len(known) > 0 {
		found(known)
	}

	for hungry := firstInterval; ; {
		grown := d.tableGrown()
		peers, reached := d.lookup(ctx, infoHash, port, implied, found)
		if reached >= fullReach {
			grown, hungry = nil, hungryInterval
		}
		interval := announceInterval - announceInterval/10 + rand.N(announceInterval/5)
		if peers == 0 {
			interval = hungry
			hungry = min(2*hungry, hungryInterval)
		}
		if !sleepUntil(ctx, interval, grown) {
			return
		}
	}
}

// sleepUntil waits for the interval or, after a pause, for early to be closed. It
// returns false when ctx ends first.
func sleepUntil(ctx context.Context, interval time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-early:
	}
	timer.Reset(min(interval, regrowPause))
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// lookup is one get_peers traversal, ended by announce_peer to the closest nodes. It
// returns how many peers were named and how many nodes answered.
func (d *DHT) lookup(ctx context.Context, infoHash [20]byte, port int, implied bool, found func([]netip.AddrPort)) (peers, reached int) {
	select {
	case d.lookups <- struct{}{}:
		defer func() { <-d.lookups }()
	case <-ctx.Done():
		return 0, 0
	}
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
