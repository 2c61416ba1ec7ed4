package cluster

import (
	"sync"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// A batch leaves when it is as old as batchAge says or has this much.
const (
	batchBytes   = 48 << 10
	batchEntries = 512
	// aloneBytes is the size from which an entry has a batch of its own, if there is
	// another one: so that a batch stays well below the 1 MiB that NATS servers take.
	aloneBytes = 16 << 10
)

// Bounds of what waits.
const (
	// queueBatches and queueBytes bound what waits for the connection to NATS; what comes
	// beyond is dropped, and peers get no answer before requests time out.
	queueBatches = 2048
	queueBytes   = 32 << 20
	// maxCalls bounds the requests that wait for other nodes' answers: those of 5 s at
	// 50,000 a second. Beyond, peers are told to come back later.
	maxCalls = 250_000
)

// batch is what is to be sent to a node next; node.mu guards it.
type batch struct {
	buf     *[]byte
	entries int
	timer   *time.Timer
	armed   bool // the timer is to flush this batch or one before it
}

// parcel is a batch on its way to NATS.
type parcel struct {
	subject string
	buf     *[]byte
}

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, batchBytes+aloneBytes)
	return &b
}}

func recycle(buf *[]byte) {
	if cap(*buf) <= 2*batchBytes {
		*buf = (*buf)[:0]
		buffers.Put(buf)
	}
}

// add appends an entry to a node's batch. The caller holds n.mu.
func (c *Cluster) add(n *node, encode func(b []byte) []byte) {
	if n.batch.buf == nil {
		c.beginBatch(n)
	}
	before := len(*n.batch.buf)
	*n.batch.buf = encode(*n.batch.buf)
	size := len(*n.batch.buf) - before
	if size > aloneBytes && n.batch.entries > 0 {
		entry := (*n.batch.buf)[before:]
		*n.batch.buf = (*n.batch.buf)[:before]
		full := n.batch.buf
		c.beginBatch(n)
		*n.batch.buf = append(*n.batch.buf, entry...)
		c.enqueue(parcel{n.subject, full})
	}
	n.batch.entries++
	if n.batch.entries >= batchEntries || len(*n.batch.buf) >= batchBytes {
		c.flush(n)
		return
	}
	if n.batch.armed {
		return
	}
	n.batch.armed = true
	if n.batch.timer == nil {
		n.batch.timer = time.AfterFunc(c.batchAge(), func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.batch.armed = false
			c.flush(n)
		})
	} else {
		n.batch.timer.Reset(c.batchAge())
	}
}

// batchAge is how long an entry waits for others: longer where there are many nodes, each
// of whom gets less.
func (c *Cluster) batchAge() time.Duration {
	const usual, most = 8, 10
	return c.cfg.delay * time.Duration(max(1, min(len(c.view.Load().members)/usual, most)))
}

func (c *Cluster) beginBatch(n *node) {
	buf := buffers.Get().(*[]byte)
	*buf = appendHeader(*buf, c.self.identity)
	n.batch.buf, n.batch.entries = buf, 0
}

// flush hands a node's batch to the sender. The caller holds n.mu.
func (c *Cluster) flush(n *node) {
	if n.batch.buf == nil {
		return
	}
	c.enqueue(parcel{n.subject, n.batch.buf})
	n.batch.buf = nil
}

// enqueue never waits: front ends call it, and what reads from NATS.
func (c *Cluster) enqueue(p parcel) {
	size := int64(len(*p.buf))
	if c.queued.Add(size) <= queueBytes {
		select {
		case c.queue <- p:
			return
		default:
		}
	}
	c.queued.Add(-size)
	c.counters.dropped.Add(1)
	recycle(p.buf)
}

// sender gives batches to NATS, one after the other.
func (c *Cluster) sender() {
	defer c.wg.Done()
	for {
		select {
		case p := <-c.queue:
			c.publish(p)
		case <-c.done:
			// What is on its way still leaves: answers for others, and who left.
			for {
				select {
				case p := <-c.queue:
					c.publish(p)
				default:
					return
				}
			}
		}
	}
}

func (c *Cluster) publish(p parcel) {
	size := int64(len(*p.buf))
	if err := c.nc.Publish(p.subject, *p.buf); err != nil {
		c.counters.dropped.Add(1)
		c.warnOnce("a batch for another node was dropped", err)
	} else {
		c.counters.batchesOut.Add(1)
		c.counters.bytesOut.Add(size)
	}
	c.queued.Add(-size)
	recycle(p.buf)
}

// errNoAnswer and errBusy are what peers are told when the owner of their swarm
// cannot be asked.
var (
	errNoAnswer = &table.Refusal{Text: "the tracker's node for this torrent does not answer; try again", RetryIn: time.Minute}
	errBusy     = &table.Refusal{Text: "the tracker is overloaded; try again later", RetryIn: 5 * time.Minute}
)

// dispatch has a call answered: by the own table, or by the node that owns its swarm.
func (c *Cluster) dispatch(w waiting) {
	// Each time round the view was replaced while this was looking at it.
	for range 8 {
		n := c.view.Load().owner[w.call.slot()]
		if n == c.self {
			w.call.here(c.table)
			return
		}
		if c.waiting.Load() >= maxCalls {
			c.counters.refused.Add(1)
			w.call.fail(errBusy)
			return
		}
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			continue
		}
		c.waiting.Add(1)
		w.till = time.Now().Add(c.cfg.timeout)
		id := n.calls.add(w)
		c.add(n, func(b []byte) []byte { return w.call.encode(b, id) })
		n.mu.Unlock()
		c.counters.forwarded.Add(1)
		return
	}
	w.call.fail(errNoAnswer)
}

// repeat asks a node again what it has not answered: one of the two was not connected
// for a while. Asking twice does no harm.
func (c *Cluster) repeat(n *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := n.calls.oldest; id != n.calls.next; id++ {
		if w, ok := n.calls.waiting[id]; ok {
			c.add(n, func(b []byte) []byte { return w.call.encode(b, id) })
		}
	}
}

// expire fails the calls that a node has not answered in time.
func (c *Cluster) expire(n *node, now time.Time) {
	n.mu.Lock()
	late := n.calls.late(now, nil)
	n.mu.Unlock()
	c.waiting.Add(-int64(len(late)))
	c.counters.timedOut.Add(uint64(len(late)))
	for _, w := range late {
		w.call.fail(errNoAnswer)
	}
}

// redirect puts the calls of a node that is gone to the new owners of their swarms, each
// once.
func (c *Cluster) redirect(all []waiting) {
	c.waiting.Add(-int64(len(all)))
	for _, w := range all {
		if w.again {
			w.call.fail(errNoAnswer)
			continue
		}
		c.counters.redirected.Add(1)
		w.again = true
		c.dispatch(w)
	}
}
