// Package portmap asks the gateway to pass a port on to us, as a home router's NAT has to be
// asked: by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP (IGD 1 and 2), whichever answers, in
// this order. It renews what it got, finds out when the gateway has forgotten it, follows
// changes of interface, gateway and address, and gives the port back at the end.
//
//	m := portmap.New(portmap.Config{Port: 6881, TCP: true, Network: net, OnChange: told})
//	defer m.Close()
//
// Traffic that is bound to a tunnel's address has its port mapped at the tunnel's gateway, as
// VPN providers that forward ports do it. IPv4 only: IPv6 has no NAT to speak of. Whatever
// a gateway says is taken for hostile: answers count only from the address that was asked,
// and all sizes, times and numbers of them are bounded.
package portmap
