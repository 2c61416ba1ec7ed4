package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

// Move brings the files to another folder, file by file: each is renamed, or, where that
// cannot be, copied under another name, synced, renamed, and only then removed at the old
// place. It goes on while the torrent is used; calls wait while one file is on its way.
//
// The store (see Owners) knows of a move from before its first step until after its
// last, when the state goes to the new folder as well. A move that was broken off, by ctx,
// an error or a kill, is finished by another call of Move with the same folder, in this
// run or the next: until then the torrent must not be used otherwise. Entry.MovingTo and
// Store.MovingTo tell. Files of others that are in the way are a TakenError.
func (s *Storage) Move(ctx context.Context, dir string) error {
	to, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	from, store := s.Dir(), s.cfg.Owners.storeOf()
	if absFrom, err := filepath.Abs(from); err == nil && absFrom == to {
		return nil
	}
	if s.ring != nil {
		return errors.New("what is only cached cannot be moved")
	}
	m := &move{s: s, to: s.pathsIn(to)}
	if err := m.checkTarget(store); err != nil {
		return err
	}
	if store != nil {
		if err := store.beginMove(s.cfg.Info.InfoHash, from, to); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if s.before == nil {
		s.before = slices.Clone(s.paths)
	}
	s.mu.Unlock()
	for place := range s.paths {
		if err := m.one(ctx, place); err != nil {
			return err
		}
	}
	m.removeFolders(from)
	s.mu.Lock()
	s.dir, s.before = to, nil
	s.mu.Unlock()
	if store != nil {
		if err := store.Rename(s.cfg.Info.InfoHash, from, to); err != nil {
			return err
		}
	}
	s.mu.Lock()
	claimed := s.claimed
	s.mu.Unlock()
	if !claimed {
		return nil
	}
	s.cfg.Owners.quit(s)
	return s.cfg.Owners.join(s)
}

// MoveBack brings back what a Move to dir has moved that failed in this run, so that the
// torrent goes on as before. When that fails as well, the move remains one to be finished.
func (s *Storage) MoveBack(ctx context.Context, dir string) error {
	s.mu.Lock()
	before, from := s.before, s.dir
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	m := &move{s: s, to: before}
	for place := range before {
		if err := m.one(ctx, place); err != nil {
			return err
		}
	}
	removeEmpty(s.cfg.Info, dir, before, from)
	s.mu.Lock()
	s.before = nil
	s.mu.Unlock()
	if store := s.cfg.Owners.storeOf(); store != nil {
		return store.endMove(s.cfg.Info.InfoHash, from)
	}
	return nil
}

func (o *Owners) storeOf() *Store {
	if o == nil {
		return nil
	}
	return o.store
}

// pathsIn returns where the places are in another folder, under the same names.
func (s *Storage) pathsIn(dir string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	paths := make([]string, len(s.paths))
	for place, path := range s.paths {
		if path == "" {
			continue
		}
		if rel, err := filepath.Rel(s.dir, path); err == nil && filepath.IsLocal(rel) {
			paths[place] = filepath.Join(dir, rel)
		} else {
			paths[place] = filepath.Join(dir, filepath.Base(path))
		}
	}
	return paths
}

// move is a Move under way.
type move struct {
	s  *Storage
	to []string // by place
}

// checkTarget makes sure that nothing is in the way, but for what an earlier call has
// moved.
func (m *move) checkTarget(store *Store) error {
	s := m.s
	if store != nil {
		before, err := store.MovingTo(s.cfg.Info.InfoHash, s.Dir())
		if err != nil {
			return err
		}
		if before != "" && before == filepath.Dir(m.to[s.part()]) {
			return nil // it was checked then
		}
		if before != "" {
			return fmt.Errorf("the torrent is being moved to %s; finish that first", before)
		}
	}
	var taken TakenError
	for place, path := range m.to {
		if path == "" || path == s.paths[place] {
			continue
		}
		there, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if here, err := os.Lstat(s.paths[place]); err != nil || !os.SameFile(here, there) {
			taken.add(path)
		}
	}
	if taken.Count > 0 {
		return &taken
	}
	return nil
}

// one moves the file of one place.
func (m *move) one(ctx context.Context, place int) error {
	s := m.s
	from, to := s.paths[place], m.to[place]
	if from == "" || from == to {
		return nil
	}
	if err := s.halt(ctx); err != nil {
		return err
	}
	defer s.resume()
	leave := place != s.part() && !s.inFile(place)
	share := false
	if place != s.part() {
		s.mu.Lock()
		leave = leave || s.care[place]&careDoubt != 0
		share = s.care[place]&careShared != 0
		s.mu.Unlock()
	}
	if !leave {
		if err := m.file(ctx, from, to, share); err != nil {
			return s.explain("moving", place, err)
		}
	}
	s.cfg.Handles.drop(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths[place] = to
	if leave && place != s.part() {
		s.seen[place], s.looks[place], s.care[place] = false, look{}, 0
	}
	return nil
}

// file moves a file. That it is not there, or there already, is right. What another
// torrent shares stays for it.
func (m *move) file(ctx context.Context, from, to string, share bool) error {
	h := m.s.cfg.Handles
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	if share {
		return m.copy(ctx, from, to)
	}
	h.drop(from) // some systems do not rename open files
	err := h.before("rename", from)
	if err == nil {
		err = os.Rename(from, to)
	}
	if !otherDevice(err) {
		return err
	}
	if err := m.copy(ctx, from, to); err != nil {
		return err
	}
	if err := h.before("remove", from); err != nil {
		return err
	}
	return os.Remove(from)
}

// copy makes a file that is on the disk before it has its name.
func (m *move) copy(ctx context.Context, from, to string) error {
	h := m.s.cfg.Handles
	src, err := h.acquire(from, access{})
	if err != nil {
		return err
	}
	defer func() {
		h.release(src)
		h.drop(from)
	}()
	half := filepath.Join(filepath.Dir(to), fmt.Sprintf(".%x.moving", m.s.cfg.Info.InfoHash))
	if err := os.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dst, err := os.OpenFile(half, os.O_RDWR|os.O_CREATE|os.O_EXCL, src.info.Mode().Perm())
	if err != nil {
		return err
	}
	now, err := src.Stat()
	if err == nil {
		err = copySparse(ctx, dst, src)
	}
	if err == nil {
		err = os.Chtimes(half, time.Time{}, now.ModTime()) // it need not be hashed anew
	}
	if err == nil {
		err = h.before("sync", to)
	}
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err == nil {
		err = os.Rename(half, to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(half))
	}
	syncFolder(filepath.Dir(to))
	return nil
}

// copyTurn is how much is copied before ctx is looked at, in bytes.
const copyTurn = 4 << 20

// copySparse copies a file, but not its holes.
func copySparse(ctx context.Context, dst *os.File, src *handle) error {
	if err := markSparse(dst); err != nil {
		return err
	}
	info, err := src.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	for off := nextData(src.File, 0, size); off < size; off = nextData(src.File, off, size) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := io.Copy(io.NewOffsetWriter(dst, off), io.NewSectionReader(src.File, off, min(copyTurn, size-off)))
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		off += n
	}
	return dst.Truncate(size)
}

// removeFolders removes the torrent's own folders in dir, as far as they are empty.
func (m *move) removeFolders(dir string) {
	removeEmpty(m.s.cfg.Info, dir, m.to, filepath.Dir(m.to[m.s.part()]))
}

// removeEmpty removes the folders of a torrent's files as far as they are empty. paths are
// those of the files, in the folder root; dir is where they were, and stays.
func removeEmpty(info *meta.Info, dir string, paths []string, root string) {
	folders := make(map[string]bool)
	for i := range info.Files {
		rel, err := filepath.Rel(root, paths[i])
		if paths[i] == "" || err != nil || !filepath.IsLocal(rel) {
			continue
		}
		for folder := filepath.Dir(rel); folder != "." && !folders[folder]; folder = filepath.Dir(folder) {
			folders[folder] = true
		}
	}
	// The deepest first.
	for depth := maxDepth(folders); depth > 0; depth-- {
		for folder := range folders {
			if depthOf(folder) == depth {
				_ = os.Remove(filepath.Join(dir, folder)) // fails if it is not empty
			}
		}
	}
}

func depthOf(path string) int { return strings.Count(path, string(filepath.Separator)) + 1 }

func maxDepth(folders map[string]bool) (depth int) {
	for folder := range folders {
		depth = max(depth, depthOf(folder))
	}
	return depth
}
