package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/causeway-bt/causeway/wire"
)

// Whose a file is
//
// A torrent writes to its own files and to no others. Its own is
//
//   - a file that it made itself: files are made exclusively;
//   - one that is as the last run of the torrent left it, by its resume state;
//   - one in which at least one piece of the torrent is right, and in it more than
//     zeros: a download that somebody began, this program or another, with or without
//     its resume state;
//   - one in which there is nothing but zeros: nothing is lost with it.
//
// Any other file was there before, and is somebody else's. If it has a whole piece of
// the torrent, or is longer than it should be, that is certain, and Claim refuses the
// torrent. Else it can only be told once its pieces, which it shares with other files,
// have come: until then it is in doubt, and only written to what is in it already; the
// first piece with other bytes fails. Config.Overwrite takes such files.
//
// A file can belong to two torrents, the same data under two infohashes. Both have a
// claim to it, which Owners knows, within this process and, by the resume state, in
// others and from earlier runs. Then bytes that the other one has verified are not
// changed: a piece that would do that fails, and so only the second of two torrents
// that differ fails, whatever the order. If they do not even agree on the length of
// the file, Claim refuses the second. Of one that may be running in another process
// (stateFresh), what is there but zeros counts as verified, since its state is behind.
//
// What somebody changed while the torrent runs is the torrent's as long as something in
// it is right.
//
// Unselected files that are not the torrent's are left alone: what belongs into them
// goes to the part file.

// care is what has to be heeded before a file is written to.
type care uint8

const (
	careDoubt   care = 1 << iota // it may be somebody else's
	careShared                   // another torrent has a claim to it
	careChanged                  // somebody else wrote to it while the torrent ran
)

// TakenError says that files are not the torrent's, and were not written to.
type TakenError struct {
	Paths []string // in part: the first ones
	Count int
	// Running says that another torrent of this process is using them.
	Running bool
}

// maxTaken is how many paths a TakenError lists.
const maxTaken = 10

func (e *TakenError) add(path string) {
	if e.Count++; len(e.Paths) < maxTaken {
		e.Paths = append(e.Paths, path)
	}
}

func (e *TakenError) Error() string {
	what, is := e.Paths[0], "is"
	if e.Count > 1 {
		what, is = fmt.Sprintf("%s and %d more", what, e.Count-1), "are"
	}
	if e.Running {
		return fmt.Sprintf("%s %s used by another torrent that is running, with other content; choose another folder with --out", what, is)
	}
	return fmt.Sprintf("%s %s there already, and not this torrent's; choose another folder with --out, or replace what is there with --overwrite", what, is)
}

// heed sets a care. It is called with the lock.
func (s *Storage) heed(file int, c care) {
	s.care[file] |= c
	s.shares.careful = true
}

// Claim makes the torrent's files its own, once the pieces that Plan wanted checked have
// been: have are those that are right. It fails with a TakenError if files are not the
// torrent's; then nothing must be written. Called again, it starts afresh.
func (s *Storage) Claim(have wire.Bitfield) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	s.mu.Lock()
	copy(s.good, have)
	for i := range s.durable {
		s.durable[i] &= have[i]
	}
	clear(s.care)
	s.shares = shares{}
	s.mu.Unlock()
	var taken TakenError
	var contested map[int]bool // nil: not looked for yet
	for file := range s.cfg.Info.Files {
		if s.cfg.Info.Files[file].Pad || !s.inFile(file) {
			continue
		}
		whose, err := s.whose(file)
		if err != nil {
			return s.explain("looking into", file, err)
		}
		if whose == ours {
			continue
		}
		if contested == nil {
			if contested, err = s.cfg.Owners.contested(s); err != nil {
				return err
			}
		}
		if contested[file] {
			continue // half of it may be on its way: guardShared decides
		}
		if !s.selected(file) {
			s.leaveAlone(file)
		} else if whose == theirs {
			taken.add(s.paths[file])
		} else {
			s.mu.Lock()
			s.heed(file, careDoubt)
			s.mu.Unlock()
		}
	}
	if taken.Count > 0 {
		return &taken
	}
	if err := s.cfg.Owners.join(s); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = true
	return nil
}

