package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

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

// Config configures a Storage. All fields but Selected and Allocation are needed.
type Config struct {
	Info       *meta.Info
	Dir        string // folder that the torrent's files, or its own folder, go into
	Selected   []bool // files that are wanted; nil: all
	Allocation Allocation
	Memory     *Memory
	Pool       *Pool
	Handles    *Handles
	// Done is called from a worker when a piece has ended. It must not wait.
	Done func(Result)
}

// Storage is the files of one torrent.
type Storage struct {
	cfg   Config
	paths []string       // by file, "" for padding
	begun sync.WaitGroup // pieces begun and not ended, reads under way

	mu      sync.Mutex
	real    []bool // by file: its bytes are in the file itself, not in the part file
	touched []bool // by file: written to since the last sync
	closed  bool
}

// ErrClosed is the error of a Storage after Close.
var ErrClosed = errors.New("storage closed")

// Open prepares the files of a torrent. It creates the empty ones; others come to
// be with their first piece.
func Open(cfg Config) (*Storage, error) {
	s := &Storage{cfg: cfg, paths: cfg.Info.Paths(cfg.Dir)}
	n := len(cfg.Info.Files)
	s.real, s.touched = make([]bool, n), make([]bool, n)
	for i := range cfg.Info.Files {
		f := &cfg.Info.Files[i]
		if f.Pad {
			continue
		}
		selected := cfg.Selected == nil || cfg.Selected[i]
		s.real[i] = selected
		if !selected {
			_, err := os.Lstat(s.path(i))
			s.real[i] = err == nil
		}
	}
	return s, nil
}

// CreateEmpty creates the wanted files of length zero, which no piece will bring.
func (s *Storage) CreateEmpty() error {
	for i, f := range s.cfg.Info.Files {
		if f.Length != 0 || f.Pad || !s.real[i] {
			continue
		}
		h, err := s.cfg.Handles.acquire(s.path(i), true, func(*os.File) error { return nil })
		if err != nil {
			return s.explain("creating", i, err)
		}
		s.cfg.Handles.release(h)
	}
	return nil
}

func (s *Storage) path(file int) string { return s.paths[file] }

// partPath is where the edges of unselected files lie: bytes that share a piece
// with a wanted file. It is a sparse file with every byte at its offset in the
// torrent.
func (s *Storage) partPath() string {
	return filepath.Join(s.cfg.Dir, fmt.Sprintf(".%x.parts", s.cfg.Info.InfoHash))
}

// Begin starts a piece, or returns nil when memory is short. For one that was wrong
// before, suspect asks for digests of its blocks.
func (s *Storage) Begin(piece int, stretch, suspect bool) *Piece {
	if !s.cfg.Memory.Reserve(s.cfg.Info.PieceSize(piece), stretch) {
		return nil
	}
	s.begun.Add(1)
	return newPiece(s, piece, suspect)
}

// handle opens the file that holds a span, and returns the offset of the span in it.
func (s *Storage) handle(sp span, write bool) (h *handle, off int64, err error) {
	s.mu.Lock()
	closed, inFile := s.closed, s.real[sp.file]
	if write {
		s.touched[sp.file] = true
	}
	s.mu.Unlock()
	if closed {
		return nil, 0, ErrClosed
	}
	if !inFile {
		h, err := s.cfg.Handles.acquire(s.partPath(), write, markSparse)
		return h, s.cfg.Info.Files[sp.file].Offset + sp.off, err
	}
	h, err = s.cfg.Handles.acquire(s.path(sp.file), write, func(f *os.File) error { return s.create(f, sp.file) })
	return h, sp.off, err
}

// create gives a new file its length and mode.
func (s *Storage) create(f *os.File, file int) error {
	entry := &s.cfg.Info.Files[file]
	if err := markSparse(f); err != nil {
		return err
	}
	if entry.Executable {
		if err := f.Chmod(0o777 &^ umask()); err != nil {
			return err
		}
	}
	if s.cfg.Allocation == Preallocated {
		if err := preallocate(f, entry.Length); err != nil {
			return err
		}
	}
	return f.Truncate(entry.Length)
}

// writePiece writes a whole piece that is given in parts.
func (s *Storage) writePiece(piece int, parts [][]byte) error {
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
	defer s.begun.Done()
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
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return s.explain("reading", sp.file, err)
		}
		return nil
	})
}

// use keeps Close waiting until the caller calls s.begun.Done.
func (s *Storage) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.begun.Add(1)
	return true
}

// explain says what was done to which file, and what the user can do about it.
func (s *Storage) explain(doing string, file int, err error) error {
	path, what := s.path(file), ""
	switch {
	case errors.Is(err, ErrClosed):
		return err
	case isDiskFull(err):
		what = "; make room and start again, what was verified is kept"
	case errors.Is(err, fs.ErrPermission), isReadOnly(err):
		what = "; choose another folder with --out or change its permissions"
	case errors.Is(err, fs.ErrNotExist):
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

// Sync brings what was written to the disk itself, and looks whether the files are
// still where they were.
func (s *Storage) Sync() error {
	if !s.use() {
		return ErrClosed
	}
	defer s.begun.Done()
	s.mu.Lock()
	var files []int
	for i, t := range s.touched {
		if t {
			files = append(files, i)
			s.touched[i] = false
		}
	}
	s.mu.Unlock()
	for _, i := range files {
		if err := s.syncFile(i); err != nil {
			return s.explain("syncing", i, err)
		}
	}
	return nil
}

func (s *Storage) syncFile(file int) error {
	h, _, err := s.handle(span{file: file}, false)
	if err != nil {
		return err
	}
	defer s.cfg.Handles.release(h)
	return h.Sync()
}

// Wait waits for the pieces that were begun and the reads under way. No more may
// be begun.
func (s *Storage) Wait() { s.begun.Wait() }

// Close waits for pieces and reads under way, and closes the files.
func (s *Storage) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.begun.Wait()
	s.cfg.Handles.drop(append(s.paths, s.partPath()))
}

// OwnFile returns the path of a file whose bytes lie in it at their own offsets.
func (s *Storage) OwnFile(file int) (path string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths[file], s.real[file]
}
