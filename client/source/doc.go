// Package source is whom a torrent's blocks are asked of: a peer of the wire protocol,
// or a web seed. A [Source] keeps what it owes and how much it may owe, judges it when
// it is late, and remembers who it is, so that wrong data has a culprit long after a
// connection has ended. How it is asked is behind a small interface, [Link].
//
//	s := source.New(link, &source.Identity{Addr: addr})
//	picker.AddPeer(&s.Pick)
//	s.Ask(requests, now)       // remembers and sends them
//	r, ok := s.Take(7, 0, 16384) // a block came: was it asked for?
//
// Its exported fields belong to the torrent's event loop; methods that the goroutine
// of a connection may call say so.
package source
