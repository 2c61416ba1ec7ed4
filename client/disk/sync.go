package disk

import (
	"errors"
	"io/fs"

	"github.com/causeway-bt/causeway/wire"
)

// A failed fsync is told once, and the data may be gone from memory as well as from the
// disk (Linux marks the pages as clean all the same). So after one the pieces of the
// file that the disk was not told to keep before are unsure: they are read back, from
// the disk where the system can be told to, and hashed, and they count as kept only when
// an fsync after that has succeeded. So it is for what closing a file or cutting it says.

// Sync brings what was written so far to the disk itself, and what Plan found. It
// returns which of the pieces in have are kept now. Where an error is returned, those
// are the pieces of the other files; the next call tries again.
func (s *Storage) Sync(have wire.Bitfield) (synced wire.Bitfield, err error) {
	if !s.enter() {
		return nil, ErrClosed
	}
	defer s.leave()
	for place := range s.paths {
		if placeErr := s.syncIfNeeded(place); placeErr != nil && err == nil {
			err = s.explain("syncing", place, placeErr)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	synced = have.Clone()
	for piece := range have.From(0) {
		if !s.good.Has(piece) && s.wasLost(piece) {
			synced.Clear(piece)
		}
	}
	for _, unsure := range s.unsure {
		for i := range synced {
			synced[i] &^= unsure[i]
		}
	}
	for i := range synced {
		s.durable[i] |= synced[i] & s.good[i]
	}
	return synced, err
}

func (s *Storage) wasLost(piece int) bool {
	_, lost := s.doubts.lost[piece]
	return lost
}

// syncIfNeeded syncs a place that was written to, or found with data.
func (s *Storage) syncIfNeeded(place int) error {
	closeErr := s.cfg.Handles.closeError(s.paths[place])
	s.mu.Lock()
	touched, found := s.touched[place], s.found[place]
	unsure := s.unsure[place]
	s.touched[place], s.found[place] = false, false
	s.mu.Unlock()
	var err error
	switch {
	case closeErr != nil:
		err = closeErr
	case unsure != nil:
		err = s.readBack(place, unsure)
		if err == nil {
			err = s.syncPlace(place, touched)
		}
	case touched:
		err = s.syncPlace(place, true)
	case found:
		err = s.syncPlace(place, false)
	}
	if err == nil {
		if unsure != nil {
			s.mu.Lock()
			delete(s.unsure, place)
			s.mu.Unlock()
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrVanished) {
		s.doubtSync(place)
	}
	s.mu.Lock()
	s.touched[place], s.found[place] = touched || s.touched[place], found || s.found[place]
	s.mu.Unlock()
	return err
}

// doubtSync makes the pieces of a place unsure that were not synced before.
func (s *Storage) doubtSync(place int) {
	unsure := wire.NewBitfield(s.cfg.Info.NumPieces())
	s.piecesOf(place, unsure.Set)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range unsure {
		unsure[i] &= s.good[i] &^ s.durable[i]
	}
	s.unsure[place] = unsure
}

// readBack hashes pieces whose data the system may have lost. The wrong ones are lost.
func (s *Storage) readBack(place int, pieces wire.Bitfield) error {
	h, err := s.openPlace(place, false)
	if err != nil {
		return err
	}
	forgetCached(h.File)
	s.cfg.Handles.release(h)
	var lost []int
	for piece := range pieces.From(0) {
		ok, err := s.verify(piece)
		if err != nil {
			return err
		}
		s.mu.Lock()
		if !ok && s.good.Has(piece) {
			s.lose(piece)
			lost = append(lost, piece)
		}
		s.mu.Unlock()
	}
	if len(lost) > 0 && s.cfg.Lost != nil {
		s.cfg.Lost(lost)
	}
	return nil
}

// syncPlace syncs the file of a place. One that this run has not written to is synced
// as well as it can be: it may be read-only, or on a system that has nothing to sync.
func (s *Storage) syncPlace(place int, written bool) error {
	path := s.paths[place]
	h, err := s.cfg.Handles.acquire(path, access{write: written, noFollow: place == s.part()})
	switch {
	case errors.Is(err, fs.ErrNotExist) && written:
		return vanished(path)
	case err != nil && !written:
		return nil
	case err != nil:
		return err
	}
	defer s.cfg.Handles.release(h)
	err = s.cfg.Handles.before("sync", path)
	if err == nil {
		err = h.Sync()
	}
	if !written && cannotSync(err) {
		return nil
	}
	return err
}
