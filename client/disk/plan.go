package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/causeway-bt/causeway/wire"
)

// writeSlack is by how much a file may have been written after the last save of
// an unclean state, and still count as written by ourselves: states are saved
// every second while pieces come in.
const writeSlack = 5 * time.Second

// Plan compares the files with the state of the last run (nil: none). Pieces in
// have can be relied on; those in check are in the files, but may be wrong. What
// the part file holds of files that have become selected since moves into files of
// their own.
//
// Plan, Check and Claim can be called again at any time at which no pieces are open:
// with nil to check everything, or after an error, when its cause is gone.
func (s *Storage) Plan(st *State) (have, check wire.Bitfield, err error) {
	if !s.enter() {
		return nil, nil, ErrClosed
	}
	defer s.leave()
	n := s.cfg.Info.NumPieces()
	if st != nil && (len(st.Stamps) != len(s.paths) || len(st.Have) != len(s.good) || len(st.Synced) != len(s.good)) {
		st = nil // of another torrent
	}
	s.forget(st)
	now, err := s.stamps()
	if err != nil {
		return nil, nil, err
	}
	c := comparison{s: s, now: now, moved: make(map[int]bool)}
	c.have, c.check, c.absent = wire.NewBitfield(n), wire.NewBitfield(n), wire.NewBitfield(n)
	if st != nil {
		c.state = st
		c.have = st.Synced.Clone()
		if st.Boot != "" && st.Boot == BootID() {
			c.have = st.Have.Clone()
		}
	}
	for i, f := range s.cfg.Info.Files {
		if f.Pad {
			continue
		}
		c.file(i)
		if now[i].Size > f.Length && s.selected(i) && (f.Length > 0 || !isLink(s.paths[i])) {
			s.longer = append(s.longer, i)
		}
	}
	for i := range c.have {
		c.check[i] &^= c.absent[i]
		c.have[i] &^= c.absent[i] | c.check[i]
	}
	if err := c.move(); err != nil {
		return nil, nil, err
	}
	c.find()
	if st != nil {
		s.mu.Lock()
		for i := range s.durable {
			s.durable[i] = st.Synced[i] & c.have[i]
		}
		s.mu.Unlock()
	}
	return c.have, c.check, nil
}

// forget forgets what was known of the files, to look at them anew.
func (s *Storage) forget(st *State) {
	s.cfg.Handles.drop(s.paths...)
	s.findReal()
	s.mu.Lock()
	defer s.mu.Unlock()
	part := s.part()
	for i := range s.real {
		if st != nil && !s.selected(i) && st.Stamps[i].Size < 0 && st.Stamps[part].Size >= 0 {
			s.real[i] = false // it came since, or was not the torrent's: see Claim
		}
	}
	clear(s.seen)
	clear(s.looks)
	clear(s.owned)
	clear(s.good)
	clear(s.durable)
	s.longer, s.claimed = nil, false
	clear(s.doubts.suspects)
	clear(s.doubts.lost)
	s.doubts.queue = nil
	s.doubts.recount()
	for file := range s.due {
		s.due[file].Store(0)
	}
}

// comparison is a Plan in the making.
type comparison struct {
	s     *Storage
	now   []Stamp
	state *State // nil: none that fits

	have, check wire.Bitfield
	absent      wire.Bitfield // pieces some bytes of which are nowhere
	moved       map[int]bool  // files whose bytes are in the part file, but belong into their own
}

// file compares one file.
func (c *comparison) file(file int) {
	place, _ := c.s.place(file)
	wasReal := c.state != nil && c.state.Stamps[file].Size >= 0
	part := c.s.part()
	if place == file && c.now[file].Size < 0 && c.now[part].Size >= 0 && !wasReal {
		place = part
		c.moved[file] = true
	}
	gone := c.now[place].Size < 0 || place == part && wasReal
	changed := c.changed(place)
	c.s.owned[file] = place == file && wasReal && !changed
	// After an end in order, what is not in have is not in the files either.
	settled := c.state != nil && c.state.Clean && c.state.Boot == BootID()
	for p, end := PieceRange(c.s.cfg.Info, file); p < end; p++ {
		switch {
		case gone:
			c.absent.Set(p)
		case changed && place != part:
			c.check.Set(p)
		case changed && c.written(place, file, p):
			c.check.Set(p)
		case changed:
			c.absent.Set(p)
		case !settled && !c.have.Has(p) && c.written(place, file, p):
			c.check.Set(p)
		}
	}
}

