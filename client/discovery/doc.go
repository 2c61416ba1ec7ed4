// Package discovery finds peers without a tracker: in the DHT (BEP 5, with IPv6 as
// in BEP 32) and on the local network (BEP 14). It hands on addresses and does not
// connect to them; whether a torrent may be looked for at all (BEP 27) is for its
// caller to know.
//
//	dht, err := discovery.NewDHT(discovery.DHTConfig{Conn: udp.Lend(transport.ClassDHT)})
//	lsd, err := discovery.NewLSD(discovery.LSDConfig{})
//	need := discovery.NewNeed(discovery.Fresh) // need.Set(discovery.Idle) once it is complete
//	go dht.Announce(ctx, infoHash, port, need, found)
//	go lsd.Announce(ctx, infoHash, port, found)
//
// The DHT's node is the one of anacrolix/dht. It trusts its input more than is
// safe, and refuses much that could be used, so packets are read and written anew before
// it sees them. Lookups are shared out among torrents by how much they need them.
package discovery
