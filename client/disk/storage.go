package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/causeway-bt/causeway/client/meta"
)

// Allocation says how files get their space.
type Allocation int

const (
	// Sparse files take space as pieces come in. It is the default.
	Sparse Allocation = iota
	// Preallocated files take all of it at once, where the system can do that.
	Preallocated
)

// Config configures a Storage. All fields but Selected, Allocation and Cache are
// needed.
type Config struct {
	Info       *meta.Info
	Dir        string // folder that the torrent's files, or its own folder, go into
	Selected   []bool // files that are wanted; nil: all
	Allocation Allocation
	// Cache, if not 0, keeps at most so many bytes, but one piece at least, in one
	// file that goes with the Storage: the caller evicts what others are to have the
	// place of. Plan, Check, Stamps and Sync are not for such a Storage.
	Cache   int64
	Memory  *Memory
	Pool    *Pool
	Handles *Handles
	// Done is called from a worker when a piece has ended. It must not wait.
	Done func(Result)
}

// Storage is the files of one torrent.
//
// Its bytes lie in places: one for each of the torrent's files, in their order, and
// behind them the part file.
type Storage struct {
	cfg    Config
	paths  []string       // by place, "" for padding
	pieces sync.WaitGroup // begun and not ended
	open   atomic.Int64   // pieces begun and not ended
	uses   sync.WaitGroup // reads and the like under way
	ring   *ring          // with Config.Cache, else nil
	longer []int          // see Longer

	mu      sync.Mutex
	real    []bool // by file: its bytes are in the file itself, not in the part file
	seen    []bool // by place: there was a file
	touched []bool // by place: written to since the last sync
	found   []bool // by place: has what an earlier run or somebody else wrote, and maybe nobody synced
	closed  bool
}

// ErrClosed is the error of a Storage after Close.
var ErrClosed = errors.New("storage closed")

// Open prepares the files of a torrent, but touches none: they come to be with
// their first piece.
func Open(cfg Config) (*Storage, error) {
	n := len(cfg.Info.Files)
	// The part file is where the edges of unselected files lie: bytes that share a
	// piece with a wanted file. It is sparse, with every byte at its offset in the
	// torrent.
	part := filepath.Join(cfg.Dir, fmt.Sprintf(".%x.parts", cfg.Info.InfoHash))
	s := &Storage{
		cfg: cfg, paths: append(cfg.Info.Paths(cfg.Dir), part),
		real: make([]bool, n), seen: make([]bool, n+1), touched: make([]bool, n+1), found: make([]bool, n+1),
	}
	for i := range cfg.Info.Files {
		f := &cfg.Info.Files[i]
		if f.Pad {
			continue
		}
		s.real[i] = cfg.Selected == nil || cfg.Selected[i]
		if !s.real[i] {
			there, err := os.Stat(s.paths[i])
			s.real[i] = err == nil && there.Mode().IsRegular()
		}
	}
	if cfg.Cache > 0 {
		var err error
		if s.ring, err = newRing(cfg.Info, cfg.Dir, cfg.Cache); err != nil {
			return nil, fmt.Errorf("making the cache: %w", err)
		}
	}
	return s, nil
}

// CreateEmpty creates the wanted files of length zero, which no piece will bring,
// but for those that Plan has seen.
func (s *Storage) CreateEmpty() error {
	for i, f := range s.cfg.Info.Files {
		if f.Length != 0 || f.Pad || !s.inFile(i) || s.wasSeen(i) {
			continue
		}
		h, err := s.openPlace(i, true)
		if err != nil {
			return s.explain("creating", i, err)
		}
		s.cfg.Handles.release(h)
	}
	return nil
}

// Longer returns the wanted files that were longer than in the torrent when Plan looked.
func (s *Storage) Longer() []int { return s.longer }

// Cut shortens a file to its length in the torrent.
func (s *Storage) Cut(file int) error {
	h, err := s.openPlace(file, true)
	if err == nil {
		err = h.Truncate(s.cfg.Info.Files[file].Length)
		s.cfg.Handles.release(h)
	}
	if err != nil {
		return s.explain("shortening", file, err)
	}
	return nil
}

