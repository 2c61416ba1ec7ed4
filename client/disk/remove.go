package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// Remove removes the part file, and with data the torrent's own files and then the folders
// that are empty. It returns the files that it kept: those that somebody has changed, that
// were never the torrent's, or that another torrent has a claim to. Only Close may be
// called after it. The state is for the caller to delete: Store.Delete.
func (s *Storage) Remove(ctx context.Context, data bool) (kept []string, err error) {
	s.Wait()
	if s.ring != nil {
		return nil, nil
	}
	if err := s.halt(ctx); err != nil {
		return nil, err
	}
	defer s.resume()
	remove := func(place int) {
		s.cfg.Handles.drop(s.paths[place])
		if removeErr := os.Remove(s.paths[place]); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) && err == nil {
			err = s.explain("removing", place, removeErr)
		}
	}
	remove(s.part())
	if !data {
		return nil, err
	}
	for file := range s.cfg.Info.Files {
		if s.cfg.Info.Files[file].Pad || !s.inFile(file) {
			continue
		}
		if _, statErr := os.Lstat(s.paths[file]); errors.Is(statErr, fs.ErrNotExist) {
			continue
		}
		if !s.Owns(file) {
			kept = append(kept, s.paths[file])
			continue
		}
		remove(file)
	}
	removeEmpty(s.cfg.Info, s.dir, s.paths, s.dir)
	return kept, err
}

// Owns reports whether a file is the torrent's alone, and as it left it. It may be called
// after Close, too.
func (s *Storage) Owns(file int) bool {
	s.mu.Lock()
	careful, place, claimed := s.care[file], s.looks[file], s.claimed
	s.mu.Unlock()
	if !claimed || s.ring != nil || careful != 0 || !place.known || isLink(s.paths[file]) {
		return false
	}
	stamp, err := s.lookAt(file)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks[file].pending == nil && stamp.Size >= 0
}
