package disk

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/causeway-bt/causeway/client/meta"
)

// lockShared locks the shared files of a piece, always in the same order.
func (s *Storage) lockShared(piece int) (unlock func()) {
	var files []*sharedFile
	s.mu.Lock()
	if len(s.shares.files) > 0 {
		_ = spans(s.cfg.Info, int64(piece)*s.cfg.Info.PieceLength, s.cfg.Info.PieceSize(piece), func(sp span) error {
			if f := s.shares.files[sp.file]; f != nil {
				files = append(files, f)
			}
			return nil
		})
	}
	s.mu.Unlock()
	slices.SortFunc(files, func(a, b *sharedFile) int { return strings.Compare(a.path, b.path) })
	for _, f := range files {
		f.mu.Lock()
	}
	return func() {
		for _, f := range files {
			f.mu.Unlock()
		}
	}
}

// isShared reports whether another torrent has a claim to a file that may stand.
func (s *Storage) isShared(file int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.shares.files[file]
	return f != nil && len(f.others(s)) > 0 ||
		slices.ContainsFunc(s.shares.saved[file], func(f savedFile) bool { return !f.void })
}

// guardShared makes sure that what others have verified is not changed. Who finds that he
// would do that gives his claim up: else two that each have a part of a file would both
// fail.
func (s *Storage) guardShared(sp span, old, data []byte) error {
	err := s.heedOthers(sp, old, data)
	var taken *TakenError
	if !errors.As(err, &taken) {
		return err
	}
	s.mu.Lock()
	f := s.shares.files[sp.file]
	s.heed(sp.file, careDoubt)
	s.mu.Unlock()
	if f != nil {
		f.list.Lock()
		delete(f.users, s)
		f.list.Unlock()
	}
	return errors.Join(err, s.cfg.Owners.giveUp(s))
}

// giveUp withdraws the saved claims of a torrent until it joins again.
func (o *Owners) giveUp(s *Storage) error {
	o.mu.Lock()
	c := o.live[s]
	o.mu.Unlock()
	if o.store == nil || c == nil {
		return nil
	}
	return errors.Join(o.store.unclaim(c.root, c.key), o.store.tell())
}

func (s *Storage) heedOthers(sp span, old, data []byte) error {
	s.mu.Lock()
	f, saved := s.shares.files[sp.file], s.shares.saved[sp.file]
	s.mu.Unlock()
	if f != nil {
		for other, file := range f.others(s) {
			if changes(other.cfg.Info, file, other.Verified().Has, sp.off, old, data) {
				return &TakenError{Paths: []string{s.paths[sp.file]}, Count: 1, Running: !other.isClosed()}
			}
		}
	}
	for _, other := range saved {
		if other.void {
			continue
		}
		st := other.state(s.cfg.Owners.store)
		if st != nil && changes(other.info, other.file, st.Have.Has, sp.off, old, data) {
			return s.taken(sp.file)
		}
		if other.mayRun(st) && changesData(old, data) {
			return s.taken(sp.file) // it may have verified that since
		}
	}
	return nil
}

// others returns the other torrents of this process that use a file.
func (f *sharedFile) others(s *Storage) map[*Storage]int {
	f.list.Lock()
	defer f.list.Unlock()
	others := maps.Clone(f.users)
	delete(others, s)
	return others
}

// changes reports whether writing data over old, at an offset of a file, changes
// verified pieces of a torrent that has the file too.
func changes(info *meta.Info, file int, good func(int) bool, off int64, old, data []byte) bool {
	start := info.Files[file].Offset
	for i := int64(0); i < int64(len(data)); {
		piece := int((start + off + i) / info.PieceLength)
		end := min(int64(piece+1)*info.PieceLength-start-off, int64(len(data)))
		if piece >= info.NumPieces() || off+i >= info.Files[file].Length {
			return false
		}
		if good(piece) {
			for j := i; j < end; j++ {
				if j >= int64(len(old)) || old[j] != data[j] {
					return true
				}
			}
		}
		i = end
	}
	return false
}

// changesData reports whether writing data over old changes anything but zeros.
func changesData(old, data []byte) bool {
	for i, b := range old {
		if b != 0 && b != data[i] {
			return true
		}
	}
	return false
}
