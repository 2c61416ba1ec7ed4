package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The NATS server that tests run has a few for the whole process.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
	)
}

// beat is how often nodes of tests say that they are there: seldom enough for a busy
// machine under the race detector.
const beat = 200 * time.Millisecond

// natsServer is a NATS server in this process, which can be stopped and started.
type natsServer struct {
	t    *testing.T
	s    *natsserver.Server
	opts natsserver.Options
}

func startNATS(t *testing.T, opts natsserver.Options) *natsServer {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", natsserver.RANDOM_PORT, true, true
	n := &natsServer{t: t, opts: opts}
	n.start()
	n.opts.Port = n.s.Addr().(*net.TCPAddr).Port
	t.Cleanup(n.stop)
	return n
}

func (n *natsServer) start() {
	n.t.Helper()
	opts := n.opts
	s, err := natsserver.NewServer(&opts)
	if err != nil {
		n.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		n.t.Fatal("the NATS server does not start")
	}
	n.s = s
}

func (n *natsServer) stop() {
	n.s.Shutdown()
	n.s.WaitForShutdown()
}

func (n *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.opts.Port) }

// testNode is a node with a table and somebody who takes messages for its sockets.
type testNode struct {
	*Cluster
	t    *testing.T
	logs *logs

	lock     sync.Mutex
	messages []string // "socket: message"
}

func newTestNode(t *testing.T, url, name string, change ...func(*Config)) *testNode {
	t.Helper()
	n := &testNode{t: t, logs: new(logs)}
	cfg := Config{URL: url, Node: name, Heartbeat: beat, Logger: slog.New(slog.NewTextHandler(n.logs, nil))}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Cluster = c
	c.OnMessage(func(to table.Handle, message []byte) {
		n.lock.Lock()
		defer n.lock.Unlock()
		n.messages = append(n.messages, fmt.Sprintf("%d: %s", to, message))
	})
	c.OnProbe(func(socket table.Handle) {
		n.lock.Lock()
		defer n.lock.Unlock()
		n.messages = append(n.messages, fmt.Sprintf("%d is probed", socket))
	})
	c.Over(table.New(table.Config{}))
	t.Cleanup(func() { _ = c.Close() })
	return n
}

func (n *testNode) received() []string {
	n.lock.Lock()
	defer n.lock.Unlock()
	return append([]string(nil), n.messages...)
}

// kill ends a node without a word to the others.
func (n *testNode) kill() {
	n.nc.Close()
	_ = n.Close()
}

// together waits until all nodes have each other as members, and no others.
func together(t *testing.T, nodes ...*testNode) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, func() error {
			if got := n.Status().Members; len(got) != len(nodes) {
				return fmt.Errorf("members of %s: %v, want %d", n.self.name, got, len(nodes))
			}
			return nil
		})
	}
}

// eventually waits until f finds nothing wrong.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// logs keeps what was logged.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logs) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

// announce is Announce wherever the swarm is.
func (n *testNode) announce(a table.Announce) (table.Reply, error) {
	n.t.Helper()
	var r table.Reply
	err := n.Announce(&a, &r)
	if !errors.Is(err, table.ErrElsewhere) {
		return r, err
	}
	type result struct {
		r   *table.Reply
		err error
	}
	got := make(chan result, 1)
	n.AnnounceLater(&a, func(r *table.Reply, err error) { got <- result{r, err} })
	res := wait(n.t, got)
	return *res.r, res.err
}

func (n *testNode) announceWeb(a table.WebAnnounce) (table.WebReply, error) {
	n.t.Helper()
	var r table.WebReply
	err := n.AnnounceWeb(&a, &r)
	if !errors.Is(err, table.ErrElsewhere) {
		return r, err
	}
	type result struct {
		r   *table.WebReply
		err error
	}
	got := make(chan result, 1)
	n.AnnounceWebLater(&a, func(r *table.WebReply, err error) { got <- result{r, err} })
	res := wait(n.t, got)
	return *res.r, res.err
}

func (n *testNode) answer(a table.Answer) (table.Handle, error) {
	n.t.Helper()
	to, err := n.Answer(&a)
	if !errors.Is(err, table.ErrElsewhere) {
		return to, err
	}
	type result struct {
		to  table.Handle
		err error
	}
	got := make(chan result, 1)
	n.AnswerLater(&a, func(to table.Handle, err error) { got <- result{to, err} })
	res := wait(n.t, got)
	return res.to, res.err
}

func (n *testNode) scrape(h table.Hash) table.Counts {
	n.t.Helper()
	counts, err := n.Scrape(h)
	if errors.Is(err, table.ErrElsewhere) {
		got := make(chan table.Counts, 1)
		n.ScrapeLater(h, func(counts table.Counts, _ error) { got <- counts })
		return wait(n.t, got)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return counts
}

func wait[T any](t *testing.T, c chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("no answer")
		panic("")
	}
}

// twenty makes an infohash, peer id or offer id of a text.
func twenty(s string) (v [20]byte) {
	copy(v[:], s)
	return v
}

// hashOf finds an infohash that a node owns.
func hashOf(t *testing.T, n *testNode, salt string) table.Hash {
	t.Helper()
	for i := range 100_000 {
		h := twenty(fmt.Sprintf("%c%c %s", i, i>>8, salt))
		h[0], h[1] = byte(i), byte(i>>8)
		if n.mine(&h) {
			return h
		}
	}
	t.Fatal("the node owns nothing")
	panic("")
}

func peer(h table.Hash, name, addr string, s table.State) table.Announce {
	return table.Announce{Hash: h, ID: twenty(name), Addr: netip.MustParseAddrPort(addr), State: s, Event: table.Started, NumWant: 50}
}
