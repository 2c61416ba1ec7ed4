package cluster

import (
	"errors"
	"sync/atomic"
)

type counters struct {
	forwarded, served, redirected, timedOut, refused atomic.Uint64
	unsent, dropped, malformed                       atomic.Uint64
	batchesIn, batchesOut                            atomic.Uint64
	bytesIn, bytesOut                                atomic.Int64
}

// Status is what a node knows of its cluster.
type Status struct {
	Node string `json:"node"`
	// NATS says whether there is a connection to a NATS server.
	NATS bool `json:"nats"`
	// Alone says why this node goes on alone; "" if it does not.
	Alone   string   `json:"alone,omitempty"`
	Members []string `json:"members"` // this node among them
	// Owned is the part of all infohashes that this node owns, 0 to 1.
	Owned float64 `json:"owned"`

	// Counters since the start. Requests: to other nodes, answered for other nodes, put to
	// a new owner because theirs had gone, not answered in time, refused because too
	// many wait, waiting now.
	Forwarded  uint64 `json:"forwarded"`
	Served     uint64 `json:"served"`
	Redirected uint64 `json:"redirected"`
	TimedOut   uint64 `json:"timed_out"`
	Refused    uint64 `json:"refused"`
	Waiting    int64  `json:"waiting"`
	// Messages to sockets whose node is gone, batches dropped on the way to or from
	// NATS, messages that could not be read.
	Unsent    uint64 `json:"unsent"`
	Dropped   uint64 `json:"dropped"`
	Malformed uint64 `json:"malformed"`
	// Batches, and bytes of batches and heartbeats, without what NATS adds.
	BatchesIn  uint64 `json:"batches_in"`
	BatchesOut uint64 `json:"batches_out"`
	BytesIn    int64  `json:"bytes_in"`
	BytesOut   int64  `json:"bytes_out"`
}

// Status returns what this node knows of its cluster.
func (c *Cluster) Status() Status {
	v := c.view.Load()
	k := &c.counters
	s := Status{
		Node: c.self.name, NATS: c.nc.IsConnected(),
		Forwarded: k.forwarded.Load(), Served: k.served.Load(), Redirected: k.redirected.Load(),
		TimedOut: k.timedOut.Load(), Refused: k.refused.Load(), Waiting: c.waiting.Load(),
		Unsent: k.unsent.Load(), Dropped: k.dropped.Load(), Malformed: k.malformed.Load(),
		BatchesIn: k.batchesIn.Load(), BatchesOut: k.batchesOut.Load(),
		BytesIn: k.bytesIn.Load(), BytesOut: k.bytesOut.Load(),
	}
	for _, n := range v.members {
		s.Members = append(s.Members, n.name)
	}
	owned := 0
	for _, n := range v.owner {
		if n == c.self {
			owned++
		}
	}
	s.Owned = float64(owned) / slots
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopping:
		s.Alone = "this node stops"
	case !c.namesake.IsZero():
		s.Alone = "another node has this node's name"
	case !s.NATS && len(v.members) == 1:
		s.Alone = "NATS cannot be reached"
	}
	return s
}

// Members are the names of the members, and why this node goes on alone; "" if it does
// not.
func (c *Cluster) Members() (names []string, alone string) {
	s := c.Status()
	return s.Members, s.Alone
}

// Details is Status.
func (c *Cluster) Details() any { return c.Status() }

// unreadable notes a message that could not be read.
func (c *Cluster) unreadable(err error) {
	c.counters.malformed.Add(1)
	if errors.Is(err, errVersion) {
		c.warnOnce("a node speaks another version of the protocol; its messages are not read", nil)
		return
	}
	c.warnOnce("a message that cannot be read was dropped", err)
}

// warnOnce logs something once for each connection to NATS.
func (c *Cluster) warnOnce(what string, err error) {
	if _, said := c.warned.LoadOrStore(what, true); said {
		return
	}
	if err != nil {
		c.cfg.Logger.Warn("cluster: "+what, "error", err)
		return
	}
	c.cfg.Logger.Warn("cluster: " + what)
}
