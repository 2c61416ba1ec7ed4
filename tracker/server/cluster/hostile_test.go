package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// stranger is somebody else in the NATS account.
func stranger(t *testing.T, ns *natsServer) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(ns.url())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func send(t *testing.T, nc *nats.Conn, subject string, b []byte) {
	t.Helper()
	if err := nc.Publish(subject, b); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenMessagesAreCountedAndDropped(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	a, b := newTestNode(t, ns.url(), "a"), newTestNode(t, ns.url(), "b")
	together(t, a, b)
	nc := stranger(t, ns)
	head := appendHeader(nil, identity{"stranger", 1})
	const messages = 2000
	for i := range messages {
		entry := samples()[i%len(samples())]
		m := append(bytes.Clone(head), entry...)
		for range 1 + i%4 {
			m[rand.IntN(len(m))] = byte(rand.Uint32())
		}
		m = m[:rand.IntN(len(m)+1)]
		send(t, nc, a.self.subject, m)
		send(t, nc, "causeway.alive", m)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if got := a.Status().BatchesIn; got < messages {
			return fmt.Errorf("%d of %d messages were read", got, messages)
		}
		if a.Status().Malformed == 0 {
			return fmt.Errorf("none was malformed")
		}
		return nil
	})
	if got := a.logs.count("cannot be read"); got > 1 {
		t.Errorf("logged %d times", got)
	}
	h := hashOf(t, b, "after")
	if _, err := a.announce(peer(h, "peer", "192.0.2.1:1", table.Leech)); err != nil {
		t.Error(err)
	}
}

// Replies to no request, to another kind of request and from others than were asked
// change nothing but the call that they are for.
func TestRepliesThatDoNotFit(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	a := newTestNode(t, ns.url(), "a", func(c *Config) { c.Heartbeat = time.Minute })
	mute := identity{"mute", 1}
	a.heard(heartbeat{identity: mute, uptime: 1, every: time.Minute}, time.Now())
	var h table.Hash
	for i := 0; a.mine(&h); i++ {
		h[0], h[1] = byte(i), byte(i>>8)
	}
	nc := stranger(t, ns)
	p := peer(h, "peer", "192.0.2.1:1", table.Leech)
	got := make(chan error, 2)
	ask := func() { a.AnnounceLater(&p, func(_ *table.Reply, err error) { got <- err }) }
	ask()
	send(t, nc, a.self.subject, append(appendHeader(nil, identity{"other", 1}), appendAnnounced(nil, 0, &table.Reply{})...))
	send(t, nc, a.self.subject, append(appendHeader(nil, mute), appendAnnounced(nil, 99, &table.Reply{})...))
	send(t, nc, a.self.subject, append(appendHeader(nil, mute), appendScraped(nil, 0, table.Counts{})...))
	if err := wait(t, got); !errors.Is(err, errNoAnswer) {
		t.Errorf("a scrape's reply to an announce: %v", err)
	}
	ask()
	send(t, nc, a.self.subject, append(appendHeader(nil, mute), appendAnnounced(nil, 1, &table.Reply{})...))
	send(t, nc, a.self.subject, append(appendHeader(nil, mute), appendAnnounced(nil, 1, &table.Reply{})...))
	if err := wait(t, got); err != nil {
		t.Errorf("the reply: %v", err)
	}
	if w := a.Status().Waiting; w != 0 {
		t.Errorf("%d wait", w)
	}
}

