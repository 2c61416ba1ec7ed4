// Package tracker announces one torrent to its HTTP and UDP trackers and collects
// the peers they name, and asks trackers how large swarms are. It knows nothing of torrents' contents or of connections,
// and leaves ws:// and wss:// trackers, which need WebRTC, to package tracker/ws.
//
//	a := tracker.New(tracker.Config{
//		Tiers: tiers, InfoHash: hash, PeerID: id, Port: port,
//		Stats: stats, OnPeers: func(url string, speaker netip.Addr, peers []netip.AddrPort) { ... },
//	})
//	defer a.Close(ctx) // says "completed" if that is still to be said, and "stopped"
//	swarms, err := tracker.Scraper{}.Scrape(ctx, url, hash)
//
// It implements BEP 3 (HTTP trackers and events), BEP 7 (IPv6: one announce for each
// address family of a tracker's host), BEP 12 (tiers), BEP 15 (UDP trackers), BEP 23
// (compact peers), BEP 27 (one tracker at a time for private torrents), BEP 31 (when to
// retry), BEP 41 (paths of UDP trackers) and BEP 48 (scrapes).
//
// A tracker that does not answer is asked again after 15 s, then after twice as long
// each time up to an hour, or when it said. A panic in what touches its bytes ends one
// announce and is logged.
//
// Every answer is treated as hostile: bodies, redirects, waiting times and counts
// have bounds, which are constants of this package.
package tracker
