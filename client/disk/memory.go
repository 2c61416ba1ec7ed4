package disk

import (
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/wire"
)

// Buffer is the memory of one block.
type Buffer [wire.BlockSize]byte

// slabBlocks is how many blocks are taken from the heap at once: 1 MiB, so that
// the garbage collector sees few objects.
const slabBlocks = 64

const (
	// stretchShare is the part of the limit that is kept for peers that would
	// otherwise sit idle: one in so many.
	stretchShare = 4
	// turnPatience is how long memory is kept for a torrent that has none, and that
	// does not come for it.
	turnPatience = 2 * time.Second
	// idleAfter is how long a piece may wait for a block before it has to give way to
	// torrents that have no memory.
	idleAfter = 20 * time.Second
	// reclaimInterval is how often such pieces are looked for.
	reclaimInterval = time.Second
)

// Memory lends the memory of blocks. Pieces reserve before they begin, which is what
// bounds it; blocks are then taken one by one as they arrive.
//
// Never more is reserved than the limit and one piece. Who has open pieces gets what
// is free. Who has none takes his turn before them: while somebody waits for that,
// nobody else begins a further piece, and he may go over the limit if nobody has. So may
// who has one piece, however large, while nobody waits: two keep a peer busy. A piece
// that gets no blocks is reclaimed for who has to wait. So each torrent gets on, however
// many there are and however large their pieces.
type Memory struct {
	limit int64

	mu       sync.Mutex
	reserved int64
	free     []*Buffer
	lent     int
	waiting  []*account // who has none, first come first
	pieces   map[*Piece]progress
	looked   time.Time // when pieces were last reclaimed
}

// account is what one torrent has of the memory.
type account struct {
	open    int       // reservations
	waits   bool      // it is in Memory.waiting
	need    int64     // what it waits for, bytes
	asked   time.Time // when it asked last
	room    func()    // called when it should ask again; may be nil
	reclaim func(piece int)
}

// progress is how far a piece was.
type progress struct {
	blocks int
	since  time.Time
}

// NewMemory returns memory for limit bytes of unfinished pieces.
func NewMemory(limit int64) *Memory {
	return &Memory{limit: limit, pieces: make(map[*Piece]progress)}
}

// reserve sets n bytes aside. stretch says that a peer would otherwise sit idle.
func (m *Memory) reserve(a *account, n int64, stretch bool) bool {
	m.mu.Lock()
	ok := m.mayHave(a, n, stretch)
	var victims []victim
	var next func()
	if ok {
		m.reserved += n
		a.open++
		m.unwait(a)
		next = m.next()
	} else {
		if a.open == 0 {
			m.wait(a, n)
		}
		victims = m.idlePieces(a, n)
	}
	m.mu.Unlock()
	if next != nil {
		next()
	}
	for _, v := range victims {
		v.account.reclaim(v.piece)
	}
	return ok
}

// next returns how to call the one whose turn it is; nil: nobody.
func (m *Memory) next() func() {
	if len(m.waiting) == 0 || m.noneWaits() || m.reserved > m.limit {
		return nil
	}
	return m.waiting[0].room
}

// mayHave decides on a reservation.
func (m *Memory) mayHave(a *account, n int64, stretch bool) bool {
	if a.open > 0 {
		limit := m.limit - m.limit/stretchShare
		switch {
		case stretch && a.open == 1:
			limit = m.limit + n
		case stretch:
			limit = m.limit
		}
		return m.reserved+n <= limit && (len(m.waiting) == 0 || m.noneWaits())
	}
	if m.noneWaits() || m.waiting[0] == a {
		return m.reserved <= m.limit
	}
	before := int64(0)
	for _, other := range m.waiting {
		if other == a || m.reserved+before+n > m.limit {
			break
		}
		before += other.need
	}
	return m.reserved+before+n <= m.limit
}

// noneWaits tells whether nobody waits, but those who did not come for their turn.
func (m *Memory) noneWaits() bool {
	for len(m.waiting) > 0 && time.Since(m.waiting[0].asked) >= turnPatience {
		m.waiting[0].waits = false
		m.waiting = m.waiting[1:]
	}
	return len(m.waiting) == 0
}

func (m *Memory) wait(a *account, n int64) {
	a.need, a.asked = n, time.Now()
	if !a.waits {
		a.waits = true
		m.waiting = append(m.waiting, a)
	}
}

func (m *Memory) unwait(a *account) {
	if a.waits {
		a.waits = false
		m.waiting = slices.DeleteFunc(m.waiting, func(other *account) bool { return other == a })
	}
}

// release gives n reserved bytes back.
func (m *Memory) release(a *account, n int64) {
	m.mu.Lock()
	m.reserved -= n
	a.open--
	next := m.next()
	m.freeIfIdle()
	m.mu.Unlock()
	if next != nil {
		next()
	}
}

// leave takes a torrent that has ended off the list of those who wait.
func (m *Memory) leave(a *account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unwait(a)
}

// opened and ended keep the list of open pieces.
func (m *Memory) opened(p *Piece) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pieces[p] = progress{since: time.Now()}
}

func (m *Memory) ended(p *Piece) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pieces, p)
}

// victim is a piece that has to give way.
type victim struct {
	account *account
	piece   int
	since   time.Time
	size    int64
}

// idlePieces returns the pieces of others that wait the longest for a block, as many as
// give n bytes.
func (m *Memory) idlePieces(a *account, n int64) (idle []victim) {
	now := time.Now()
	if now.Sub(m.looked) < reclaimInterval {
		return nil
	}
	m.looked = now
	for p, before := range m.pieces {
		switch blocks, done := p.progress(); {
		case blocks != before.blocks || done:
			m.pieces[p] = progress{blocks, now}
		case now.Sub(before.since) >= idleAfter && &p.store.account != a && p.store.account.reclaim != nil:
			idle = append(idle, victim{&p.store.account, p.Index, before.since, p.size})
		}
	}
	slices.SortFunc(idle, func(a, b victim) int { return a.since.Compare(b.since) })
	for i, v := range idle {
		if n -= v.size; n <= 0 {
			return idle[:i+1]
		}
	}
	return idle
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