// leaveAlone has the bytes of an unselected file in the part file from now on.
func (s *Storage) leaveAlone(file int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.real[file] = false
}

// whose is what is known about a file.
type whose int

const (
	ours whose = iota
	unclear
	theirs
)

// whose decides whose a file is that the torrent may want to write to.
func (s *Storage) whose(file int) (whose, error) {
	f := &s.cfg.Info.Files[file]
	s.mu.Lock()
	size, owned := s.looks[file].stamp.Size, s.owned[file]
	s.mu.Unlock()
	longer := size > f.Length && !s.cfg.Keep
	if size <= 0 || owned || s.cfg.Overwrite || !longer && s.isWhole(file) {
		return ours, nil
	}
	if f.Length == 0 && isLink(s.paths[file]) {
		return ours, nil // of another client, as BEP 47 has them; nothing is written to it
	}
	if right, err := s.evidence(file); right || err != nil {
		return ours, err
	}
	if blank, err := s.blank(file); blank || err != nil {
		return ours, err
	}
	if size > f.Length || s.hasWholePiece(file) {
		return theirs, nil
	}
	return unclear, nil
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// isWhole reports whether all pieces of a file are verified.
func (s *Storage) isWhole(file int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, end := PieceRange(s.cfg.Info, file); p < end; p++ {
		if !s.good.Has(p) {
			return false
		}
	}
	return true
}

// hasWholePiece reports whether a piece lies in this file alone.
func (s *Storage) hasWholePiece(file int) bool {
	for p, end := PieceRange(s.cfg.Info, file); p < end; p++ {
		alone := true
		_ = spans(s.cfg.Info, int64(p)*s.cfg.Info.PieceLength, s.cfg.Info.PieceSize(p), func(sp span) error {
			alone = alone && (sp.file == file || s.cfg.Info.Files[sp.file].Pad)
			return nil
		})
		if alone {
			return true
		}
	}
	return false
}

// evidence reports whether a verified piece has more than zeros in a file.
func (s *Storage) evidence(file int) (bool, error) {
	buf := checkBuffers.Get().(*[checkBuffer]byte)
	defer checkBuffers.Put(buf)
	for p, end := PieceRange(s.cfg.Info, file); p < end; p++ {
		s.mu.Lock()
		good := s.good.Has(p)
		s.mu.Unlock()
		if !good {
			continue
		}
		if err := s.settle(p); errors.Is(err, ErrLost) {
			continue
		} else if err != nil {
			return false, err
		}
		from, to := s.extent(file, p)
		for off := from; off < to; {
			part := buf[:min(to-off, checkBuffer)]
			if err := s.readSpan(span{file, off, int64(len(part))}, part); err != nil {
				return false, err
			}
			if !allZero(part) {
				return true, nil
			}
			off += int64(len(part))
		}
	}
	return false, nil
}

// blank reports whether a file holds nothing but zeros.
func (s *Storage) blank(file int) (bool, error) {
	h, err := s.openPlace(file, false)
	if err != nil {
		return false, err
	}
	defer s.cfg.Handles.release(h)
	buf := checkBuffers.Get().(*[checkBuffer]byte)
	defer checkBuffers.Put(buf)
	size := h.info.Size()
	for off := nextData(h.File, 0, size); off < size; off = nextData(h.File, off, size) {
		n, err := h.ReadAt(buf[:], off)
		if !allZero(buf[:n]) {
			return false, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if n == 0 {
			break
		}
		off += int64(n)
	}
	return true, nil
}

var zeros [4096]byte

func allZero(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), len(zeros))
		if !bytes.Equal(p[:n], zeros[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}

// guardWrite makes sure that a piece may be written to its files. unlock, if not nil, is
// to be called when it was. there are the files that hold it already.
func (s *Storage) guardWrite(piece int, parts [][]byte) (there map[int]bool, unlock func(), err error) {
	if err := s.cfg.Owners.news(s); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	careful := s.shares.careful
	s.mu.Unlock()
	if !careful {
		return nil, nil, nil
	}
	there = make(map[int]bool)
	unlock = s.lockShared(piece)
	off := int64(piece) * s.cfg.Info.PieceLength
	err = spans(s.cfg.Info, off, s.cfg.Info.PieceSize(piece), func(sp span) error {
		var mine [][]byte
		mine, parts = split(parts, sp.length)
		s.mu.Lock()
		c := s.care[sp.file]
		inFile := s.real[sp.file]
		s.mu.Unlock()
		if c == 0 || !inFile {
			return nil
		}
		data := bytes.Join(mine, nil)
		old, err := s.existing(sp)
		if err != nil {
			return s.explain("reading", sp.file, err)
		}
		if there[sp.file] = bytes.Equal(old, data); there[sp.file] {
			if c&careDoubt != 0 && !allZero(data) {
				s.unheed(sp.file, careDoubt) // it is the torrent's after all
			}
			return nil
		}
		return s.guardSpan(sp, c, old, data)
	})
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return there, unlock, nil
}

// guardSpan decides about bytes of a file that is not simply the torrent's.
func (s *Storage) guardSpan(sp span, c care, old, data []byte) error {
	if c&careDoubt != 0 {
		return s.taken(sp.file)
	}
	if c&careChanged != 0 {
		right, err := s.evidence(sp.file)
		if err == nil && !right && len(old) > 0 {
			right, err = s.blank(sp.file)
		}
		if err != nil {
			return s.explain("looking into", sp.file, err)
		}
		if !right && len(old) > 0 {
			return s.taken(sp.file)
		}
		s.unheed(sp.file, careChanged)
	}
	if c&careShared != 0 {
		return s.guardShared(sp, old, data)
	}
	return nil
}

func (s *Storage) taken(file int) error {
	return &TakenError{Paths: []string{s.paths[file]}, Count: 1}
}

func (s *Storage) unheed(file int, c care) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.care[file] &^= c
}

// existing returns what is in a file at a span, as far as it goes.
func (s *Storage) existing(sp span) ([]byte, error) {
	h, err := s.cfg.Handles.acquire(s.paths[sp.file], access{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer s.cfg.Handles.release(h)
	old := make([]byte, sp.length)
	n, err := h.ReadAt(old, sp.off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return old[:n], err
}

// appeared looks at the files of a piece that were not there when Plan looked: another
// process has made them.
func (s *Storage) appeared(piece int) error {
	off := int64(piece) * s.cfg.Info.PieceLength
	return spans(s.cfg.Info, off, s.cfg.Info.PieceSize(piece), func(sp span) error {
		if s.cfg.Info.Files[sp.file].Pad {
			return nil
		}
		place, _ := s.place(sp.file)
		if s.wasSeen(place) {
			return nil
		}
		there, err := os.Lstat(s.paths[place])
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !there.Mode().IsRegular() {
			err = inTheWay(s.paths[place])
		}
		if err != nil {
			return s.explain("looking at", place, err)
		}
		s.mu.Lock()
		s.seen[place] = true
		s.mu.Unlock()
		if place == s.part() {
			return nil
		}
		return s.adopt(sp.file)
	})
}

// adopt decides about a file that another process has made.
func (s *Storage) adopt(file int) error {
	if err := s.cfg.Owners.reload(s); err != nil {
		return err
	}
	if s.isShared(file) {
		return nil // another torrent has made it: guardShared decides
	}
	blank, err := s.blank(file)
	if err != nil {
		return s.explain("looking into", file, err)
	}
	if blank || s.cfg.Overwrite {
		return nil
	}
	// The same torrent in another process, or the same data of another torrent?
	for p, end := PieceRange(s.cfg.Info, file); p < end; p++ {
		ok, err := s.verify(p)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		from, to := s.extent(file, p)
		data, err := s.existing(span{file, from, to - from})
		if err != nil {
			return s.explain("reading", file, err)
		}
		if !allZero(data) {
			return nil
		}
	}
	s.mu.Lock()
	s.heed(file, careDoubt)
	s.mu.Unlock()
	return nil
}
