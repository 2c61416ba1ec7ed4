package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

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

func (s *Storage) inFile(file int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.real[file]
}

func (s *Storage) wasSeen(place int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[place]
}

// handle opens the file that holds a span, and returns the offset of the span in it.
func (s *Storage) handle(sp span, write bool) (h *handle, off int64, err error) {
	s.mu.Lock()
	place, start := sp.file, int64(0)
	if !s.real[sp.file] {
		place, start = s.part(), s.cfg.Info.Files[sp.file].Offset
	}
	seen := s.seen[place]
	s.mu.Unlock()
	h, err = s.openSeen(place, write, seen)
	return h, start + sp.off, err
}

// openPlace opens the file of a place.
func (s *Storage) openPlace(place int, write bool) (*handle, error) {
	return s.openSeen(place, write, s.wasSeen(place))
}

// openSeen opens the file of a place, and makes it if it was never seen. One that was
// there and is gone is not made anew, which would lose what was in it without a word.
func (s *Storage) openSeen(place int, write, seen bool) (*handle, error) {
	how := access{write: write, noFollow: place == s.part()}
	if write && !seen {
		how.create = s.creation(place)
	}
	h, err := s.cfg.Handles.acquire(s.paths[place], how)
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

// CreateEmpty creates the wanted files of length zero, which no piece will bring,
// but for those that Plan has seen.
func (s *Storage) CreateEmpty() error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	for i, f := range s.cfg.Info.Files {
		if f.Length != 0 || f.Pad || !s.inFile(i) || s.wasSeen(i) {
			continue
		}
		h, err := s.openPlace(i, true)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue // a link to nowhere, or another torrent was quicker
		case err != nil:
			return s.explain("creating", i, err)
		}
		s.cfg.Handles.release(h)
	}
	return nil
}

// Longer returns the wanted files that were longer than in the torrent when Plan
// looked, and are the torrent's own.
func (s *Storage) Longer() (files []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, file := range s.longer {
		if s.care[file] == 0 {
			files = append(files, file)
		}
	}
	return files
}

// Cut shortens a file to its length in the torrent.
func (s *Storage) Cut(file int) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	s.writes[file].begun.Add(1)
	defer s.writes[file].ended.Add(1)
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

// ErrClosed is the error of a Storage after Close.
var ErrClosed = errors.New("storage closed")

// ErrVanished says that files were removed or replaced under a running torrent.
var ErrVanished = errors.New("the file was removed or replaced while the torrent was using it")

func vanished(path string) error {
	return &fs.PathError{Op: "open", Path: path, Err: ErrVanished}
}

// explain says what was done to which file, and what the user can do about it.
func (s *Storage) explain(doing string, place int, err error) error {
	path, what := s.paths[place], ""
	var taken *TakenError
	switch {
	case errors.Is(err, ErrClosed), errors.As(err, &taken):
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