// part is the place of the part file.
func (s *Storage) part() int { return len(s.cfg.Info.Files) }

// place returns where the bytes of a file lie, and where they begin there.
func (s *Storage) place(file int) (place int, start int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.real[file] {
		return file, 0
	}
	return s.part(), s.cfg.Info.Files[file].Offset
}

// Begin starts a piece, or returns nil when memory, or room in the cache, is short.
// For one that was wrong before, suspect asks for digests of its blocks.
func (s *Storage) Begin(piece int, stretch, suspect bool) *Piece {
	size := s.cfg.Info.PieceSize(piece)
	switch {
	case s.open.Load() == 0: // one piece at a time can be had even if others took all
		s.cfg.Memory.Take(size)
	case !s.cfg.Memory.Reserve(size, stretch):
		return nil
	}
	if s.ring != nil && !s.ring.take(piece) {
		s.cfg.Memory.Release(size)
		return nil
	}
	s.pieces.Add(1)
	s.open.Add(1)
	return newPiece(s, piece, suspect)
}

// handle opens the file that holds a span, and returns the offset of the span in it.
func (s *Storage) handle(sp span, write bool) (h *handle, off int64, err error) {
	place, start := s.place(sp.file)
	h, err = s.openPlace(place, write)
	return h, start + sp.off, err
}

// openPlace opens the file of a place. A file that was there and is gone is not made
// anew, which would lose what was in it without a word.
func (s *Storage) openPlace(place int, write bool) (*handle, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	seen := s.wasSeen(place)
	var how *creation
	if !seen {
		how = s.creation(place)
	}
	h, err := s.cfg.Handles.acquire(s.paths[place], write, how)
	if seen && errors.Is(err, fs.ErrNotExist) {
		return nil, vanished(s.paths[place])
	}
	if err != nil || !write {
		return h, err
	}
	s.mu.Lock()
	s.seen[place], s.touched[place] = true, true
	s.mu.Unlock()
	return h, nil
}

func (s *Storage) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Storage) wasSeen(place int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[place]
}

// creation says how the file of a place is made.
func (s *Storage) creation(place int) *creation {
	if place == s.part() {
		return &creation{mode: 0o666, fill: markSparse}
	}
	entry := &s.cfg.Info.Files[place]
	c := &creation{mode: 0o666, fill: func(f *os.File) error {
		if err := markSparse(f); err != nil {
			return err
		}
		if s.cfg.Allocation == Preallocated {
			if err := preallocate(f, entry.Length); err != nil {
				return err
			}
		}
		return f.Truncate(entry.Length)
	}}
	if entry.Executable {
		c.mode = 0o777
	}
	return c
}

// writePiece writes a whole piece that is given in parts.
func (s *Storage) writePiece(piece int, parts [][]byte) error {
	if s.ring != nil {
		return s.ring.write(piece, parts)
	}
	off := int64(piece) * s.cfg.Info.PieceLength
	return spans(s.cfg.Info, off, s.cfg.Info.PieceSize(piece), func(sp span) error {
		var mine [][]byte
		mine, parts = split(parts, sp.length)
		if s.cfg.Info.Files[sp.file].Pad {
			return nil
		}
		h, at, err := s.handle(sp, true)
		if err == nil {
			err = writeAll(h.File, mine, at)
			s.cfg.Handles.release(h)
		}
		if err != nil {
			return s.explain("writing", sp.file, err)
		}
		return nil
	})
}

// split divides a list of parts after n bytes.
func split(parts [][]byte, n int64) (head, tail [][]byte) {
	for i, p := range parts {
		if int64(len(p)) >= n {
			head = append(parts[:i:i], p[:n])
			if int64(len(p)) > n {
				tail = append([][]byte{p[n:]}, parts[i+1:]...)
			} else {
				tail = parts[i+1:]
			}
			return head, tail
		}
		n -= int64(len(p))
	}
	return parts, nil
}

