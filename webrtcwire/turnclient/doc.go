// Package turnclient is the client's side of a TURN allocation (RFC 8656) that many share: a port of a
// server's that relays UDP to and from any number of peers, for as long as it is wanted.
//
// pion/turn has a client, too, which serves one ICE agent: it renews the permission of each address that
// it ever wrote to, has the first packet to an address wait for the server, and takes a channel for each.
// Here what is not used any more is forgotten, nothing waits, and a channel, of which there are 4096, is
// for those to whom data goes and not for each candidate that ICE tries.
package turnclient
