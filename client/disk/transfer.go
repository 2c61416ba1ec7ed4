package disk

import (
	"errors"
	"io"
	"io/fs"

	"github.com/causeway-bt/causeway/wire"
)

// writePiece writes a whole piece that was verified and is given in parts.
func (s *Storage) writePiece(piece int, parts [][]byte) error {
	if s.ring != nil {
		return s.ring.write(piece, parts)
	}
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	err := s.writeGuarded(piece, parts)
	if errors.Is(err, fs.ErrExist) {
		// Somebody made the file since Plan has looked. It is looked at, and heeded.
		if err = s.appeared(piece); err == nil {
			err = s.writeGuarded(piece, parts)
		}
	}
	return err
}

// writeGuarded writes a piece if the files are the torrent's to write to.
func (s *Storage) writeGuarded(piece int, parts [][]byte) error {
	there, unlock, err := s.guardWrite(piece, parts)
	if err != nil {
		return err
	}
	if unlock != nil {
		defer unlock()
	}
	off := int64(piece) * s.cfg.Info.PieceLength
	err = spans(s.cfg.Info, off, s.cfg.Info.PieceSize(piece), func(sp span) error {
		var mine [][]byte
		mine, parts = split(parts, sp.length)
		if s.cfg.Info.Files[sp.file].Pad || there[sp.file] {
			return nil // a file that another torrent has is not even touched
		}
		if err := s.writeSpan(sp, mine); err != nil {
			return s.explain("writing", sp.file, err)
		}
		return nil
	})
	if err == nil {
		s.verified(piece)
	}
	return err
}

func (s *Storage) writeSpan(sp span, parts [][]byte) error {
	place, _ := s.place(sp.file)
	w := s.writesOf(place)
	begun := w.begun.Add(1)
	alone := begun-w.ended.Load() == 1
	h, at, err := s.handle(sp, true)
	if err != nil {
		w.ended.Add(1)
		return err
	}
	defer s.cfg.Handles.release(h)
	if alone {
		s.lookBefore(place, h, begun)
	}
	if err = s.cfg.Handles.before("write", h.path); err == nil {
		err = writeAll(h.File, parts, at)
	}
	s.lookAfter(place, h, w)
	return err
}

// verified notes that a piece is in the files, and right.
func (s *Storage) verified(piece int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good.Set(piece)
	s.durable.Clear(piece)
	s.doubts.settle(piece)
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
// wire.BlockSource. What it reads is right only for verified pieces. If it finds that
// somebody wrote to one of those, its error is ErrLost.
func (s *Storage) ReadBlocks(p []byte, piece, begin uint32) error {
	return s.ReadAt(p, int64(piece)*s.cfg.Info.PieceLength+int64(begin))
}

// ReadAt fills p from an offset in the torrent, in bytes. See ReadBlocks.
func (s *Storage) ReadAt(p []byte, off int64) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	if s.ring != nil {
		return s.ring.readAt(p, off)
	}
	if err := s.fresh(off, int64(len(p))); err != nil {
		return err
	}
	return s.readAt(p, off)
}

// readAt reads what is in the files, right or not.
func (s *Storage) readAt(p []byte, off int64) error {
	return spans(s.cfg.Info, off, int64(len(p)), func(sp span) error {
		part := p[:sp.length]
		p = p[sp.length:]
		if s.cfg.Info.Files[sp.file].Pad {
			clear(part)
			return nil
		}
		if err := s.readSpan(sp, part); err != nil {
			return s.explain("reading", sp.file, err)
		}
		return nil
	})
}

func (s *Storage) readSpan(sp span, p []byte) error {
	h, at, err := s.handle(sp, false)
	if err != nil {
		return err
	}
	if err = s.cfg.Handles.before("read", h.path); err == nil {
		_, err = h.ReadAt(p, at)
	}
	s.cfg.Handles.release(h)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// piecesOf calls f for the pieces that have bytes in a place.
func (s *Storage) piecesOf(place int, f func(piece int)) {
	if place != s.part() {
		for p, end := PieceRange(s.cfg.Info, place); p < end; p++ {
			f(p)
		}
		return
	}
	seen := wire.NewBitfield(s.cfg.Info.NumPieces())
	for file := range s.cfg.Info.Files {
		if s.cfg.Info.Files[file].Pad || s.inFile(file) {
			continue
		}
		for p, end := PieceRange(s.cfg.Info, file); p < end; p++ {
			if !seen.Has(p) {
				seen.Set(p)
				f(p)
			}
		}
	}
}
