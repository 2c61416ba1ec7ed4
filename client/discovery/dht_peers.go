package discovery

import (
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	peerstore "github.com/anacrolix/dht/v2/peer-store"
)

const (
	// maxStoredTorrents and maxStoredPeers bound what strangers can make this node
	// remember: about 12 MB at worst.
	maxStoredTorrents = 2000
	maxStoredPeers    = 100
	// storedPeerLife is how long an announced peer is given out. Announces come
	// every 15 minutes or so; two may be lost.
	storedPeerLife = 45 * time.Minute
	// maxAnsweredPeers is how many fit an answer without fragmentation.
	maxAnsweredPeers = 50
)

// peerStore remembers the peers that were announced to this node, and tells whoever
// looks for the same torrent.
type peerStore struct {
	mu       sync.Mutex
	torrents map[[20]byte]map[netip.AddrPort]time.Time // when it was announced
	watchers map[[20]byte]map[*watcher]struct{}
}

type watcher struct{ found func([]netip.AddrPort) }

var _ peerstore.Interface = (*peerStore)(nil)

func newPeerStore() *peerStore {
	return &peerStore{
		torrents: map[[20]byte]map[netip.AddrPort]time.Time{},
		watchers: map[[20]byte]map[*watcher]struct{}{},
	}
}

// watch returns the peers of a torrent that have been announced here, and has found
// called for those that will be, until stop is called.
func (s *peerStore) watch(infoHash [20]byte, found func([]netip.AddrPort)) (known []netip.AddrPort, stop func()) {
	w := &watcher{found}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers[infoHash] == nil {
		s.watchers[infoHash] = map[*watcher]struct{}{}
	}
	s.watchers[infoHash][w] = struct{}{}
	return s.current(infoHash), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers[infoHash], w)
		if len(s.watchers[infoHash]) == 0 {
			delete(s.watchers, infoHash)
		}
	}
}

// AddPeer stores an announced peer. When there is no room, the torrent that a map's
// order brings up first makes some.
func (s *peerStore) AddPeer(infoHash peerstore.InfoHash, a krpc.NodeAddr) {
	addr, ok := addrPort(a)
	if !ok {
		return
	}
	for _, w := range s.add(infoHash, addr) {
		w.found([]netip.AddrPort{addr})
	}
}

func (s *peerStore) add(infoHash [20]byte, addr netip.AddrPort) (watchers []*watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	swarm := s.torrents[infoHash]
	if swarm == nil {
		if len(s.torrents) >= maxStoredTorrents {
			for other := range s.torrents {
				delete(s.torrents, other)
				break
			}
		}
		swarm = map[netip.AddrPort]time.Time{}
		s.torrents[infoHash] = swarm
	}
	if _, known := swarm[addr]; !known && len(swarm) >= maxStoredPeers {
		for other := range swarm {
			delete(swarm, other)
			break
		}
	}
	swarm[addr] = time.Now()
	for w := range s.watchers[infoHash] {
		watchers = append(watchers, w)
	}
	return watchers
}

// GetPeers returns peers to answer a query with.
func (s *peerStore) GetPeers(infoHash peerstore.InfoHash) (peers []krpc.NodeAddr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, addr := range s.current(infoHash) {
		if len(peers) >= maxAnsweredPeers {
			break
		}
		var a krpc.NodeAddr
		a.FromAddrPort(addr)
		peers = append(peers, a)
	}
	return peers
}

// current returns the peers of a torrent and forgets those that are too old.
func (s *peerStore) current(infoHash [20]byte) (peers []netip.AddrPort) {
	swarm := s.torrents[infoHash]
	for addr, announced := range swarm {
		if time.Since(announced) > storedPeerLife {
			delete(swarm, addr)
			continue
		}
		peers = append(peers, addr)
	}
	if swarm != nil && len(swarm) == 0 {
		delete(s.torrents, infoHash)
	}
	return peers
}
