// Package relay is a STUN and TURN server (RFC 8489, RFC 8656) on pion/turn: browsers and
// other WebRTC peers learn from it under which address the world sees them, and those that
// cannot reach each other meet at it. It is no tracker, and it opens no port of its own
// but those that it relays from: packets and connections are handed to it by whoever
// shares a port with it.
//
//	server, err := relay.New(relay.Config{Secret: secret, Public: addrs})
//	port := server.Port(udp)           // a UDP socket that others use, too
//	port.Deliver(packet, from)         // what comes there; it takes STUN and TURN
//	server.ServeConn(conn)             // a TCP or TLS connection that begins with STUN
//	user, password, err := server.Credentials("peer", time.Hour)
//
// STUN is for everybody. TURN needs credentials: those of a static user, or time-limited
// ones that anybody makes who shares a secret with the server (draft-uberti-behave-turn-rest-00,
// as coturn has them). It relays UDP only (not RFC 6062), to public addresses only unless
// Config.AllowPrivate, and within the bounds of Limits.
package relay
