package swarm

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/webrtcwire"
)

// maxICEServers bounds the servers of one description, over all trackers: each is asked, and
// the slowest of them may hold the description back.
const maxICEServers = 4

var _ ws.ICETaker = (*Web)(nil)

// ICEServers implements ws.ICETaker: what a torrent's trackers name is used for its
// connections, besides what the user has chosen. When that is the first relay, offers are made
// with it at once, besides those without that are out: who needs it can do nothing with them.
func (w *Web) ICEServers(from *ws.Handle, named []ws.ICEServer) {
	var servers []webrtcwire.ICEServer
	for _, server := range named {
		servers = append(servers, webrtcwire.ICEServer(server))
	}
	w.mu.Lock()
	if w.ctx.Err() != nil {
		w.mu.Unlock()
		return
	}
	first := !relays(w.known()) && relays(servers)
	w.ice[from.URL()] = servers
	if first {
		w.relayedSince = time.Now()
	}
	w.mu.Unlock()
	w.s.log.Debug("a tracker named ICE servers", "url", from.URL(), "servers", len(servers))
	if first {
		from.Announce()
	}
}

// servers are those that the torrent's trackers have named.
func (w *Web) servers() []webrtcwire.ICEServer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known()
}

// known is servers, with w.mu held.
func (w *Web) known() (servers []webrtcwire.ICEServer) {
	for _, url := range slices.Sorted(maps.Keys(w.ice)) {
		servers = append(servers, w.ice[url]...)
	}
	return servers[:min(len(servers), maxICEServers)]
}

// relays reports whether there is a TURN server among them.
func relays(servers []webrtcwire.ICEServer) bool {
	return slices.ContainsFunc(servers, func(server webrtcwire.ICEServer) bool {
		return slices.ContainsFunc(server.URLs, func(url string) bool { return strings.HasPrefix(url, "turn") })
	})
}
