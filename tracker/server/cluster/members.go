package cluster

import (
	"net/url"
	"strings"
	"time"
)

const (
	// maxMembers bounds the members, maxNodes all nodes that are remembered, those that are
	// gone among them: handles of their sockets may still be around.
	maxMembers = 1000
	maxNodes   = 4096
	// forgetAfter is how long a node must have been silent for its place to be given to
	// another one: until web peers that came from it, at a node that did not have it as a
	// member, have expired.
	forgetAfter = 15 * time.Minute
	// missed is how many heartbeats must be missed for a node to be gone.
	missed = 3.5
	// unhurried is how many members hear from each other once each Config.Heartbeat.
	unhurried = 64
	// longestEvery bounds the time between heartbeats that a node may claim.
	longestEvery = time.Minute
)

// heartbeats says that this node is there until Close.
func (c *Cluster) heartbeats() {
	defer c.wg.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.beat:
			// Several that have come at once are answered by one.
			select {
			case <-time.After(c.cfg.Heartbeat / 50):
			case <-c.done:
				return
			}
			select {
			case <-c.beat:
			default:
			}
		case <-c.done:
			return
		}
		c.publishHeartbeat(false)
		timer.Reset(c.every())
	}
}

// every is the time between this node's heartbeats.
func (c *Cluster) every() time.Duration {
	members := len(c.view.Load().members)
	return min(c.cfg.Heartbeat*time.Duration(max(1, members/unhurried)), longestEvery)
}

func (c *Cluster) publishHeartbeat(leaving bool) {
	c.mu.Lock()
	displaced := !c.namesake.IsZero()
	c.mu.Unlock()
	if displaced || !c.nc.IsConnected() {
		return // what NATS's client kept for later would be old by then
	}
	h := heartbeat{
		identity: c.self.identity, leaving: leaving, hello: c.hello.Swap(false),
		uptime: uint64(time.Since(c.started)/time.Millisecond) + 1, every: c.every(),
	}
	if leaving {
		h.uptime++
	}
	if err := c.nc.Publish(c.cfg.Name+".alive", appendHeartbeat(nil, h)); err == nil {
		c.counters.bytesOut.Add(int64(maxHeader))
	}
}

// beatSoon has a heartbeat sent at once, for one who has just come.
func (c *Cluster) beatSoon() {
	select {
	case c.beat <- struct{}{}:
	default:
	}
}

// receiveHeartbeat takes the word of a node that it is there, or that it is gone.
func (c *Cluster) receiveHeartbeat(b []byte) {
	h, err := parseHeartbeat(b)
	if err != nil {
		c.unreadable(err)
		return
	}
	c.heard(h, time.Now())
}

func (c *Cluster) heard(h heartbeat, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping || h.identity == c.self.identity {
		return
	}
	if h.name == c.self.name {
		if h.incarnation > c.self.incarnation && !h.leaving {
			c.displace(now)
		}
		return
	}
	n := c.known(h.identity, now)
	if n == nil || n.left || h.uptime <= n.uptime {
		return // too many, or older than what was heard already
	}
	n.uptime, n.heard = h.uptime, now
	n.patience = time.Duration(missed * float64(max(c.cfg.Heartbeat, min(h.every, longestEvery))))
	if h.leaving {
		n.left = true
		if c.alive[n.name] == n {
			c.bury("says that it stops", n)
		}
		return
	}
	c.admit(n)
	if h.hello && n.up.Load() {
		c.repeat(n)
	}
}

// admit makes a node a member. The caller holds c.mu.
func (c *Cluster) admit(n *node) {
	before := c.alive[n.name]
	switch {
	case before == n || !c.namesake.IsZero():
		return
	case before != nil && before.incarnation > n.incarnation:
		return // this one has a namesake that was started later
	case before == nil && len(c.alive) >= maxMembers:
		c.warnOnce("more members than a cluster has", nil)
		return
	case before != nil:
		c.bury("was started again", before)
	}
	c.alive[n.name] = n
	n.up.Store(true)
	n.mu.Lock()
	n.closed = false
	n.mu.Unlock()
	c.survey()
	c.beatSoon()
	c.cfg.Logger.Info("cluster: a node has come", "node", n.name, "members", len(c.alive)+1)
}

// survey makes the view anew. The caller holds c.mu.
func (c *Cluster) survey() {
	members := []*node{c.self}
	if c.namesake.IsZero() {
		for _, n := range c.alive {
			members = append(members, n)
		}
	}
	c.view.Store(newView(c.view.Load(), members))
}

// bury takes members out of the view. Their calls go to others and their sockets are
// forgotten by and by, elsewhere. The caller holds c.mu.
func (c *Cluster) bury(why string, gone ...*node) {
	for _, n := range gone {
		delete(c.alive, n.name)
		n.up.Store(false)
		c.cfg.Logger.Info("cluster: a node is gone", "node", n.name, "why", why, "members", len(c.alive)+1)
	}
	c.survey()
	var all []waiting
	for _, n := range gone {
		all = append(all, n.shut()...)
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.redirect(all)
		for _, n := range gone {
			if !n.up.Load() {
				c.table.LeaveNode(n.index)
			}
		}
	}()
}

