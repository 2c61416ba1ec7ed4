package disk

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/causeway-bt/causeway/wire"
)

// Stamps returns what the files look like now, the part file last. It fails with
// ErrVanished if a file that was there is no longer where it was.
func (s *Storage) Stamps() ([]Stamp, error) {
	if !s.use() {
		return nil, ErrClosed
	}
	defer s.uses.Done()
	stamps := make([]Stamp, len(s.paths))
	for place := range s.paths {
		if place != s.part() && (s.cfg.Info.Files[place].Pad || !s.inFile(place)) {
			stamps[place].Size = -1
			continue
		}
		var err error
		if stamps[place], err = s.stamp(place); err != nil {
			return nil, s.explain("looking at", place, err)
		}
	}
	return stamps, nil
}

func (s *Storage) inFile(file int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.real[file]
}

func (s *Storage) stamp(place int) (Stamp, error) {
	path := s.paths[place]
	// What is known of the file comes before the look at it: a writer may be
	// creating it right now.
	s.mu.Lock()
	seen := s.seen[place]
	s.mu.Unlock()
	open, isOpen := s.cfg.Handles.current(path)
	now, err := os.Stat(path)
	if isOpen {
		defer s.cfg.Handles.release(open)
		if opened, statErr := open.Stat(); statErr == nil && (err != nil || !os.SameFile(now, opened)) {
			return Stamp{}, vanished(path)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist) && seen:
		return Stamp{}, vanished(path)
	case errors.Is(err, fs.ErrNotExist):
		return Stamp{Size: -1}, nil
	case err != nil:
		return Stamp{}, err
	case !now.Mode().IsRegular():
		return Stamp{}, &fs.PathError{Op: "stat", Path: path, Err: errors.New("it is in the way: not a file")}
	}
	s.seen[place] = true
	return Stamp{now.Size(), now.ModTime().UnixNano()}, nil
}

// checkBuffer is how much of a piece is read at once to be checked, in bytes.
const checkBuffer = 256 << 10

var checkBuffers = sync.Pool{New: func() any { return new([checkBuffer]byte) }}

// Check hashes pieces that are in the files, on all workers, and calls each for
// every one from those. It returns early when ctx ends, or when a file that is there
// cannot be read: that its data is wrong would be a wrong conclusion.
func (s *Storage) Check(ctx context.Context, pieces wire.Bitfield, each func(piece int, ok bool)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var jobs sync.WaitGroup
	// Few at a time: the blocks of other torrents want to be hashed as well.
	turns := make(chan struct{}, s.cfg.Pool.size)
	for p := range pieces.From(0) {
		if ctx.Err() != nil {
			break
		}
		turns <- struct{}{}
		jobs.Add(1)
		s.cfg.Pool.submit(func() {
			defer func() {
				<-turns
				jobs.Done()
			}()
			if ctx.Err() != nil {
				return
			}
			ok, err := s.verify(p)
			if err != nil {
				cancel(err)
				return
			}
			each(p, ok)
		})
	}
	jobs.Wait()
	return context.Cause(ctx)
}

// verify reports whether a piece in the files is right. Files that are absent or too
// short are wrong.
func (s *Storage) verify(piece int) (ok bool, err error) {
	buf := checkBuffers.Get().(*[checkBuffer]byte)
	defer checkBuffers.Put(buf)
	h := sha1.New()
	off := int64(piece) * s.cfg.Info.PieceLength
	for left := s.cfg.Info.PieceSize(piece); left > 0; {
		part := buf[:min(left, checkBuffer)]
		switch err := s.ReadAt(part, off); {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil:
			return false, err
		}
		h.Write(part)
		off += int64(len(part))
		left -= int64(len(part))
	}
	return bytes.Equal(h.Sum(nil), s.cfg.Info.PieceHash(piece)), nil
}
