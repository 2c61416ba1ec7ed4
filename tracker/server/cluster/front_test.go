package cluster_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	cws "github.com/coder/websocket"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/server"
	"github.com/causeway-bt/causeway/tracker/server/cluster"
	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/causeway-bt/causeway/tracker/server/websocket"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

// fullNode is a node with all its front ends, on a TCP and a UDP port of loopback.
type fullNode struct {
	t       *testing.T
	server  *server.Server
	cluster *cluster.Cluster
	tcp     net.Addr
	udp     net.Addr
}

func newFullNode(t *testing.T, natsURL, name string) *fullNode {
	t.Helper()
	n := &fullNode{t: t}
	c, err := cluster.New(cluster.Config{URL: natsURL, Node: name, Heartbeat: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	n.cluster = c
	sockets := socket.New(socket.Config{})
	n.server, err = server.New(server.Config{Cluster: c.Over, WebSocket: func(s *server.Server) http.Handler {
		w := websocket.New(websocket.Config{Swarms: s.Swarms(), Sockets: sockets})
		c.OnMessage(func(to table.Handle, message []byte) { w.Deliver(to, message) })
		c.OnProbe(w.Probe)
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			remote, _ := s.RemoteAddr(r)
			_ = w.Accept(rw, r, remote)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.tcp, n.udp = listener.Addr(), packets.LocalAddr()
	served := make(chan error, 2)
	go func() { served <- n.server.Serve(listener) }()
	go func() { served <- n.server.ServePacket(packets) }()
	t.Cleanup(func() {
		_ = c.Close()
		sockets.Close()
		_ = n.server.Close()
		<-served
		<-served
	})
	return n
}

func (n *fullNode) get(path string) string {
	n.t.Helper()
	r, err := http.Get("http://" + n.tcp.String() + path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return string(b)
}

func (n *fullNode) announceHTTP(h table.Hash, id string, port int) string {
	n.t.Helper()
	return n.get(fmt.Sprintf("/announce?info_hash=%s&peer_id=%s&port=%d&left=1&uploaded=0&downloaded=0&event=started&compact=1",
		url.QueryEscape(string(h[:])), url.QueryEscape(id), port))
}

// announceUDP returns the reply to an announce (BEP 15).
func (n *fullNode) announceUDP(h table.Hash, id string, port uint16) []byte {
	n.t.Helper()
	conn, err := net.Dial("udp", n.udp.String())
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 2048)
	ask := func(request []byte) []byte {
		n.t.Helper()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Write(request); err != nil {
			n.t.Fatal(err)
		}
		size, err := conn.Read(b)
		if err != nil {
			n.t.Fatal(err)
		}
		return b[:size]
	}
	connect := ask(append(binary.BigEndian.AppendUint64(nil, 0x41727101980), 0, 0, 0, 0, 0, 0, 0, 1))
	request := make([]byte, 98)
	copy(request, connect[8:16])
	request[11], request[15] = 1, 2
	copy(request[16:], h[:])
	copy(request[36:], id)
	request[71], request[83] = 1, 2 // left, started
	binary.BigEndian.PutUint32(request[92:], 50)
	binary.BigEndian.PutUint16(request[96:], port)
	return ask(request)
}

// page is a web peer.
type page struct {
	t    *testing.T
	conn *cws.Conn
}

func (n *fullNode) open() *page {
	n.t.Helper()
	conn, _, err := cws.Dial(context.Background(), "ws://"+n.tcp.String()+"/announce", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = conn.CloseNow() })
	return &page{n.t, conn}
}

func (p *page) send(m map[string]any) {
	p.t.Helper()
	m["action"] = "announce"
	b, err := json.Marshal(m)
	if err == nil {
		err = p.conn.Write(context.Background(), cws.MessageText, b)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next message that has a key.
func (p *page) next(key string) map[string]any {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		_, b, err := p.conn.Read(ctx)
		if err != nil {
			p.t.Fatalf("waiting for %q: %v", key, err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			p.t.Fatal(err)
		}
		if m[key] != nil {
			return m
		}
	}
}

// Peers that announce at different nodes over UDP, HTTP and WebSocket are one swarm.
func TestOneSwarmBehindAllFrontEnds(t *testing.T) {
	opts := natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true}
	ns, err := natsserver.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	go ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(20 * time.Second) {
		t.Fatal("NATS does not start")
	}
	nodes := []*fullNode{newFullNode(t, ns.ClientURL(), "a"), newFullNode(t, ns.ClientURL(), "b"), newFullNode(t, ns.ClientURL(), "c")}
	for _, n := range nodes {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if members, _ := n.cluster.Members(); len(members) == 3 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the nodes do not find each other")
			}
		}
	}
	// Enough torrents for each node to own some.
	for i := range 12 {
		h := table.Hash{byte(i * 21), 'h'}
		latin := latin1(h)
		if got := nodes[0].announceHTTP(h, "-CW0001-classic-http", 1001); strings.Contains(got, "failure") {
			t.Fatal(got)
		}
		udp := nodes[1].announceUDP(h, "-CW0001-classic-udp-", 1002)
		if want := "\x7f\x00\x00\x01\x03\xe9"; udp[3] != 1 || string(udp[20:]) != want {
			t.Errorf("%d: over UDP: %q, want the peer that announced over HTTP", i, udp)
		}
		answerer, offerer := nodes[2].open(), nodes[0].open()
		answerer.send(map[string]any{"info_hash": latin, "peer_id": "-CW0001-answerer0000", "left": 0, "event": "started", "offers": []any{}})
		answerer.next("interval")
		offerer.send(map[string]any{
			"info_hash": latin, "peer_id": "-CW0001-offerer00000", "left": 5, "event": "started", "numwant": 1,
			"offers": []any{map[string]any{"offer_id": "offer000000000000000", "offer": map[string]any{"type": "offer", "sdp": "an offer"}}},
		})
		offer := answerer.next("offer")
		answerer.send(map[string]any{
			"info_hash": latin, "peer_id": "-CW0001-answerer0000", "to_peer_id": offer["peer_id"], "offer_id": offer["offer_id"],
			"answer": map[string]any{"type": "answer", "sdp": "an answer"},
		})
		if got := offerer.next("answer"); got["peer_id"] != "-CW0001-answerer0000" {
			t.Errorf("%d: %v", i, got)
		}
		for j, n := range nodes {
			for _, announce := range []string{"http://" + n.tcp.String(), "udp://" + n.udp.String()} {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				got, err := tracker.Scraper{}.Scrape(ctx, announce+"/announce", h)
				cancel()
				if s := got[h]; err != nil || s.Seeds != 1 || s.Leeches != 3 {
					t.Errorf("%d: node %d by %s: %+v, %v", i, j, announce[:4], s, err)
				}
			}
		}
	}
	for i, n := range nodes {
		if s := n.cluster.Status(); s.Forwarded == 0 || s.Served == 0 || s.TimedOut+s.Dropped+s.Malformed > 0 {
			t.Errorf("node %d: %+v", i, s)
		}
		for path, want := range map[string]string{
			"/stats.json": `"members":["a","b","c"]`, "/stats": "the cluster has 3: a, b, c", "/healthz": "ok\n",
			"/metrics": "causeway_tracker_cluster_members 3",
		} {
			if got := n.get(path); !strings.Contains(got, want) {
				t.Errorf("%s has no %q:\n%s", path, want, got)
			}
		}
	}
	ns.Shutdown()
	ns.WaitForShutdown()
	const alone = "goes on alone: NATS cannot be reached"
	for _, n := range nodes {
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(n.get("/healthz"), "ok\nthis node of the cluster "+alone); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("/healthz: %q", n.get("/healthz"))
			}
		}
		if got := n.get("/stats"); !strings.Contains(got, alone) {
			t.Errorf("/stats says nothing of it:\n%s", got)
		}
	}
}

// latin1 writes bytes as web peers do: one character each.
func latin1(h table.Hash) string {
	var s strings.Builder
	for _, b := range h {
		s.WriteRune(rune(b))
	}
	return s.String()
}
