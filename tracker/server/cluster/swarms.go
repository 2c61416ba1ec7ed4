package cluster

import (
	"errors"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

var _ table.Swarms = (*Cluster)(nil)

// mine says whether this node owns a swarm.
func (c *Cluster) mine(h *table.Hash) bool { return c.view.Load().owner[slotOf(h)] == c.self }

// Announce is as table.Swarms has it.
func (c *Cluster) Announce(a *table.Announce, r *table.Reply) error {
	if !c.mine(&a.Hash) {
		return table.ErrElsewhere
	}
	return c.table.Announce(a, r)
}

// AnnounceLater is as table.Swarms has it. One who leaves leaves the own table, too, where
// it may be from before the swarm moved.
func (c *Cluster) AnnounceLater(a *table.Announce, done func(*table.Reply, error)) {
	if a.Event == table.Stopped && !c.mine(&a.Hash) {
		_ = c.table.Announce(a, new(table.Reply))
	}
	c.dispatch(waiting{call: &announceCall{a, done}})
}

// AnnounceWeb is as table.Swarms has it.
func (c *Cluster) AnnounceWeb(a *table.WebAnnounce, r *table.WebReply) error {
	if !c.mine(&a.Hash) {
		return table.ErrElsewhere
	}
	err := c.table.AnnounceWeb(a, r)
	if errors.Is(err, table.ErrIDTaken) && !r.Holder.Here() {
		c.Probe(r.Holder) // the front end knows only sockets of its own
	}
	return err
}

// AnnounceWebLater is as table.Swarms has it.
func (c *Cluster) AnnounceWebLater(a *table.WebAnnounce, done func(*table.WebReply, error)) {
	if a.Event == table.Stopped {
		c.table.LeaveWeb(a.Hash, a.ID, a.Socket)
	}
	c.dispatch(waiting{call: &webCall{a, done}})
}

// Answer is as table.Swarms has it.
func (c *Cluster) Answer(a *table.Answer) (table.Handle, error) {
	if !c.mine(&a.Hash) {
		return 0, table.ErrElsewhere
	}
	return c.table.Answer(a)
}

// AnswerLater is as table.Swarms has it.
func (c *Cluster) AnswerLater(a *table.Answer, done func(table.Handle, error)) {
	c.dispatch(waiting{call: &answerCall{a, done}})
}

// Scrape is as table.Swarms has it.
func (c *Cluster) Scrape(h table.Hash) (table.Counts, error) {
	if !c.mine(&h) {
		return table.Counts{}, table.ErrElsewhere
	}
	return c.table.Scrape(h)
}

// ScrapeLater is as table.Swarms has it.
func (c *Cluster) ScrapeLater(h table.Hash, done func(table.Counts, error)) {
	c.dispatch(waiting{call: &scrapeCall{h, done}})
}

// LeaveWeb is as table.Swarms has it, in the own table as well as at the owner's.
func (c *Cluster) LeaveWeb(h table.Hash, id table.ID, socket table.Handle) {
	c.table.LeaveWeb(h, id, socket)
	n := c.view.Load().owner[slotOf(&h)]
	if n == c.self {
		return
	}
	c.post(n, func(b []byte) []byte { return appendLeave(b, &h, &id, uint64(socket)) })
}

// Send is as table.Swarms has it. Messages of more than 256 KiB are dropped.
func (c *Cluster) Send(to table.Handle, message []byte) {
	n := c.nodeOf(to)
	if n == nil || len(message) > maxMessage {
		c.counters.unsent.Add(1)
		return
	}
	c.post(n, func(b []byte) []byte { return appendSend(b, uint64(to)&maxSocketNum, message) })
}

// Probe has a socket show that it lives, at the node that holds it: another one wants its
// peer id.
func (c *Cluster) Probe(socket table.Handle) {
	if socket.Here() {
		if probe := c.probe.Load(); probe != nil && socket != 0 {
			(*probe)(socket)
		}
		return
	}
	if n := c.nodeOf(socket); n != nil {
		c.post(n, func(b []byte) []byte { return appendProbe(b, uint64(socket)&maxSocketNum) })
	}
}

// nodeOf returns the other node that holds a socket, if it is up.
func (c *Cluster) nodeOf(socket table.Handle) *node {
	index := socket >> socketBits
	if index > maxNodes {
		return nil
	}
	if n := c.byIndex[index].Load(); n != nil && n != c.self && n.up.Load() {
		return n
	}
	return nil
}

// post sends a node what needs no answer.
func (c *Cluster) post(n *node, encode func([]byte) []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c.add(n, encode)
}
