package path

import (
	"math/rand/v2"
	"time"
)

const (
	mtu        = 1500
	linkHeader = 14 // of Ethernet, which the rate does not count
	// maxHeld bounds the packets of one way that are in its queue or under way: 90 MB, which
	// is 2 s at 45 MB/s. More are dropped as by the queue.
	maxHeld = 60_000
)

// frame is what comes out of a TAP and goes into the other.
type frame struct {
	data [linkHeader + mtu]byte
	n    int
	due  time.Duration
}

// way is one direction. Times are those since any common beginning; the caller hands them in.
type way struct {
	config Config
	random *rand.Rand

	free          time.Duration // when the link has sent what is in the queue
	last          time.Duration // when the newest packet in order is due
	ordered, late fifo
	pool          *[]*frame

	Counters
	came int64 // bytes that were handed out since they were reset
}

// take puts a packet under way, or drops it.
func (w *way) take(f *frame, now time.Duration) {
	c := &w.config
	size := f.n - linkHeader
	w.free = max(w.free, now)
	wait := w.free - now
	switch {
	case c.Loss > 0 && w.random.Float64() < c.Loss:
		w.Lost++
		w.drop(f)
		return
	case c.Rate > 0 && wait > c.queue(), w.ordered.n+w.late.n >= maxHeld:
		w.Dropped++
		w.drop(f)
		return
	}
	w.Queued = max(w.Queued, wait)
	w.Waited += wait
	w.Packets++
	w.Bytes += int64(size)
	if c.Rate > 0 {
		w.free += time.Duration(float64(size) / c.Rate * float64(time.Second))
	}
	f.due = w.free + c.RTT/2
	if c.Jitter > 0 {
		f.due += time.Duration(w.random.Int64N(int64(c.Jitter)))
	}
	w.last = max(w.last, f.due)
	f.due = w.last
	if c.Reorder > 0 && w.random.Float64() < c.Reorder {
		w.Late++
		f.due += c.Late
		w.late.push(f)
		return
	}
	w.ordered.push(f)
}

// next returns when the first packet is due, and whether there is one.
func (w *way) next() (time.Duration, bool) {
	q := w.first()
	if q == nil {
		return 0, false
	}
	return q.front().due, true
}

func (w *way) first() *fifo {
	switch a, b := w.ordered.front(), w.late.front(); {
	case a == nil && b == nil:
		return nil
	case b == nil || a != nil && a.due <= b.due:
		return &w.ordered
	}
	return &w.late
}

// give hands out the packets that are due; f must not keep them.
func (w *way) give(now time.Duration, f func([]byte)) (given int) {
	for {
		q := w.first()
		if q == nil || q.front().due > now {
			return given
		}
		packet := q.pop()
		w.Behind = max(w.Behind, now-packet.due)
		f(packet.data[:packet.n])
		if w.came += int64(packet.n - linkHeader); w.came >= FirstBlock && w.Begun.IsZero() {
			w.Begun = time.Now()
		}
		w.drop(packet)
		given++
	}
}

func (w *way) drop(f *frame) { *w.pool = append(*w.pool, f) }

// fifo is a ring that grows.
type fifo struct {
	ring []*frame
	head int
	n    int
}

func (q *fifo) push(f *frame) {
	if q.n == len(q.ring) {
		grown := make([]*frame, max(64, 2*len(q.ring)))
		for i := range q.n {
			grown[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = f
	q.n++
}

func (q *fifo) front() *frame {
	if q.n == 0 {
		return nil
	}
	return q.ring[q.head]
}

func (q *fifo) pop() *frame {
	f := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return f
}
