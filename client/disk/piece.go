package disk

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/causeway-bt/causeway/wire"
)

// hashRun is how many blocks in order are waited for before a worker is woken to
// hash them: 128 KiB, few wake-ups and still in a cache.
const hashRun = 8

// Piece is a piece that is being downloaded.
type Piece struct {
	Index int

	suspect bool
	store   *Storage
	size    int64 // bytes

	mu      sync.Mutex
	blocks  []*Buffer
	from    []any // by block, whom it came from
	have    int   // blocks present
	ready   int   // blocks present from the start on, without a gap
	hashed  int   // blocks hashed; only the worker that is at it changes it
	atWork  bool  // a worker has it, or it is queued for one
	whole   bool  // all of it was hashed: it is being written, or found wrong
	dropped bool  // Drop was called
	ended   bool  // memory was given back
	sum     Sum
}

// NumBlocks returns how many blocks a piece of size bytes has.
func NumBlocks(size int64) int { return int((size + wire.BlockSize - 1) / wire.BlockSize) }

// BlockLen returns the length of a block in bytes.
func (p *Piece) BlockLen(block int) int {
	return int(min(wire.BlockSize, p.size-int64(block)*wire.BlockSize))
}

// Has reports whether a block is there, or the piece needs none any more.
func (p *Piece) Has(block int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped || p.ended || p.blocks[block] != nil
}

// Present returns how many blocks are there.
func (p *Piece) Present() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have
}

// Put hands over a block that has arrived. It reports false if the block is there
// already; b then stays with the caller. With the last block the piece completes
// on its own, and Config.Done hears of it. from says who sent the block, to be
// told apart should the piece be wrong.
func (p *Piece) Put(block int, b *Buffer, from any) bool {
	p.mu.Lock()
	if p.dropped || p.ended || p.blocks[block] != nil {
		p.mu.Unlock()
		return false
	}
	p.blocks[block] = b
	p.from[block] = from
	p.have++
	for p.ready < len(p.blocks) && p.blocks[p.ready] != nil {
		p.ready++
	}
	work := !p.atWork && (p.ready-p.hashed >= hashRun || p.ready == len(p.blocks))
	p.atWork = p.atWork || work
	p.mu.Unlock()
	if work {
		p.store.cfg.Pool.submit(&p.store.lane, p)
	}
	return true
}

// Drop abandons the piece. It reports false if it came too late: the piece is whole
// and Done will be called.
func (p *Piece) Drop() bool {
	p.mu.Lock()
	if p.whole || p.ended {
		p.mu.Unlock()
		return false
	}
	p.dropped = true
	free := !p.atWork
	p.mu.Unlock()
	if free {
		p.end(nil)
	}
	return true
}

// work hashes what is ready and finishes the piece when that is all of it.
func (p *Piece) work() {
	p.mu.Lock()
	for {
		if p.dropped {
			p.atWork = false
			p.mu.Unlock()
			p.end(nil)
			return
		}
		from, to := p.hashed, p.ready
		if from == to {
			break
		}
		p.mu.Unlock()
		for i := from; i < to; i++ {
			p.sum.Add(p.blocks[i][:p.BlockLen(i)])
		}
		p.mu.Lock()
		p.hashed = to
	}
	whole := p.hashed == len(p.blocks)
	p.whole, p.atWork = whole, whole
	p.mu.Unlock()
	if whole {
		p.finish()
	}
}

// Result is the end of a piece.
type Result struct {
	Piece int
	// OK: verified and written. Else Err is the write's error, or nil if the data
	// was wrong.
	OK  bool
	Err error
	// From says who sent each block.
	From []any
	// For a piece that is wrong or was marked as suspect, a digest of each block.
	// Digests of one process compare.
	Digests []uint64
}

func (p *Piece) finish() {
	r := Result{Piece: p.Index, From: p.from}
	if p.sum.Right() {
		if p.suspect {
			r.Digests = p.digests()
		}
		r.Err = p.store.writePiece(p.Index, p.parts())
		r.OK = r.Err == nil
	} else {
		r.Digests = p.digests()
	}
	p.end(func() { p.store.cfg.Done(r) })
}

func (p *Piece) digests() []uint64 {
	d := make([]uint64, len(p.blocks))
	for i, b := range p.parts() {
		d[i] = maphash.Bytes(digestSeed, b)
	}
	return d
}

var digestSeed = maphash.MakeSeed()

// parts returns the data of a whole piece, block by block.
func (p *Piece) parts() [][]byte {
	parts := make([][]byte, len(p.blocks))
	for i, b := range p.blocks {
		parts[i] = b[:p.BlockLen(i)]
	}
	return parts
}

// end gives the piece's memory back, then tells of it (nil: nobody). Who waits for the
// last piece has heard of it.
func (p *Piece) end(tell func()) {
	if tell == nil {
		tell = func() {}
	}
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		tell()
		return
	}
	p.ended = true
	blocks := p.blocks
	p.blocks = make([]*Buffer, len(blocks))
	p.mu.Unlock()
	memory := p.store.cfg.Memory
	memory.Put(blocks...)
	memory.ended(p)
	memory.release(&p.store.account, p.size)
	tell()
	p.store.pieceEnded()
}

// failed implements job: the piece ends with an error, its memory is given back.
func (p *Piece) failed(err error) {
	p.mu.Lock()
	tell := !p.dropped && !p.ended
	p.whole = true // too late for Drop
	p.mu.Unlock()
	p.end(func() {
		if tell {
			p.store.cfg.Done(Result{Piece: p.Index, Err: fmt.Errorf("piece %d: %w", p.Index, err), From: p.from})
		}
	})
}

// progress returns how many blocks are there, and whether no more are waited for.
func (p *Piece) progress() (blocks int, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have, p.have == len(p.blocks) || p.dropped || p.ended
}

func newPiece(s *Storage, index int, suspect bool) *Piece {
	size := s.cfg.Info.PieceSize(index)
	p := &Piece{
		Index: index, suspect: suspect, store: s, size: size,
		blocks: make([]*Buffer, NumBlocks(size)), from: make([]any, NumBlocks(size)), sum: s.cfg.Verifier.Begin(index),
	}
	s.cfg.Memory.opened(p)
	return p
}
