package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

func threeNodes(t *testing.T) (*natsServer, [3]*testNode) {
	t.Helper()
	ns := startNATS(t, natsserver.Options{})
	nodes := [3]*testNode{newTestNode(t, ns.url(), "a"), newTestNode(t, ns.url(), "b"), newTestNode(t, ns.url(), "c")}
	together(t, nodes[:]...)
	return ns, nodes
}

func TestPeersOfDifferentNodesMeet(t *testing.T) {
	_, nodes := threeNodes(t)
	for owner := range nodes {
		h := hashOf(t, nodes[owner], "meet")
		for i, n := range nodes {
			r, err := n.announce(peer(h, fmt.Sprint("peer ", i), fmt.Sprintf("192.0.2.%d:%d", i+1, 1000+i), table.State(i%2)))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Peers4) != 6*i {
				t.Errorf("peer %d was told of %d bytes of peers, want those of %d", i, len(r.Peers4), i)
			}
		}
		for _, n := range nodes {
			if got, want := n.scrape(h), (table.Counts{Complete: 1, Incomplete: 2, Downloaders: 2}); got != want {
				t.Errorf("node %s: %+v, want %+v", n.self.name, got, want)
			}
		}
		if got := nodes[owner].table.Size().Peers4; got < 3 {
			t.Errorf("the owner has %d peers", got)
		}
		stop := peer(h, "peer 1", "192.0.2.2:1001", table.Seed)
		stop.Event = table.Stopped
		if _, err := nodes[2].announce(stop); err != nil {
			t.Fatal(err)
		}
		if got := nodes[0].scrape(h); got.Complete != 0 {
			t.Errorf("one who has left is still counted: %+v", got)
		}
	}
	for _, n := range nodes {
		if s := n.Status(); s.Malformed+s.Dropped+s.TimedOut > 0 || s.Waiting != 0 {
			t.Errorf("%s: %+v", n.self.name, s)
		}
	}
}

func TestBothFamiliesPassThrough(t *testing.T) {
	_, nodes := threeNodes(t)
	h := hashOf(t, nodes[0], "v6")
	first := peer(h, "six", "[2001:db8::1]:6881", table.Leech)
	if _, err := nodes[1].announce(first); err != nil {
		t.Fatal(err)
	}
	second := peer(h, "four", "192.0.2.1:6881", table.Leech)
	second.Both = true
	r, err := nodes[2].announce(second)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Peers6) != 18 || r.Peers6[15] != 1 || len(r.Peers4) != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestRefusalsPassThrough(t *testing.T) {
	_, nodes := threeNodes(t)
	h := hashOf(t, nodes[0], "refused")
	_, err := nodes[1].announce(table.Announce{Hash: h, Addr: netip.MustParseAddrPort("0.0.0.0:1")})
	if !errors.Is(err, table.ErrAddress) {
		t.Errorf("got %v, want %v", err, table.ErrAddress)
	}
	_, err = nodes[1].answer(table.Answer{Hash: h, Socket: 1})
	if !errors.Is(err, table.ErrNotInSwarm) {
		t.Errorf("got %v, want %v", err, table.ErrNotInSwarm)
	}
}

func webPeer(h table.Hash, name string, socket table.Handle, offers ...string) table.WebAnnounce {
	a := table.WebAnnounce{Hash: h, ID: twenty(name), Socket: socket, Host: netip.MustParseAddr("192.0.2.9"), Event: table.Started}
	for _, o := range offers {
		a.Offers = append(a.Offers, twenty(o))
	}
	return a
}

// The three parts that a signalling has, offerer, answerer and owner, are on all
// combinations of nodes.
func TestOffersAndAnswersFindTheirSockets(t *testing.T) {
	_, nodes := threeNodes(t)
	for i := range 27 {
		owner, from, to := nodes[i%3], nodes[i/3%3], nodes[i/9]
		h := hashOf(t, owner, fmt.Sprint("web ", i))
		fromSocket, toSocket := table.Handle(100+2*i), table.Handle(101+2*i)
		if _, err := to.announceWeb(webPeer(h, "answerer", toSocket)); err != nil {
			t.Fatal(err)
		}
		r, err := from.announceWeb(webPeer(h, "offerer", fromSocket, "offer"))
		if err != nil || len(r.Given) != 1 || r.Given[0].ID != twenty("answerer") {
			t.Fatalf("%d: %+v, %v", i, r, err)
		}
		pass(t, from, to, r.Given[0].To, toSocket, fmt.Sprint("offer ", i))
		back, err := to.answer(table.Answer{Hash: h, From: twenty("answerer"), Socket: toSocket, To: twenty("offerer"), Offer: twenty("offer")})
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		pass(t, to, from, back, fromSocket, fmt.Sprint("answer ", i))
		// One whose socket has closed is gone from the owner.
		to.LeaveWeb(h, twenty("answerer"), toSocket)
		eventually(t, func() error {
			if got := owner.scrape(h); got.Incomplete != 1 {
				return fmt.Errorf("one who has left is still counted: %+v", got)
			}
			return nil
		})
	}
}

