// Package swarm is a torrent's part in one swarm, that of one infohash: where it
// announces itself (trackers, DHT, the local network, WebSocket trackers), which
// addresses it knows of and when each is dialled, and the rules of private torrents. A
// torrent has one swarm, a hybrid will have two.
//
//	s := swarm.New(swarm.Config{InfoHash: h, Trackers: tiers, Shared: shared, Host: torrent})
//	s.Start()           // any number of times
//	s.Dial(now, 20)     // when more connections are wanted
//	left := s.Stop()    // trackers are told that we leave
//	<-left
//
// It makes connections with finished handshakes and hands them to its [Host]. It knows
// nothing of pieces.
package swarm
