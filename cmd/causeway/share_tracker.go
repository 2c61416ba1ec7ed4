package main

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/tracker/server"
	"github.com/causeway-bt/causeway/tracker/server/relay"
	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/causeway-bt/causeway/tracker/server/websocket"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
	"github.com/causeway-bt/causeway/web"
)

const (
	// iceTTL is how long the TURN credentials of a page hold: longer than a film.
	iceTTL = 12 * time.Hour
	// shareSockets and shareHostSockets bound the WebSockets of a share, in all and of one
	// address: many viewers may be behind one NAT.
	shareSockets, shareHostSockets = 2000, 500
)

// trackerSide is the tracker, STUN and TURN of a share.
type trackerSide struct {
	tracker  *server.Server
	sockets  *socket.Server
	relay    *relay.Server
	certs    shareCertificates
	peerPort atomic.Uint32 // UDP, of the engine

	packetPort int // UDP, of STUN and TURN; 0: they are not there

	mu     sync.Mutex
	hashes map[table.Hash]bool // that are tracked
}

func (s *sharing) newTrackerSide() (*trackerSide, error) {
	side := &trackerSide{hashes: map[table.Hash]bool{}, sockets: socket.New(socket.Config{MaxConns: shareSockets, MaxPerAddress: shareHostSockets})}
	var err error
	side.relay, err = relay.New(relay.Config{Secret: rand.Text(), OwnPort: side.isPeer, Logger: s.app.logger()})
	if err != nil {
		return side, err
	}
	side.tracker, err = server.New(server.Config{
		Cluster: func(t *table.Table) table.Swarms { return &onlyShared{Table: t, side: side} },
		WebSocket: func(tracker *server.Server) http.Handler {
			front := websocket.New(websocket.Config{Swarms: tracker.Swarms(), Sockets: side.sockets})
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				remote, _ := tracker.RemoteAddr(r)
				_ = front.Accept(w, r, remote) // who asks is told what is wrong
			})
		},
		TrustProxy: s.flags.proxied,
		Logger:     s.app.logger(),
	})
	return side, err
}

// servePackets answers STUN and TURN over UDP until conn is closed. That is not the engine's
// port: Chromium takes all that comes from a STUN or TURN server's address for that server's,
// so that no connection to an engine there would be direct.
func (t *trackerSide) servePackets(conn *net.UDPConn, serving *sync.WaitGroup) error {
	p, err := t.relay.Port(conn)
	if err != nil {
		return err
	}
	t.packetPort = portOf(conn.LocalAddr())
	serving.Go(func() { _ = readPackets(conn, p.Deliver) }) // it ends when conn is closed
	return nil
}

// isPeer reports whether a UDP port is the engine's.
func (t *trackerSide) isPeer(port uint16) bool {
	return port != 0 && uint32(port) == t.peerPort.Load()
}

// iceServers are for a page that reached us by a request.
func (t *trackerSide) iceServers(r *http.Request, page string) []web.ICEServer {
	host, tcp, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, tcp = hostOnly(r.Host), "80"
		if r.TLS != nil {
			tcp = "443"
		}
	}
	if isLoopbackHost(host) {
		return nil // a page of this machine has no use for them
	}
	username, password, err := t.relay.Credentials(page, iceTTL)
	if err != nil {
		return nil
	}
	turn := []string{"turn:" + net.JoinHostPort(host, tcp) + "?transport=tcp"}
	if r.TLS != nil {
		turn[0] = "turns:" + net.JoinHostPort(host, tcp) + "?transport=tcp"
	}
	if t.packetPort == 0 {
		return []web.ICEServer{{URLs: turn, Username: username, Credential: password}}
	}
	udp := net.JoinHostPort(host, strconv.Itoa(t.packetPort))
	turn = append([]string{"turn:" + udp + "?transport=udp"}, turn...)
	return []web.ICEServer{{URLs: []string{"stun:" + udp}}, {URLs: turn, Username: username, Credential: password}}
}

func isLoopbackHost(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// hostOnly is a Host without port, without the brackets of an IPv6 address.
func hostOnly(host string) string {
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}

// selfEvery is how often the engine's own entry among the classic peers is renewed: well
// within what the tracker keeps one for.
const selfEvery = 10 * time.Minute

// announceSelf keeps the engine among the classic peers of what is shared, until ctx ends, at
// the address by which others reach this machine: announcing to a tracker on loopback, it
// would be there as a peer of loopback.
func (t *trackerSide) announceSelf(ctx context.Context, at netip.AddrPort, torrents []*sharedTorrent) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	type entry struct {
		seed bool
		told time.Time
	}
	told := map[table.Hash]entry{}
	for {
		for _, shared := range torrents {
			hash := shared.torrent.InfoHash()
			now, stats := time.Now(), shared.meter.look(shared.torrent)
			seed := stats.State == client.StateSeeding
			if last, known := told[hash]; known && last.seed == seed && now.Sub(last.told) < selfEvery {
				continue
			}
			told[hash] = entry{seed, now}
			a := table.Announce{Hash: hash, ID: selfID, Addr: at, State: table.Leech}
			if seed {
				a.State = table.Seed
			}
			_ = t.tracker.Table().Announce(&a, &table.Reply{}) // full tables are for others to complain of
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// selfID is the peer id of that entry. Peers learn the right one with the handshake.
var selfID = table.ID([]byte("-CW0100-sharing-self"))

// allow has a torrent tracked, and reports whether it was not already; forbid ends that.
func (t *trackerSide) allow(hash table.Hash) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.hashes[hash]
	t.hashes[hash] = true
	return !was
}

func (t *trackerSide) forbid(hash table.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.hashes, hash)
}

func (t *trackerSide) close() {
	if t.relay != nil {
		_ = t.relay.Close() // does not fail
	}
	t.sockets.Close()
	if t.tracker != nil {
		_ = t.tracker.Close() // does not fail
	}
	t.certs.close()
}

// onlyShared is a table that tracks what is shared, and nothing for others.
type onlyShared struct {
	*table.Table
	side *trackerSide
}

var errNotShared = &table.Refusal{Text: "this torrent is not shared here", RetryIn: table.Never}

func (o *onlyShared) check(hash table.Hash) error {
	o.side.mu.Lock()
	defer o.side.mu.Unlock()
	if o.side.hashes[hash] {
		return nil
	}
	return errNotShared
}

// Announce is the table's, of what is shared.
func (o *onlyShared) Announce(a *table.Announce, r *table.Reply) error {
	if err := o.check(a.Hash); err != nil {
		return err
	}
	return o.Table.Announce(a, r)
}

// AnnounceWeb is the table's, of what is shared.
func (o *onlyShared) AnnounceWeb(a *table.WebAnnounce, r *table.WebReply) error {
	if err := o.check(a.Hash); err != nil {
		return err
	}
	return o.Table.AnnounceWeb(a, r)
}