// pass sends a message to a socket of another or the same node, and waits for it.
func pass(t *testing.T, from, to *testNode, handle, socket table.Handle, message string) {
	t.Helper()
	if from == to {
		if handle != socket {
			t.Fatalf("handle of a socket of this node: %x, want %x", handle, socket)
		}
		return
	}
	if handle.Here() {
		t.Fatalf("a socket of %s is one of %s: %x", to.self.name, from.self.name, handle)
	}
	from.Send(handle, []byte(message))
	want := fmt.Sprintf("%d: %s", socket, message)
	eventually(t, func() error {
		if got := to.received(); len(got) == 0 || got[len(got)-1] != want {
			return fmt.Errorf("%s received %q, want %q", to.self.name, got, want)
		}
		return nil
	})
}

// A peer id that is another socket's is refused, wherever the two are, and that socket is
// asked whether it still lives; one who shows that the id is his has it.
func TestAPeerIDThatMovesToAnotherNode(t *testing.T) {
	_, nodes := threeNodes(t)
	for i := range 27 {
		owner, before, after := nodes[i%3], nodes[i/3%3], nodes[i/9]
		h := hashOf(t, owner, fmt.Sprint("moves ", i))
		if _, err := before.announceWeb(webPeer(h, "peer", table.Handle(100+i))); err != nil {
			t.Fatal(err)
		}
		again := webPeer(h, "peer", table.Handle(200+i))
		if _, err := after.announceWeb(again); !errors.Is(err, table.ErrIDTaken) {
			t.Fatalf("%d: %v", i, err)
		}
		if after != owner || before != owner { // else its front end sees to it
			want := fmt.Sprintf("%d is probed", 100+i)
			eventually(t, func() error {
				if got := before.received(); len(got) == 0 || got[len(got)-1] != want {
					return fmt.Errorf("%d: %s has %q, want %q", i, before.self.name, got, want)
				}
				return nil
			})
		}
		again.Owner = true
		if _, err := after.announceWeb(again); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		before.LeaveWeb(h, twenty("peer"), table.Handle(100+i)) // it is not there by this socket any more
		if got := after.scrape(h); got.Incomplete != 1 {
			t.Fatalf("%d: %+v", i, got)
		}
	}
}

func TestAnOwnerThatIsKilled(t *testing.T) {
	_, nodes := threeNodes(t)
	owner, others := nodes[1], []*testNode{nodes[0], nodes[2]}
	h := hashOf(t, owner, "killed")
	announceAll := func(nodes ...*testNode) {
		t.Helper()
		for i, n := range nodes {
			if _, err := n.announce(peer(h, fmt.Sprint("peer ", i), fmt.Sprintf("192.0.2.%d:%d", i+1, 1000+i), table.Leech)); err != nil {
				t.Fatal(err)
			}
			if _, err := n.announceWeb(webPeer(h, fmt.Sprint("web ", i), table.Handle(i+1))); err != nil {
				t.Fatal(err)
			}
		}
	}
	announceAll(nodes[:]...)
	if got := nodes[0].scrape(h); got.Incomplete != 6 {
		t.Fatalf("before: %+v", got)
	}
	owner.kill()
	// What is asked while the others do not know yet waits for the new owner.
	announceAll(others...)
	together(t, others...)
	for _, n := range others {
		if got := n.scrape(h); got.Incomplete != 4 {
			t.Errorf("%s: %+v, want the 4 peers that have come back", n.self.name, got)
		}
		if s := n.Status(); s.TimedOut > 0 {
			t.Errorf("%d requests were not answered", s.TimedOut)
		}
	}
	if others[0].Status().Redirected+others[1].Status().Redirected == 0 {
		t.Error("no request was put to a new owner")
	}
}

