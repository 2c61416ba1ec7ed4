package disk

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/causeway-bt/causeway/client/meta"
)

// ring keeps a bounded number of pieces in one file, for torrents that are watched
// and not kept. The file has no name, or one that nobody can guess: no other process
// writes to it, and nothing is left of it after a kill. Each piece lies in a slot of its own; what is evicted makes room.
type ring struct {
	info *meta.Info
	file *os.File

	mu      sync.RWMutex // held for reading during I/O, so that no slot changes under it
	slots   map[int]int  // by piece
	written map[int]bool // pieces whose slot holds their data
	free    []int
}

func newRing(info *meta.Info, dir string, size int64) (*ring, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	file, err := temporary(dir)
	if err != nil {
		return nil, err
	}
	r := &ring{info: info, file: file, slots: make(map[int]int), written: make(map[int]bool)}
	for i := range min(max(int(size/info.PieceLength), 1), info.NumPieces()) {
		r.free = append(r.free, i)
	}
	return r, nil
}

// take gives a piece a slot, and reports false if none is free.
func (r *ring) take(piece int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, has := r.slots[piece]; has {
		return true
	}
	if len(r.free) == 0 {
		return false
	}
	r.slots[piece] = r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	return true
}

// evict frees a piece's slot.
func (r *ring) evict(piece int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slot, has := r.slots[piece]; has {
		delete(r.slots, piece)
		delete(r.written, piece)
		r.free = append(r.free, slot)
	}
}

func (r *ring) write(piece int, parts [][]byte) error {
	r.mu.RLock()
	slot, has := r.slots[piece]
	if !has {
		r.mu.RUnlock()
		return fmt.Errorf("the cache has no room for piece %d", piece)
	}
	err := writeAll(r.file, parts, int64(slot)*r.info.PieceLength)
	r.mu.RUnlock()
	if err == nil {
		r.mu.Lock()
		r.written[piece] = true
		r.mu.Unlock()
	}
	return err
}

// ErrEvicted says that a piece has left the cache, or has not come back yet.
var ErrEvicted = errors.New("the piece is not in the cache")

// readAt fills p from an offset in the torrent.
func (r *ring) readAt(p []byte, off int64) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for len(p) > 0 {
		piece, in := int(off/r.info.PieceLength), off%r.info.PieceLength
		if !r.written[piece] {
			return ErrEvicted
		}
		slot := r.slots[piece]
		n := min(int64(len(p)), r.info.PieceSize(piece)-in)
		if _, err := r.file.ReadAt(p[:n], int64(slot)*r.info.PieceLength+in); err != nil {
			return fmt.Errorf("reading the cache: %w", err)
		}
		p, off = p[n:], off+n
	}
	return nil
}

func (r *ring) close() { r.file.Close() }

// Slots returns how many pieces a Storage with Config.Cache holds.
func (s *Storage) Slots() int {
	s.ring.mu.RLock()
	defer s.ring.mu.RUnlock()
	return len(s.ring.slots) + len(s.ring.free)
}

// Evict gives the place of a piece to others, in a Storage with Config.Cache.
func (s *Storage) Evict(piece int) { s.ring.evict(piece) }
