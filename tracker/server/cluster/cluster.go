package cluster

import (
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// Cluster is a node: the swarms of all nodes together, seen from one. It is a
// table.Swarms.
type Cluster struct {
	cfg     Config
	self    *node
	started time.Time
	table   *table.Table
	nc      *nats.Conn
	view    atomic.Pointer[view]
	deliver atomic.Pointer[func(table.Handle, []byte)]
	probe   atomic.Pointer[func(table.Handle)]

	mu        sync.Mutex // members
	nodes     map[uint64]*node
	alive     map[string]*node
	namesake  time.Time // when one that was started later was last heard of under our name
	apart     bool      // the others cannot be reached
	lastWords error
	stopping  bool
	byIndex   [maxNodes + 1]atomic.Pointer[node]

	beat    chan struct{} // capacity 1: a heartbeat is due
	hello   atomic.Bool   // the next one is the first of a connection
	queue   chan parcel
	queued  atomic.Int64 // bytes
	waiting atomic.Int64 // calls
	lanes   [laneCount]chan []byte

	counters counters
	warned   sync.Map // what warnOnce has said of late
	done     chan struct{}
	wg       sync.WaitGroup
}

// New connects to NATS, or goes on trying to. Its errors are those of the Config.
// Nothing happens before Over.
func New(cfg Config) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &Cluster{
		cfg:     cfg,
		started: now,
		nodes:   make(map[uint64]*node),
		alive:   make(map[string]*node),
		beat:    make(chan struct{}, 1),
		queue:   make(chan parcel, queueBatches),
		done:    make(chan struct{}),
	}
	for i := range c.lanes {
		c.lanes[i] = make(chan []byte, laneBatches)
	}
	c.self = newNode(cfg.Name, identity{cfg.Node, uint64(now.UnixNano())}, 0)
	c.self.up.Store(true)
	c.byIndex[0].Store(c.self)
	c.view.Store(newView(nil, []*node{c.self}))
	if c.nc, err = nats.Connect(cfg.URL, c.options()...); err != nil {
		var bad *url.Error
		if errors.As(err, &bad) { // it has the URL in its text, password and all
			err = bad.Err
		}
		return nil, fmt.Errorf("cluster: NATS at %s: %w", redacted(cfg.URL), err)
	}
	return c, nil
}

// joinWithin is how long Over waits for NATS, and then for others to say that they are
// there, so that a node that is started does not begin as if it were alone.
const joinWithin = 2 * time.Second

// Over puts the cluster before a node's own table, which is called once. It waits for
// up to 2.5 s to hear of others.
func (c *Cluster) Over(t *table.Table) table.Swarms {
	c.table = t
	subscribe := func(subject string, f func([]byte)) {
		s, err := c.nc.Subscribe(subject, func(m *nats.Msg) { f(m.Data) })
		if err == nil {
			err = s.SetPendingLimits(inboxMessages, inboxBytes)
		}
		if err != nil { // the connection is closed, or a subject that validName let through
			c.cfg.Logger.Error("cluster: cannot listen to the others", "subject", subject, "error", err)
		}
	}
	c.wg.Add(3 + laneCount)
	for i := range c.lanes {
		go c.lane(c.lanes[i])
	}
	go c.sender()
	go c.heartbeats()
	go c.watch()
	subscribe(c.self.subject, c.receive)
	subscribe(c.cfg.Name+".alive", c.receiveHeartbeat)
	for wait := time.Now().Add(joinWithin); !c.nc.IsConnected() && time.Now().Before(wait); {
		time.Sleep(joinWithin / 100)
	}
	if c.nc.IsConnected() {
		c.beatSoon()
		time.Sleep(min(c.cfg.Heartbeat, joinWithin/4))
	}
	return c
}

// OnMessage sets what takes messages of other nodes for this node's sockets. It must not
// block; messages are its to keep.
func (c *Cluster) OnMessage(deliver func(to table.Handle, message []byte)) {
	c.deliver.Store(&deliver)
}

// OnProbe sets what has a socket of this node show that it lives, as a peer at another
// node wants its peer id. It must not block.
func (c *Cluster) OnProbe(probe func(socket table.Handle)) { c.probe.Store(&probe) }

// Close says to the others that this node is gone, and leaves NATS. From then on
// this node answers from its own table.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if c.stopping {
		c.mu.Unlock()
		return nil
	}
	c.stopping = true
	var gone []*node
	for _, n := range c.alive {
		gone = append(gone, n)
	}
	c.alive = map[string]*node{}
	c.view.Store(newView(nil, []*node{c.self}))
	c.mu.Unlock()
	for _, n := range gone {
		n.up.Store(false)
		n.mu.Lock()
		c.flush(n)
		n.mu.Unlock()
		c.redirect(n.shut())
	}
	close(c.done)
	c.wg.Wait()
	if c.nc.IsConnected() {
		c.publishHeartbeat(true)
		_ = c.nc.FlushTimeout(time.Second)
	}
	c.nc.Close()
	for i := range c.byIndex {
		if n := c.byIndex[i].Load(); n != nil {
			n.mu.Lock()
			if n.batch.timer != nil {
				n.batch.timer.Stop()
			}
			n.mu.Unlock()
		}
	}
	return nil
}
