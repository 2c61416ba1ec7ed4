package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// natsOnLoopback is a NATS server that can be stopped and started again.
type natsOnLoopback struct {
	t      *testing.T
	port   int
	server *natsserver.Server
}

func startNATS(t *testing.T) *natsOnLoopback {
	t.Helper()
	n := &natsOnLoopback{t: t, port: natsserver.RANDOM_PORT}
	n.start()
	n.port = n.server.Addr().(*net.TCPAddr).Port
	t.Cleanup(n.stop)
	return n
}

func (n *natsOnLoopback) start() {
	n.t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{Host: realpeer.Host, Port: n.port, NoSigs: true, NoLog: true})
	if err != nil {
		n.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		n.t.Fatal("the NATS server does not start")
	}
	n.server = s
}

func (n *natsOnLoopback) stop() {
	n.server.Shutdown()
	n.server.WaitForShutdown()
}

func (n *natsOnLoopback) url() string { return fmt.Sprintf("nats://%s:%d", realpeer.Host, n.port) }

// page is what the tracker has at a path.
func (m *meetingPoint) page(t *testing.T, path string) string {
	t.Helper()
	return page(t, strings.TrimSuffix(m.http, "/announce")+path)
}

// clusterStats is as much of /stats.json as these tests look at.
type clusterStats struct {
	Swarms  int
	Cluster struct {
		Members []string
		Alone   string
	}
}

func (m *meetingPoint) clusterStats(t *testing.T) (s clusterStats) {
	t.Helper()
	if err := json.Unmarshal([]byte(m.page(t, "/stats.json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// waitMembers waits until all of the nodes have each other as members, and no others.
func waitMembers(t *testing.T, nodes ...*meetingPoint) {
	t.Helper()
	for i, m := range nodes {
		eventually(t, patience, fmt.Sprintf("%d members at node %d", len(nodes), i), func() bool {
			s := m.clusterStats(t)
			return len(s.Cluster.Members) == len(nodes) && s.Cluster.Alone == ""
		})
	}
}

// ownerFirst puts the node that owns a torrent first, by having somebody come and go.
func ownerFirst(t *testing.T, tor *fixture.Torrent, nodes []*meetingPoint) {
	t.Helper()
	announce := "/announce?info_hash=" + url.QueryEscape(string(tor.InfoHash[:])) + "&peer_id=-XX0001-comes-and-go&port=1&left=1&event="
	nodes[0].page(t, announce+"started")
	owner := -1
	for i, m := range nodes {
		if m.clusterStats(t).Swarms > 0 {
			owner = i
		}
	}
	nodes[0].page(t, announce+"stopped")
	if owner < 0 {
		t.Fatal("no node has the torrent")
	}
	nodes[0], nodes[owner] = nodes[owner], nodes[0]
}

// Three nodes are one tracker for programs that know one of them each. The owner of their
// swarm is killed, and NATS is down for a while: after one announce interval, the swarm is
// whole again.
func TestTrackerCluster(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Libtorrent, realpeer.Aria2, realpeer.WebTorrent, realpeer.Chromium)
	const interval = 30 * time.Second // our own client keeps to no shorter one
	nats := startNATS(t)
	nodes := make([]*meetingPoint, 3)
	for i := range nodes {
		nodes[i] = openMeetingPoint(t, realpeer.Host, "--cluster", nats.url(), "--cluster-node", fmt.Sprint("node-", i),
			"--interval", interval.String(), "--min-interval", "10s", "--web-interval", "10s", "--access-log")
	}
	waitMembers(t, nodes...)
	tor := single(t, 1<<20)
	ownerFirst(t, tor, nodes)
	owner, others := nodes[0], nodes[1:]

	// aria2 at one node and libtorrent at another meet; pages, one at each, wait for our own
	// program, which is at one of them.
	var pages []*realpeer.Browser
	for _, m := range nodes {
		pages = append(pages, realpeer.StartBrowser(t, realpeer.BrowserOptions{
			Browser: realpeer.Chromium, Torrent: tor.Path, Trackers: []string{m.ws}, ShowAddresses: true,
		}))
	}
	realpeer.Start(t, realpeer.Options{
		Program: realpeer.Aria2, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Encryption: realpeer.Prefer, Host: host(2),
		Trackers: []string{others[0].udp}, DHT: udpNeedsDHT(realpeer.Aria2, "udp"),
	})
	// This one comes to another node when the owner is gone.
	realpeer.Start(t, realpeer.Options{
		Program: realpeer.Aria2, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Encryption: realpeer.Prefer, Host: host(5),
		Trackers: []string{owner.http, others[1].http},
	})
	// Over UDP, libtorrent keeps to no interval below a minute.
	libtorrent := realpeer.Start(t, realpeer.Options{
		Program: realpeer.Libtorrent, Torrent: tor.Path, Dir: t.TempDir(), Encryption: realpeer.Prefer, Host: host(3), Trackers: []string{others[1].http},
	})
	if err := libtorrent.WaitComplete(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	for _, m := range nodes {
		m.waitSwarm(t, tor, 3, 3)
	}
	seed(t, tor, byWeb(others[0].http, others[0].ws)...)
	for _, p := range pages {
		pageHas(t, p, 0, tor)
	}
	for _, m := range nodes {
		m.waitSwarm(t, tor, 7, 0)
	}
	others[0].scrapedByAll(t, tor, cli.Event{Seeds: 7, Completed: 4})

	owner.Kill()
	killed := time.Now()
	pages[0].Stop() // it knows no other tracker
	whole := func(since time.Time, what string, seeds int) {
		t.Helper()
		for _, m := range others {
			m.waitSwarm(t, tor, seeds, 0)
		}
		// A tenth is added to intervals, and a second or two until the others take over; the
		// rest is for a machine that is busy.
		if took, most := time.Since(since), interval*5/4; took > most {
			t.Errorf("whole again after %v %s, want at most %v", took, what, most)
		}
	}
	whole(killed, "without the owner", 6)
	waitMembers(t, others...)

	nats.stop()
	for _, m := range others {
		if _, err := m.WaitFor(within(t, patience), "a word of being alone", func(e cli.Event) bool {
			return e.Event == "warning" && strings.Contains(e.Message, "goes on alone")
		}); err != nil {
			t.Fatal(err)
		}
		if got := m.page(t, "/healthz"); !strings.HasPrefix(got, "ok\n") || !strings.Contains(got, "goes on alone: NATS cannot be reached") {
			t.Errorf("/healthz: %q", got)
		}
	}
	// One who comes now meets who is at the same node.
	dir := t.TempDir()
	received(t, realpeer.Start(t, realpeer.Options{
		Program: realpeer.Libtorrent, Magnet: tor.Magnet(), Dir: dir, Host: host(4), Trackers: []string{others[0].http},
	}), tor, dir)
	nats.start()
	again := time.Now()
	waitMembers(t, others...)
	whole(again, "with NATS again", 6)
}
