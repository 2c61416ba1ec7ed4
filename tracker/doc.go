// Package tracker announces one torrent to its HTTP and UDP trackers and collects
// the peers they name. It knows nothing of torrents' contents or of connections,
// and leaves ws:// and wss:// trackers, which need WebRTC, to package tracker/ws.
//
//	a := tracker.New(tracker.Config{
//		Tiers: tiers, InfoHash: hash, PeerID: id, Port: 6881,
//		Stats: stats, OnPeers: func(url string, peers []netip.AddrPort) { ... },
//	})
//	defer a.Close(ctx)
//
// It implements BEP 3 (HTTP trackers and events), BEP 7 (IPv6), BEP 12 (tiers),
// BEP 15 (UDP trackers), BEP 23 (compact peers) and BEP 41 (paths of UDP trackers).
//
// Every answer is treated as hostile: bodies, redirects, waiting times and counts
// have bounds, which are constants of this package.
package tracker
