// Package allot shares out among torrents what a client has only so much of, and
// decides who goes when all of it is taken: connections ([Connections]), handshakes
// under way ([Gate]), dials and checks of files ([Turns]), memory for what peers say
// before it can be used ([Budget]), and bytes per second ([Rate], [Upload]). The
// memory of unfinished pieces is bounded by disk.Memory, upload slots by the choker of
// each torrent, in numbers that come from here ([Slots]).
//
//	conns := allot.NewConnections(500)
//	place, err := conns.Admit(torrent, peer, addr, now) // may evict another
//	defer place.Leave()
//
// Everything here may be used from any goroutine.
package allot
