// Package table holds a tracker's swarms in memory: who announced which infohash,
// and whom to introduce to whom. It knows no sockets and no protocols; the front
// ends of package server parse requests and write replies.
//
// One swarm has classic peers over IPv4, classic peers over IPv6 and web peers
// (which have no address, only the socket that they came by). All of them count:
// a client that announces in more than one way under one peer id counts once.
//
//	t := table.New(table.Config{})
//	var reply table.Reply
//	err := t.Announce(&table.Announce{Hash: hash, ID: id, Addr: from, NumWant: 50}, &reply)
//	t.Tick(time.Now()) // each second: the clock, and expiry
//
// The table is divided by infohash into shards with a lock each. A classic peer is
// a flat record of 12 (IPv4) or 24 bytes (IPv6), found by address and port: in a chain of
// blocks while the swarm is small, else in a slice with an index. Of its peer id there
// are 32 bits of a hash, enough to know it again. Whatever strangers can make grow
// has a bound in Limits and a Refusal past it. Peers of a host are counted in
// sketches of fixed size, which may count a host's peers too high, by those of other
// hosts, but never too low.
//
// It keeps to BEP 3, 7, 21, 23 and 48 in what it counts and whom it names.
package table
