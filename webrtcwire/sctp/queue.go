package sctp

import (
	"sync"
	"sync/atomic"
)

const (
	// receiveWindow is what one association may hold of what nobody has read yet, and of what waits
	// for an earlier packet: twice 12.5 MB/s times 100 ms, and room to spare.
	receiveWindow = 4 << 20

	// leastWindow is what each may hold however much the others do.
	leastWindow = 256 << 10

	// heldByAll is what all of the process's associations may hold together before their windows
	// shrink to leastWindow.
	heldByAll = 32 << 20

	blockSize = 4 << 10
)

// held is what all associations hold of what they have received, in bytes.
var held atomic.Int64

// blocks are buffers for bytes that wait for their reader.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// queue holds bytes in blocks of the pool; an empty one holds none.
type queue struct {
	full       []*[blockSize]byte // the last one up to end
	start, end int
	size       int
}

func (q *queue) write(b []byte) {
	held.Add(int64(len(b)))
	q.size += len(b)
	for len(b) > 0 {
		if len(q.full) == 0 || q.end == blockSize {
			q.full, q.end = append(q.full, blocks.Get().(*[blockSize]byte)), 0
		}
		n := copy(q.full[len(q.full)-1][q.end:], b)
		q.end += n
		b = b[n:]
	}
}

func (q *queue) read(p []byte) (n int) {
	for len(p) > 0 && q.size > 0 {
		end := blockSize
		if len(q.full) == 1 {
			end = q.end
		}
		m := copy(p, q.full[0][q.start:end])
		p, n, q.size, q.start = p[m:], n+m, q.size-m, q.start+m
		if q.start == blockSize || q.size == 0 {
			blocks.Put(q.full[0])
			q.full[0] = nil
			q.full, q.start = q.full[1:], 0
		}
	}
	if q.size == 0 {
		q.full, q.end = nil, 0
	}
	held.Add(-int64(n))
	return n
}

func (q *queue) drop() {
	held.Add(-int64(q.size))
	for _, block := range q.full {
		blocks.Put(block)
	}
	*q = queue{}
}
