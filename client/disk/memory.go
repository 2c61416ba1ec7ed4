package disk

import (
	"sync"

	"github.com/causeway-bt/causeway/wire"
)

// Buffer is the memory of one block.
type Buffer [wire.BlockSize]byte

// slabBlocks is how many blocks are taken from the heap at once: 1 MiB, so that
// the garbage collector sees few objects.
const slabBlocks = 64

// Memory lends the memory of blocks. Pieces reserve before they begin, which is
// what bounds it; blocks are then taken one by one as they arrive.
type Memory struct {
	limit int64

	mu       sync.Mutex
	reserved int64
	free     []*Buffer
	lent     int
}

// NewMemory returns memory for limit bytes of unfinished pieces.
func NewMemory(limit int64) *Memory { return &Memory{limit: limit} }

// Reserve sets n bytes aside. With none reserved yet it always succeeds, so that a
// piece larger than the limit can be had alone. stretch doubles the limit, for the
// sake of a peer that would otherwise sit idle.
func (m *Memory) Reserve(n int64, stretch bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	limit := m.limit
	if stretch {
		limit *= 2
	}
	if m.reserved > 0 && m.reserved+n > limit {
		return false
	}
	m.reserved += n
	return true
}

// Take sets n bytes aside whatever the limit.
func (m *Memory) Take(n int64) {
	m.mu.Lock()
	m.reserved += n
	m.mu.Unlock()
}

// Release gives n reserved bytes back.
func (m *Memory) Release(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reserved -= n
	m.freeIfIdle()
}

// freeIfIdle leaves the memory to the heap when the downloads are over.
func (m *Memory) freeIfIdle() {
	if m.reserved == 0 && m.lent == 0 {
		m.free = nil
	}
}

// Reserved returns how many bytes are set aside.
func (m *Memory) Reserved() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reserved
}

// Get returns the memory of one block, the most recently used first, which may
// still be in a cache of the processor.
func (m *Memory) Get() *Buffer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.free) == 0 {
		slab := make([]Buffer, slabBlocks)
		for i := range slab {
			m.free = append(m.free, &slab[i])
		}
	}
	b := m.free[len(m.free)-1]
	m.free = m.free[:len(m.free)-1]
	m.lent++
	return b
}

// Put takes blocks back. nil ones are passed over.
func (m *Memory) Put(bs ...*Buffer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range bs {
		if b != nil {
			m.free = append(m.free, b)
			m.lent--
		}
	}
	m.freeIfIdle()
}
