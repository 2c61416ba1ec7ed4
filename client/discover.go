package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/tracker"
)

const (
	// dialsPerTorrent bounds the connection attempts of one torrent.
	dialsPerTorrent = 20
	// enoughPeers is how many connections a download goes on to look for. A seed
	// leaves the looking to others.
	enoughPeers = 50
	// wantMoreInterval is how often trackers are asked for more peers while there
	// are few.
	wantMoreInterval = 30 * time.Second
	// fewPeers is below how many connections more are asked for.
	fewPeers = 5
	// resolveTimeout bounds looking up the name of a peer given by the user.
	resolveTimeout = 20 * time.Second
)

// mayDiscover: private torrents find peers by their trackers only (BEP 27).
func (t *Torrent) mayDiscover() bool {
	info := t.Info()
	return info == nil || !info.Private
}

// startDiscovery starts to look for peers, once.
func (t *Torrent) startDiscovery() {
	l := &t.loop
	if l.discovered {
		return
	}
	l.discovered = true
	if !t.client.cfg.DisableTrackers {
		l.announcer = tracker.New(tracker.Config{
			Tiers: t.source.trackers, InfoHash: t.infoHash, PeerID: t.client.id,
			Port: uint16(t.client.port()), Key: t.client.key,
			Stats:     t.announceStats,
			OnPeers:   func(_ string, _ netip.Addr, addrs []netip.AddrPort) { t.found(addrs) },
			OnStatus:  t.trackerStatus,
			UserAgent: "Causeway/" + Version,
			Logger:    t.log,
		})
	}
	if t.client.ws != nil {
		t.web.start()
	}
	if !t.mayDiscover() {
		return
	}
	ctx, cancel := context.WithCancel(t.ctx)
	l.stopDHT = cancel
	if dht := t.client.dht; dht != nil {
		t.spawn(func() { dht.Announce(ctx, t.infoHash, t.client.port(), false, t.found) })
	}
	if lsd := t.client.lsd; lsd != nil {
		t.spawn(func() { lsd.Announce(ctx, t.infoHash, t.client.port(), t.found) })
	}
}

// stopDiscovery leaves only the trackers.
func (t *Torrent) stopDiscovery() {
	if t.loop.stopDHT != nil {
		t.loop.stopDHT()
	}
}

// turnPrivate leaves a torrent, which was not known to be private, to its own
// trackers (BEP 27): peers that were found by other ways are let go.
func (t *Torrent) turnPrivate() {
	t.stopDiscovery()
	t.removeWebTrackers()
	for addr, c := range t.loop.candidates.byAddr {
		if !c.given && !c.dialling && !c.connected {
			delete(t.loop.candidates.byAddr, addr)
		}
	}
	for p := range t.loop.peers {
		if p.candidate == nil || !p.candidate.given {
			t.drop(p, errPrivate)
		}
	}
	if t.loop.announcer != nil {
		t.loop.announcer.WantMore()
	}
}

var errPrivate = errors.New("the torrent is private; its trackers will name it again if it belongs there")

// leave tells the trackers that we go.
func (t *Torrent) leave() { t.leaving.Do(t.stopAnnouncing) }

func (t *Torrent) stopAnnouncing() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	var leaving sync.WaitGroup
	leaving.Go(t.web.close)
	if t.loop.announcer != nil {
		leaving.Go(func() { t.loop.announcer.Close(ctx) })
	}
	leaving.Wait()
}

// found takes in addresses of peers.
func (t *Torrent) found(addrs []netip.AddrPort) {
	t.do(func() {
		added := false
		for _, a := range addrs {
			added = t.loop.candidates.add(a, false) || added
		}
		if added {
			t.wakeUp()
		}
	})
}

// resolvePeers looks up the names of peers given by the user, host:port each.
func (t *Torrent) resolvePeers(peers []string) {
	for _, peer := range peers {
		host, portText, err := net.SplitHostPort(peer)
		port, portErr := strconv.ParseUint(portText, 10, 16)
		if err != nil || portErr != nil {
			t.client.warn(t.infoHash, fmt.Sprintf("the peer %q is left out: host:port is wanted", peer))
			continue
		}
		ctx, cancel := context.WithTimeout(t.ctx, resolveTimeout)
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		cancel()
		if err != nil {
			t.client.warn(t.infoHash, fmt.Sprintf("the peer %s is left out: %v", peer, err))
			continue
		}
		t.do(func() {
			for _, ip := range ips {
				t.loop.candidates.add(netip.AddrPortFrom(ip, uint16(port)), true)
			}
			t.wakeUp()
		})
	}
}

func (t *Torrent) trackerStatus(s tracker.Status) {
	t.client.cfg.OnEvent(TrackerEvent{
		InfoHash: t.infoHash, URL: s.URL, OK: s.OK, Seeds: s.Seeds, Leeches: s.Leeches,
		Message: s.Message, Next: s.Next,
	})
}

// dialCandidates opens connections while more are wanted, and returns when to
// look again, zero if not because of candidates.
func (t *Torrent) dialCandidates(now time.Time) (again time.Time) {
	l := &t.loop
	if l.phase == phaseChecking || l.phase == phaseFailed || t.client.cfg.DisableTCP {
		return time.Time{}
	}
	complete := t.isSeed()
	room := min(enoughPeers-len(l.peers), dialsPerTorrent-l.dialling)
	if !complete && len(l.peers) < fewPeers && l.announcer != nil && !now.Before(l.wantMoreAt) {
		l.wantMoreAt = now.Add(wantMoreInterval)
		l.announcer.WantMore()
	}
	if room <= 0 {
		return time.Time{}
	}
	list, again := l.candidates.ready(now, room, func(c *candidate) bool {
		return (!complete || !c.seed) && !l.bans.banned(c.addr, [20]byte{}, now)
	})
	for _, c := range list {
		c.dialling = true
		l.dialling++
		t.spawn(func() { t.dial(c.addr) })
	}
	return again
}

// dial tries one candidate.
func (t *Torrent) dial(addr netip.AddrPort) {
	conn, err := t.client.dial(t, addr)
	if err == nil {
		err = t.attach(t.ctx, conn)
		if err != nil {
			conn.Close()
		}
	}
	t.do(func() {
		t.loop.dialling--
		if err != nil {
			t.log.Debug("dial failed", "peer", addr, "err", err)
			if c := t.loop.candidates.byAddr[addr]; c != nil {
				c.dialling = false
				c.failed(time.Now())
			}
		}
		t.wakeUp()
	})
}