func TestANodeThatStopsIsGoneAtOnce(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	long := func(c *Config) { c.Heartbeat = time.Minute } // a node that is killed would be there for minutes
	a, b := newTestNode(t, ns.url(), "a", long), newTestNode(t, ns.url(), "b", long)
	together(t, a, b)
	h := hashOf(t, a, "stops")
	if _, err := b.announceWeb(webPeer(h, "web", 1)); err != nil {
		t.Fatal(err)
	}
	if got := a.scrape(h); got.Incomplete != 1 {
		t.Fatalf("%+v", got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	together(t, a)
	eventually(t, func() error {
		if got := a.scrape(h); got.Incomplete != 0 {
			return fmt.Errorf("the web peer of a node that has stopped is still counted: %+v", got)
		}
		return nil
	})
}

func TestNodesGoOnAloneWithoutNATS(t *testing.T) {
	ns, nodes := threeNodes(t)
	h := hashOf(t, nodes[0], "alone")
	ns.stop()
	for _, n := range nodes {
		together(t, n)
		eventually(t, func() error {
			if got := n.Status(); got.NATS || got.Alone == "" {
				return fmt.Errorf("%+v", got)
			}
			if n.logs.count("goes on alone") != 1 {
				return errors.New("not logged once")
			}
			return nil
		})
	}
	for i, n := range nodes {
		r, err := n.announce(peer(h, fmt.Sprint("peer ", i), fmt.Sprintf("192.0.2.%d:%d", i+1, 1000+i), table.Leech))
		if err != nil || r.Incomplete != 1 {
			t.Errorf("alone: %+v, %v", r.Counts, err)
		}
	}
	ns.start()
	together(t, nodes[:]...)
	for i, n := range nodes { // an announce interval later
		if _, err := n.announce(peer(h, fmt.Sprint("peer ", i), fmt.Sprintf("192.0.2.%d:%d", i+1, 1000+i), table.Leech)); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		if got := n.scrape(h); got.Incomplete != 3 {
			t.Errorf("%s after NATS is back: %+v", n.self.name, got)
		}
		eventually(t, func() error {
			if got := n.Status(); !got.NATS || got.Alone != "" || n.logs.count("NATS is there again") != 1 {
				return fmt.Errorf("%+v", got)
			}
			return nil
		})
	}
}

// A NATS server that is restarted quickly costs no requests.
func TestRequestsWaitForNATS(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	slow := func(c *Config) { c.Heartbeat, c.timeout = 30*time.Second, time.Minute }
	a, b := newTestNode(t, ns.url(), "a", slow), newTestNode(t, ns.url(), "b", slow)
	together(t, a, b)
	h := hashOf(t, b, "wait")
	ns.stop()
	eventually(t, func() error {
		if a.Status().NATS || b.Status().NATS {
			return errors.New("still connected")
		}
		return nil
	})
	got := make(chan error, 1)
	p := peer(h, "peer", "192.0.2.1:1", table.Seed)
	a.AnnounceLater(&p, func(_ *table.Reply, err error) { got <- err })
	ns.start()
	if err := wait(t, got); err != nil {
		t.Error(err)
	}
	if got := b.scrape(h); got.Complete != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAClusterThatIsStartedBeforeNATS(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	ns.stop()
	a := newTestNode(t, ns.url(), "a")
	h := twenty("before")
	if r, err := a.announce(peer(h, "peer", "192.0.2.1:1", table.Leech)); err != nil || r.Incomplete != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	ns.start()
	b := newTestNode(t, ns.url(), "b")
	together(t, a, b)
}

func TestTheOwnersOfMostSwarmsStay(t *testing.T) {
	_, nodes := threeNodes(t)
	before := nodes[0].view.Load()
	nodes[2].kill()
	together(t, nodes[0], nodes[1])
	after := nodes[0].view.Load()
	counts := map[string]int{}
	for i := range before.owner {
		counts[before.owner[i].name]++
		if before.owner[i].name != "c" && before.owner[i] != after.owner[i] {
			t.Fatalf("slot %d went from %s to %s, though %[2]s is still there", i, before.owner[i].name, after.owner[i].name)
		}
		if got, want := after.owner[i].name, nodes[1].view.Load().owner[i].name; got != want {
			t.Fatalf("slot %d: %s and %s own it", i, got, want)
		}
	}
	for name, n := range counts {
		if n < slots/4 {
			t.Errorf("%s owned %d of %d slots", name, n, slots)
		}
	}
}

func TestAnOwnerThatDoesNotAnswer(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	a := newTestNode(t, ns.url(), "a", func(c *Config) { c.timeout = 100 * time.Millisecond; c.Heartbeat = time.Minute })
	a.heard(heartbeat{identity: identity{"mute", 1}, uptime: 1, every: time.Minute}, time.Now())
	var h table.Hash
	for i := 0; a.mine(&h); i++ {
		h[0], h[1] = byte(i), byte(i>>8)
	}
	_, err := a.announce(peer(h, "peer", "192.0.2.1:1", table.Leech))
	var r *table.Refusal
	if !errors.As(err, &r) || r.RetryIn != time.Minute {
		t.Errorf("got %v", err)
	}
	if s := a.Status(); s.TimedOut != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

func TestRequestsThatWaitAreBounded(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	a := newTestNode(t, ns.url(), "a", func(c *Config) { c.timeout = time.Minute; c.Heartbeat = time.Minute })
	a.heard(heartbeat{identity: identity{"mute", 1}, uptime: 1, every: time.Minute}, time.Now())
	var h table.Hash
	for i := 0; a.mine(&h); i++ {
		h[0], h[1] = byte(i), byte(i>>8)
	}
	a.waiting.Store(maxCalls)
	if _, err := a.announce(peer(h, "peer", "192.0.2.1:1", table.Leech)); !errors.Is(err, errBusy) {
		t.Errorf("got %v, want %v", err, errBusy)
	}
	a.waiting.Store(0)
}
