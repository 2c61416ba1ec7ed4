package disk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/wire"
)

// Stamps returns what the files looked like when their pieces were verified, the part
// file last: of a file that somebody has changed since, and that was not hashed again
// yet, the former stamp, so that the next run hashes it. It fails with ErrVanished if a
// file that was there is no longer where it was.
func (s *Storage) Stamps() ([]Stamp, error) {
	if !s.enter() {
		return nil, ErrClosed
	}
	defer s.leave()
	return s.stamps()
}

func (s *Storage) stamps() ([]Stamp, error) {
	stamps := make([]Stamp, len(s.paths))
	for place := range s.paths {
		if place != s.part() && (s.cfg.Info.Files[place].Pad || !s.inFile(place)) {
			stamps[place].Size = -1
			continue
		}
		var err error
		if stamps[place], err = s.lookAt(place); err != nil {
			return nil, s.explain("looking at", place, err)
		}
	}
	return stamps, nil
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
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		jobs.Add(1)
		s.cfg.Pool.submit(&s.lane, &checkJob{s: s, ctx: ctx, cancel: cancel, piece: p, each: each, end: func() {
			<-turns
			jobs.Done()
		}})
	}
	// A disk that hangs is not waited for once ctx has ended.
	done := make(chan struct{})
	go func() {
		jobs.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(s.cfg.Pool.patience):
		}
	}
	return context.Cause(ctx)
}

// checkJob checks one piece.
type checkJob struct {
	s      *Storage
	ctx    context.Context
	cancel context.CancelCauseFunc
	piece  int
	each   func(piece int, ok bool)
	end    func()
}

func (j *checkJob) work() {
	if j.ctx.Err() == nil {
		ok, err := j.check()
		switch {
		case err != nil:
			j.cancel(err)
		case j.ctx.Err() == nil:
			j.each(j.piece, ok)
		}
	}
	j.end()
}

func (j *checkJob) check() (bool, error) {
	if !j.s.enter() {
		return false, ErrClosed
	}
	defer j.s.leave()
	return j.s.verify(j.piece)
}

func (j *checkJob) failed(err error) {
	j.cancel(err)
	j.end()
}

// verify reports whether a piece in the files is right. Files that are absent or too
// short are wrong.
func (s *Storage) verify(piece int) (ok bool, err error) {
	buf := checkBuffers.Get().(*[checkBuffer]byte)
	defer checkBuffers.Put(buf)
	h := s.cfg.Verifier.Begin(piece)
	off := int64(piece) * s.cfg.Info.PieceLength
	for left := s.cfg.Info.PieceSize(piece); left > 0; {
		part := buf[:min(left, checkBuffer)]
		switch err := s.readAt(part, off); {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil:
			return false, err
		}
		h.Add(part)
		off += int64(len(part))
		left -= int64(len(part))
	}
	return h.Right(), nil
}
