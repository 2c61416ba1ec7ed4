package disk

import (
	"bytes"
	"context"
	"crypto/sha1"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/wire"
)

// writeSlack is by how much a file may have been written after the last save of
// an unclean state, and still count as written by ourselves: states are saved
// every second while pieces come in.
const writeSlack = 5 * time.Second

// Stamps returns what the files look like now, the part file last. It fails with
// ErrVanished if a file that is open is no longer where it was.
func (s *Storage) Stamps() ([]Stamp, error) {
	if !s.use() {
		return nil, ErrClosed
	}
	defer s.begun.Done()
	n := len(s.cfg.Info.Files)
	stamps := make([]Stamp, 0, n+1)
	for i := range n {
		if s.cfg.Info.Files[i].Pad || !s.inFile(i) {
			stamps = append(stamps, Stamp{Size: -1})
			continue
		}
		st, err := s.stamp(s.path(i))
		if err != nil {
			return nil, s.explain("looking at", i, err)
		}
		stamps = append(stamps, st)
	}
	st, err := s.stamp(s.partPath())
	return append(stamps, st), err
}

func (s *Storage) inFile(file int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.real[file]
}

func (s *Storage) stamp(path string) (Stamp, error) {
	now, err := os.Stat(path)
	if open, ok := s.cfg.Handles.current(path); ok {
		defer s.cfg.Handles.release(open)
		if opened, statErr := open.Stat(); statErr == nil && (err != nil || !os.SameFile(now, opened)) {
			return Stamp{}, &fs.PathError{Op: "stat", Path: path, Err: ErrVanished}
		}
	}
	if err != nil {
		return Stamp{Size: -1}, nil
	}
	return Stamp{now.Size(), now.ModTime().UnixNano()}, nil
}

// Plan compares the files with the state of the last run (nil: none). Pieces in
// have can be relied on; those in check are in the files, but may be wrong.
func (s *Storage) Plan(st *State) (have, check wire.Bitfield, err error) {
	n := s.cfg.Info.NumPieces()
	have, check = wire.NewBitfield(n), wire.NewBitfield(n)
	now, err := s.Stamps()
	if err != nil {
		return nil, nil, err
	}
	if st != nil && (len(st.Stamps) != len(now) || len(st.Have) != len(have) || len(st.Synced) != len(have)) {
		st = nil
	}
	if st != nil {
		have = st.Have
		if st.Boot == "" || st.Boot != BootID() {
			have = st.Synced
		}
		have = have.Clone()
	}
	absent := wire.NewBitfield(n)
	for i := range s.cfg.Info.Files {
		if s.cfg.Info.Files[i].Pad {
			continue
		}
		at := i
		if !s.inFile(i) {
			at = len(now) - 1 // the part file
		}
		first, end := PieceRange(s.cfg.Info, i)
		for p := first; p < end; p++ {
			switch {
			case now[at].Size < 0:
				absent.Set(p)
			case st == nil || changed(st, at, now[at]):
				check.Set(p)
			case !have.Has(p) && !(st.Clean && st.Boot == BootID()) && s.written(i, p):
				check.Set(p)
			}
		}
	}
	for p := range n {
		if absent.Has(p) {
			have.Clear(p)
			check.Clear(p)
		} else if check.Has(p) {
			have.Clear(p)
		}
	}
	return have, check, nil
}

// changed reports whether somebody else wrote to a file since the state was saved.
func changed(st *State, file int, now Stamp) bool {
	then := st.Stamps[file]
	if now == then {
		return false
	}
	ours := !st.Clean && now.ModTime >= then.ModTime &&
		now.ModTime <= st.Saved.Add(writeSlack).UnixNano()
	return !ours
}

// written reports whether the bytes that a piece has in a file were ever written,
// as far as the file system can tell.
func (s *Storage) written(file, piece int) bool {
	f := &s.cfg.Info.Files[file]
	start := int64(piece) * s.cfg.Info.PieceLength
	sp := span{file: file, off: max(start, f.Offset) - f.Offset}
	end := min(start+s.cfg.Info.PieceSize(piece), f.Offset+f.Length) - f.Offset
	h, at, err := s.handle(sp, false)
	if err != nil {
		return false
	}
	defer s.cfg.Handles.release(h)
	return nextData(h.File, at, at+end-sp.off) == at
}

// checkBuffer is how much of a piece is read at once to be checked, in bytes.
const checkBuffer = 256 << 10

var checkBuffers = sync.Pool{New: func() any { return new([checkBuffer]byte) }}

// Check hashes pieces that are in the files, on all workers, and calls each for
// every one from those. It returns early when ctx ends.
func (s *Storage) Check(ctx context.Context, pieces wire.Bitfield, each func(piece int, ok bool)) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	for p := range s.cfg.Info.NumPieces() {
		if ctx.Err() != nil {
			return
		}
		if !pieces.Has(p) {
			continue
		}
		jobs.Add(1)
		s.cfg.Pool.submit(func() {
			defer jobs.Done()
			if ctx.Err() == nil {
				each(p, s.verify(p))
			}
		})
	}
}

func (s *Storage) verify(piece int) bool {
	buf := checkBuffers.Get().(*[checkBuffer]byte)
	defer checkBuffers.Put(buf)
	h := sha1.New()
	off := int64(piece) * s.cfg.Info.PieceLength
	for left := s.cfg.Info.PieceSize(piece); left > 0; {
		part := buf[:min(left, checkBuffer)]
		if s.ReadAt(part, off) != nil {
			return false
		}
		h.Write(part)
		off += int64(len(part))
		left -= int64(len(part))
	}
	return bytes.Equal(h.Sum(nil), s.cfg.Info.PieceHash(piece))
}