// displace has this node go on alone: another one has its name. The caller holds c.mu.
func (c *Cluster) displace(now time.Time) {
	first := c.namesake.IsZero()
	c.namesake = now
	if !first {
		return
	}
	c.cfg.Logger.Error("cluster: another node has this one's name; this one goes on alone", "node", c.self.name)
	c.buryAll("has a node of our name beside it")
}

func (c *Cluster) buryAll(why string) {
	var gone []*node
	for _, n := range c.alive {
		gone = append(gone, n)
	}
	c.bury(why, gone...)
}

// known returns a node by its identity, which is remembered if it is new; nil if there are
// too many. The caller holds c.mu.
func (c *Cluster) known(id identity, now time.Time) *node {
	key := id.key()
	if n := c.nodes[key]; n != nil {
		if n.identity != id {
			return nil // two with one key: made by somebody, on purpose
		}
		return n
	}
	index := c.freeIndex(now)
	if index == 0 {
		c.warnOnce("more nodes than are remembered", nil)
		return nil
	}
	n := newNode(c.cfg.Name, id, index)
	n.heard = now
	c.nodes[key] = n
	c.byIndex[index].Store(n)
	return n
}

// freeIndex returns a place for a node: a free one, or that of the one that has been
// silent for longest; 0 if there is none.
func (c *Cluster) freeIndex(now time.Time) uint16 {
	if next := len(c.nodes) + 1; next <= maxNodes {
		return uint16(next)
	}
	var oldest *node
	for _, n := range c.nodes {
		if !n.up.Load() && now.Sub(n.heard) > forgetAfter && (oldest == nil || n.heard.Before(oldest.heard)) {
			oldest = n
		}
	}
	if oldest == nil {
		return 0
	}
	delete(c.nodes, oldest.key)
	return oldest.index
}

// watch looks for nodes that have gone without a word, and calls that were not answered.
func (c *Cluster) watch() {
	defer c.wg.Done()
	every := max(min(c.cfg.Heartbeat, c.cfg.timeout)/10, 5*time.Millisecond)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	last, reached := time.Now(), time.Now() // reached: NATS
	for {
		select {
		case <-ticker.C:
		case <-c.done:
			return
		}
		now := time.Now()
		c.mu.Lock()
		if now.Sub(last) > c.cfg.Heartbeat {
			// This process was stopped or starved: what others said has yet to be read.
			for _, n := range c.alive {
				n.heard = now
			}
		}
		last = now
		c.look(now)
		if c.nc.IsConnected() {
			reached = now
		}
		c.sayApart(now.Sub(reached) > c.silence())
		nodes := make([]*node, 0, len(c.alive))
		for _, n := range c.nodes {
			nodes = append(nodes, n)
		}
		c.mu.Unlock()
		for _, n := range nodes {
			c.expire(n, now)
		}
	}
}

// sayApart logs when NATS is lost for long enough to be alone, and when it is back. The
// caller holds c.mu.
func (c *Cluster) sayApart(lost bool) {
	switch {
	case lost && !c.apart && !c.stopping && len(c.alive) == 0:
		c.apart = true
		c.cfg.Logger.Warn("cluster: NATS cannot be reached; this node goes on alone", "error", c.lastWords)
	case !lost && c.apart:
		c.apart = false
		c.cfg.Logger.Warn("cluster: NATS is there again; this node is part of the cluster")
	}
}

// silence is how long a node may say nothing.
func (c *Cluster) silence() time.Duration { return time.Duration(missed * float64(c.cfg.Heartbeat)) }

// look takes out members that have not been heard of. The caller holds c.mu.
func (c *Cluster) look(now time.Time) {
	var gone []*node
	for _, n := range c.alive {
		if now.Sub(n.heard) > n.patience {
			gone = append(gone, n)
		}
	}
	if len(gone) > 0 {
		c.bury("has not been heard of", gone...)
	}
	if !c.namesake.IsZero() && now.Sub(c.namesake) > 2*c.silence() {
		c.namesake = time.Time{}
		c.cfg.Logger.Info("cluster: this node has its name for itself again")
		c.beatSoon()
	}
}

// connected and disconnected are called by NATS's client.
func (c *Cluster) connected() {
	c.hello.Store(true)
	c.beatSoon()
	c.warned.Clear()
	for _, n := range c.view.Load().members {
		c.repeat(n)
	}
}

func (c *Cluster) disconnected(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.lastWords = err
	}
}

// redacted takes the secrets out of a list of URLs.
func redacted(urls string) string {
	parts := strings.Split(urls, ",")
	for i, p := range parts {
		u, err := url.Parse(strings.TrimSpace(p))
		if err != nil {
			parts[i] = "(not a URL)"
			continue
		}
		if u.User != nil {
			u.User = url.User("...")
		}
		parts[i] = u.String()
	}
	return strings.Join(parts, ",")
}
