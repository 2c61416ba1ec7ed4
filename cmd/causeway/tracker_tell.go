package main

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
		Announce: r.announceURLs(), ICE: r.iceURLs(),
	}
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
		urls = append(urls, "http"+secure+"://"+r.public.at(r.sockets.http.Addr())+announcePath)
	}
	if !r.flags.noUDP {
		urls = append(urls, "udp://"+r.public.at(r.sockets.udp.LocalAddr())+announcePath)
	}
	return urls
}

// iceURLs are for WebRTC peers (RFC 7064, RFC 7065).
func (r *trackerRun) iceURLs() []string {
	udp, tcp := r.public.at(r.sockets.udp.LocalAddr()), r.public.at(r.sockets.http.Addr())
	urls := []string{"stun:" + udp}
	if !r.relay.TURN() {
		return urls
	}
	urls = append(urls, "turn:"+udp+"?transport=udp")
	if !r.flags.tls.only {
		urls = append(urls, "turn:"+tcp+"?transport=tcp")
	}
	if r.flags.tls.on() {
		urls = append(urls, "turns:"+tcp+"?transport=tcp")
	}
	return urls
}
