// Package reach knows where the world reaches us: at which addresses and ports, of IPv4 and
// of IPv6, and what kind of NAT is between.
//
//	r := reach.New(reach.Config{Port: 6881, TCP: true, UTP: true, Ask: mirror.Ask})
//	defer r.Close()
//	r.Reflected(answers)             // what STUN servers saw (RFC 8489)
//	r.Heard(reach.Peer, from, seen)  // what a peer says (BEP 10 yourip)
//	r.Mapped(reach.Mapping{...})     // what a gateway passes on
//	announced, changed := r.Announced()
//
// What is announced is the port that a gateway has mapped, if one has. Else it is the port at
// which two STUN servers see our UDP socket: a NAT that shows both the same one shows it to
// everybody (endpoint-independent mapping, RFC 4787 section 4.1), and over it uTP comes in. Such a
// port is kept open by asking again before the NAT forgets it. Else it is our own.
//
// [Probe] finds out how a NAT maps and filters (RFC 5780).
package reach
