package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// SetSelected changes which files are wanted (nil: all), while the torrent runs. What the
// part file has of files that become wanted moves into files of their own; those that are
// no longer wanted stay where they are. It fails with a TakenError, and changes nothing,
// if a file that becomes wanted is not the torrent's. CreateEmpty is for the caller.
func (s *Storage) SetSelected(ctx context.Context, selected []bool) error {
	if s.ring != nil {
		return nil
	}
	if err := s.halt(ctx); err != nil {
		return err
	}
	defer s.resume()
	var taken TakenError
	var wanted []int
	for file := range s.cfg.Info.Files {
		if s.cfg.Info.Files[file].Pad || selected != nil && !selected[file] || s.inFile(file) {
			continue
		}
		free, err := s.isFree(file)
		if err != nil {
			return s.explain("looking at", file, err)
		}
		if !free {
			taken.add(s.paths[file])
		}
		wanted = append(wanted, file)
	}
	if taken.Count > 0 {
		return &taken
	}
	for _, file := range wanted {
		if err := s.moveIn(file); err != nil {
			return s.explain("moving the first bytes into", file, err)
		}
	}
	s.cfg.Selected = selected
	if len(wanted) == 0 {
		return nil
	}
	return s.dropPart()
}

// isFree reports whether a file can be made, or may be written to.
func (s *Storage) isFree(file int) (bool, error) {
	there, err := os.Lstat(s.paths[file])
	switch {
	case errors.Is(err, fs.ErrNotExist) || s.cfg.Overwrite && err == nil && there.Mode().IsRegular():
		return true, nil
	case err != nil:
		return false, err
	case !there.Mode().IsRegular():
		return false, inTheWay(s.paths[file])
	}
	return s.blank(file)
}

// moveIn gives a file that was not wanted its own place, with the bytes that verified
// pieces have in it.
func (s *Storage) moveIn(file int) error {
	s.mu.Lock()
	s.seen[file], s.looks[file] = false, look{}
	if _, err := os.Lstat(s.paths[file]); err == nil {
		s.seen[file] = true
	}
	good, hasPart := s.good.Clone(), s.seen[s.part()]
	s.mu.Unlock()
	for p, end := PieceRange(s.cfg.Info, file); p < end && hasPart; p++ {
		if good.Has(p) {
			if err := s.moveOut(file, p); err != nil {
				return err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.real[file] = true
	return nil
}