// changed reports whether somebody else wrote to a place since the state was saved.
func (c *comparison) changed(place int) bool {
	if c.state == nil {
		return true
	}
	then, now := c.state.Stamps[place], c.now[place]
	if now == then {
		return false
	}
	ours := !c.state.Clean && now.ModTime >= then.ModTime &&
		now.ModTime <= c.state.Saved.Add(writeSlack).UnixNano() &&
		(place == c.s.part() || now.Size == c.s.cfg.Info.Files[place].Length)
	return !ours
}

// extent returns which bytes of a file belong to a piece.
func (s *Storage) extent(file, piece int) (from, to int64) {
	f := &s.cfg.Info.Files[file]
	start := int64(piece)*s.cfg.Info.PieceLength - f.Offset
	return max(start, 0), min(start+s.cfg.Info.PieceSize(piece), f.Length)
}

// written reports whether the bytes that a piece has in a file were ever written to
// a place, as far as the file system can tell.
func (c *comparison) written(place, file, piece int) bool {
	from, to := c.s.extent(file, piece)
	if place == c.s.part() {
		from += c.s.cfg.Info.Files[file].Offset
		to += c.s.cfg.Info.Files[file].Offset
	}
	if from >= c.now[place].Size {
		return false
	}
	h, err := c.s.openPlace(place, false)
	if err != nil {
		return false
	}
	defer c.s.cfg.Handles.release(h)
	return nextData(h.File, from, to) == from
}

// move brings what the part file has of the files in c.moved to where it belongs,
// and removes it when nothing else is in it.
func (c *comparison) move() error {
	s := c.s
	for i := range s.cfg.Info.Files {
		if !c.moved[i] {
			continue
		}
		for p, end := PieceRange(s.cfg.Info, i); p < end; p++ {
			if !c.have.Has(p) && !c.check.Has(p) {
				continue
			}
			if err := s.moveOut(i, p); err != nil {
				return s.explain("moving the first bytes into", i, err)
			}
		}
	}
	return s.dropPart()
}

// dropPart removes the part file when nothing is in it.
func (s *Storage) dropPart() error {
	for i, f := range s.cfg.Info.Files {
		if !f.Pad && !s.inFile(i) {
			return nil
		}
	}
	part := s.part()
	s.cfg.Handles.drop(s.paths[part])
	s.mu.Lock()
	s.seen[part], s.looks[part] = false, look{}
	s.touched[part], s.found[part] = false, false
	s.mu.Unlock()
	err := os.Remove(s.paths[part])
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// find notes where the pieces are that the disk was not told to keep, as far as is
// known: they count as synced after the next Sync.
func (c *comparison) find() {
	s := c.s
	for p := range s.cfg.Info.NumPieces() {
		if !c.check.Has(p) && (!c.have.Has(p) || c.state.Synced.Has(p)) {
			continue
		}
		_ = spans(s.cfg.Info, int64(p)*s.cfg.Info.PieceLength, s.cfg.Info.PieceSize(p), func(sp span) error {
			if !s.cfg.Info.Files[sp.file].Pad {
				place, _ := s.place(sp.file)
				s.mu.Lock()
				s.found[place] = true
				s.mu.Unlock()
			}
			return nil
		})
	}
}

// moveOut copies the bytes that a piece has in a file from the part file.
func (s *Storage) moveOut(file, piece int) error {
	from, end := s.extent(file, piece)
	src, err := s.openPlace(s.part(), false)
	if err != nil {
		return err
	}
	defer s.cfg.Handles.release(src)
	w := s.writesOf(file)
	w.begun.Add(1)
	defer w.ended.Add(1)
	dst, err := s.openPlace(file, true)
	if err != nil {
		return err
	}
	defer s.cfg.Handles.release(dst)
	_, err = io.Copy(io.NewOffsetWriter(dst.File, from),
		io.NewSectionReader(src.File, s.cfg.Info.Files[file].Offset+from, end-from))
	return err
}