// ReadBlocks fills p from the given place in a piece; it implements
// wire.BlockSource. What it reads is right only for verified pieces.
func (s *Storage) ReadBlocks(p []byte, piece, begin uint32) error {
	return s.ReadAt(p, int64(piece)*s.cfg.Info.PieceLength+int64(begin))
}

// ReadAt fills p from an offset in the torrent, in bytes.
func (s *Storage) ReadAt(p []byte, off int64) error {
	if !s.use() {
		return ErrClosed
	}
	defer s.uses.Done()
	if s.ring != nil {
		return s.ring.readAt(p, off)
	}
	return spans(s.cfg.Info, off, int64(len(p)), func(sp span) error {
		part := p[:sp.length]
		p = p[sp.length:]
		if s.cfg.Info.Files[sp.file].Pad {
			clear(part)
			return nil
		}
		h, at, err := s.handle(sp, false)
		if err == nil {
			_, err = h.ReadAt(part, at)
			s.cfg.Handles.release(h)
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return s.explain("reading", sp.file, err)
		}
		return nil
	})
}

// use keeps Close waiting until the caller calls s.uses.Done.
func (s *Storage) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.uses.Add(1)
	return true
}

// explain says what was done to which file, and what the user can do about it.
func (s *Storage) explain(doing string, place int, err error) error {
	path, what := s.paths[place], ""
	switch {
	case errors.Is(err, ErrClosed):
		return err
	case IsFull(err):
		what = "; make room and start again"
	case errors.Is(err, syscall.ENOTDIR):
		what = "; a file is where a folder should be: move it, or choose another folder with --out"
	case errors.Is(err, fs.ErrPermission), isReadOnly(err):
		what = "; choose another folder with --out or change its permissions"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrVanished):
		what = "; put it back, or start again to download it anew"
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		path, err = pathErr.Path, pathErr.Err
	}
	return fmt.Errorf("%s %s: %w%s", doing, path, err, what)
}

// ErrVanished says that files were removed or replaced under a running torrent.
var ErrVanished = errors.New("the file was removed or replaced while the torrent was using it")

func vanished(path string) error {
	return &fs.PathError{Op: "open", Path: path, Err: ErrVanished}
}

// Sync brings what was written so far to the disk itself, and what Plan found.
func (s *Storage) Sync() error {
	if !s.use() {
		return ErrClosed
	}
	defer s.uses.Done()
	for place := range s.paths {
		s.mu.Lock()
		touched, found := s.touched[place], s.found[place]
		s.touched[place], s.found[place] = false, false
		s.mu.Unlock()
		if !touched {
			if found {
				s.syncFound(place)
			}
			continue
		}
		if err := s.syncPlace(place); err != nil {
			s.mu.Lock()
			s.touched[place] = true
			s.mu.Unlock()
			return s.explain("syncing", place, err)
		}
	}
	return nil
}

func (s *Storage) syncPlace(place int) error {
	h, err := s.cfg.Handles.acquire(s.paths[place], true, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return vanished(s.paths[place])
	}
	if err != nil {
		return err
	}
	defer s.cfg.Handles.release(h)
	return h.Sync()
}

// syncFound syncs what this run has not written as well as it can be: it may be
// read-only, or on a system that has nothing to sync.
func (s *Storage) syncFound(place int) {
	h, err := s.cfg.Handles.acquire(s.paths[place], false, nil)
	if err != nil {
		return
	}
	defer s.cfg.Handles.release(h)
	_ = h.Sync()
}

// Wait waits until all pieces have ended, each by itself or by Drop. No more may be
// begun.
func (s *Storage) Wait() { s.pieces.Wait() }

// Close waits for pieces, as Wait does, and for reads under way, and closes the
// files.
func (s *Storage) Close() {
	s.pieces.Wait()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.uses.Wait()
	s.cfg.Handles.drop(s.paths)
	if s.ring != nil {
		s.ring.close()
	}
}

// OwnFile returns the path of a file whose bytes lie in it at their own offsets.
func (s *Storage) OwnFile(file int) (path string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths[file], s.real[file] && s.ring == nil
}