func TestNodesAreBounded(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	a := newTestNode(t, ns.url(), "a", func(c *Config) { c.Heartbeat = time.Minute })
	now := time.Now()
	for i := range maxMembers + 10 {
		a.heard(heartbeat{identity: identity{fmt.Sprint("node-", i), 1}, uptime: 1, every: time.Minute}, now)
	}
	if got := len(a.Status().Members); got != maxMembers+1 {
		t.Errorf("%d members, want %d", got, maxMembers+1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	indexes := make(map[uint16]bool)
	for i := range maxNodes + 10 {
		if n := a.known(identity{fmt.Sprint("batch-", i), 1}, now); n != nil {
			indexes[n.index] = true
		}
	}
	if got := len(a.nodes); got != maxNodes {
		t.Errorf("%d nodes, want %d", got, maxNodes)
	}
	// Places of those that have been gone for long are given to others, each once.
	later := now.Add(2 * forgetAfter)
	n := a.known(identity{"later", 1}, later)
	if n == nil || n.index == 0 || n.up.Load() {
		t.Fatalf("%+v", n)
	}
	if a.byIndex[n.index].Load() != n || len(a.nodes) != maxNodes {
		t.Error("the place has another one")
	}
}

func TestMembersAreThoseThatWereStartedLast(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	a := newTestNode(t, ns.url(), "a", func(c *Config) { c.Heartbeat = time.Minute })
	now := time.Now()
	say := func(incarnation, uptime uint64, leaving bool) {
		a.heard(heartbeat{identity: identity{"b", incarnation}, uptime: uptime, leaving: leaving, every: time.Minute}, now)
	}
	member := func() uint64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		if n := a.alive["b"]; n != nil {
			return n.incarnation
		}
		return 0
	}
	for _, step := range []struct {
		what                string
		incarnation, uptime uint64
		leaving             bool
		want                uint64
	}{
		{"comes", 5, 10, false, 5},
		{"an older life of it", 4, 1_000_000, false, 5},
		{"is started again", 6, 1, false, 6},
		{"what the life before said late", 5, 11, false, 6},
		{"the life before says that it stops", 5, 12, true, 6},
		{"stops", 6, 2, true, 0},
		{"what it said before that, late", 6, 3, false, 0},
		{"an older life of it, which is still there", 4, 1_000_001, false, 4},
		{"the same heartbeat again, saying that it stops", 4, 1_000_001, true, 4},
	} {
		say(step.incarnation, step.uptime, step.leaving)
		if got := member(); got != step.want {
			t.Fatalf("%s: the member is incarnation %d, want %d", step.what, got, step.want)
		}
	}
}

func TestTwoNodesOfOneName(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	first, other := newTestNode(t, ns.url(), "twin"), newTestNode(t, ns.url(), "other")
	together(t, first, other)
	second := newTestNode(t, ns.url(), "twin")
	together(t, second, other)
	together(t, first)
	if s := first.Status(); s.Alone == "" || first.logs.count("has this one's name") != 1 {
		t.Errorf("%+v, logged %d times", s, first.logs.count("has this one's name"))
	}
	h := hashOf(t, other, "twin")
	if _, err := first.announce(peer(h, "peer", "192.0.2.1:1", table.Leech)); err != nil {
		t.Errorf("one that goes on alone: %v", err)
	}
	// An incarnation that is old is a member again once the newer one is gone.
	_ = second.Close()
	together(t, first, other)
	if _, err := first.announce(peer(h, "peer", "192.0.2.1:1", table.Leech)); err != nil {
		t.Error(err)
	}
	if got := other.scrape(h); got.Incomplete != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAMessageForASocketThatIsTooLarge(t *testing.T) {
	ns := startNATS(t, natsserver.Options{})
	a, b := newTestNode(t, ns.url(), "a"), newTestNode(t, ns.url(), "b")
	together(t, a, b)
	a.mu.Lock()
	n := a.alive["b"]
	a.mu.Unlock()
	to := table.Handle(n.index)<<socketBits | 5
	a.Send(to, make([]byte, maxMessage+1))
	a.Send(table.Handle(maxNodes+1)<<socketBits|5, []byte("no such node"))
	a.Send(table.Handle(1<<64-1), []byte("no such node"))
	if got := a.Status().Unsent; got != 3 {
		t.Errorf("%d not sent, want 3", got)
	}
	// Those of the largest size arrive, among small ones and in order.
	large := bytes.Repeat([]byte("x"), maxMessage)
	for range 8 {
		a.Send(to, []byte("small"))
		a.Send(to, large)
	}
	eventually(t, func() error {
		if got := b.received(); len(got) != 16 || got[14] != "5: small" || got[15] != "5: "+string(large) {
			return fmt.Errorf("%d messages", len(got))
		}
		return nil
	})
}
