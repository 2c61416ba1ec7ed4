package main

import "net/netip"

// announcePath is where HTTP and WebSocket announces go; any path that ends in it will do.
const announcePath = "/announce"

// trackerListening is what --json tells first.
type trackerListening struct {
	TCP      string   `json:"tcp"`
	UDP      string   `json:"udp"`
	Announce []string `json:"announce"`
	ICE      []string `json:"ice"`
}

// tell prints the URLs that peers are given.
func (r *trackerRun) tell() {
	listening := trackerListening{
		TCP: r.sockets.http.Addr().String(), UDP: r.sockets.udp.LocalAddr().String(),
		Announce: r.announceURLs(),
	}
	stun, turn := r.iceURLs(netip.Addr{})
	listening.ICE = append(stun, turn...)
	r.app.event("listening", listening)
	for _, url := range append(listening.Announce, listening.ICE...) {
		r.app.result(url)
	}
}

// announceURLs are for torrents and magnet links.
func (r *trackerRun) announceURLs() (urls []string) {
	secure := ""
	if r.flags.tls.on() {
		secure = "s"
	}
	if !r.flags.noHTTP {
		urls = append(urls, "http"+secure+"://"+r.public.at(r.sockets.http.Addr(), netip.Addr{})+announcePath)
	}
	if !r.flags.noUDP {
		urls = append(urls, "udp://"+r.public.at(r.sockets.udp.LocalAddr(), netip.Addr{})+announcePath)
	}
	if !r.flags.noWS {
		urls = append(urls, "ws"+secure+"://"+r.public.at(r.sockets.ws.Addr(), netip.Addr{})+announcePath)
	}
	return urls
}

// iceURLs are for WebRTC peers (RFC 7064, RFC 7065) at an address.
func (r *trackerRun) iceURLs(from netip.Addr) (stun, turn []string) {
	udp, tcp := r.public.at(r.sockets.udp.LocalAddr(), from), r.public.at(r.sockets.http.Addr(), from)
	stun = []string{"stun:" + udp}
	if !r.relay.TURN() {
		return stun, nil
	}
	turn = []string{"turn:" + udp + "?transport=udp"}
	if !r.flags.tls.only {
		turn = append(turn, "turn:"+tcp+"?transport=tcp")
	}
	if r.flags.tls.on() {
		turn = append(turn, "turns:"+tcp+"?transport=tcp")
	}
	return stun, turn
}
