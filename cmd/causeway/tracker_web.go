package main

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/causeway-bt/causeway/tracker/server"
	"github.com/causeway-bt/causeway/tracker/server/peerjs"
	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/causeway-bt/causeway/tracker/server/websocket"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

const (
	// handedOut is how long TURN credentials hold that a WebSocket peer is told; it is told
	// others each hour.
	handedOut = 6 * time.Hour
	// countsEvery is how often the WebSocket front end's counts are put beside the others.
	countsEvery = time.Second
)

// webSocket makes the WebSocket front end.
func (r *trackerRun) webSocket(s *server.Server) http.Handler {
	r.web = websocket.New(websocket.Config{
		Swarms: s.Swarms(), Sockets: r.webSockets, Interval: r.flags.webInterval, ICEServers: r.iceServers,
	})
	return r.web.Handler(s.RemoteAddr)
}

// peerJSPages makes the signalling server of PeerJS.
func (r *trackerRun) peerJSPages(s *server.Server) http.Handler {
	r.peerJS = peerjs.New(peerjs.Config{Sockets: r.webSockets})
	return r.peerJS.Handler(s.RemoteAddr)
}

// newWebSockets holds the connections of the WebSocket front ends.
func (f *trackerFlags) newWebSockets(logger *slog.Logger) *socket.Server {
	return socket.New(socket.Config{MaxConns: f.connections, MaxPerAddress: f.hostConnections, Logger: logger})
}

// iceServers are the STUN and TURN servers that a WebSocket peer is told: this one. The peers
// of an address share the bounds of a user.
func (r *trackerRun) iceServers(_ table.ID, remote netip.Addr) []websocket.ICEServer {
	stun, turn := r.iceURLs(remote)
	servers := []websocket.ICEServer{{URLs: stun}}
	if !r.flags.turn.open {
		return servers
	}
	username, password, err := r.relay.Credentials(remote.String(), handedOut)
	if err != nil {
		return servers
	}
	return append(servers, websocket.ICEServer{URLs: turn, Username: username, Credential: password})
}

// count puts the counts of WebSocket, STUN and TURN beside those of the other front ends,
// until done is closed.
func (r *trackerRun) count(done <-chan struct{}) {
	r.relayMetrics()
	tick := time.NewTicker(countsEvery)
	defer tick.Stop()
	for r.web != nil {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		front, web := &r.tracker.Stats().WebSocket, r.web.Stats()
		front.Connects.Store(int64(r.webSockets.Stats().Accepted))
		front.Malformed.Store(int64(r.webSockets.Stats().Malformed))
		front.Announces.Store(int64(web.Announces))
		front.Scrapes.Store(int64(web.Scrapes))
		front.Refused.Store(int64(web.Failures))
		front.Offers.Store(int64(web.Offers))
		front.Answers.Store(int64(web.Answers))
	}
}

// relayMetrics adds what STUN and TURN do to /metrics.
func (r *trackerRun) relayMetrics() {
	registry := r.tracker.Stats().Registry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "causeway_turn", Name: "allocations", Help: "Ports that are relayed from.",
	}, func() float64 { return float64(r.relay.Stats().Allocations) }))
	counter := func(name, help string, value func() uint64) {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "causeway_turn", Name: name, Help: help,
		}, func() float64 { return float64(value()) }))
	}
	counter("relayed_bytes_total", "Bytes relayed, both directions.", func() uint64 { return r.relay.Stats().Relayed })
	counter("refused_packets_total", "Packets to or from addresses that are not relayed to.", func() uint64 { return r.relay.Stats().Refused })
	counter("dropped_packets_total", "Packets beyond a rate, or faster than they were handled.", func() uint64 { return r.relay.Stats().Dropped })
	counter("limited_requests_total", "Requests of addresses that ask too much.", func() uint64 { return r.relay.Stats().Limited })
}
