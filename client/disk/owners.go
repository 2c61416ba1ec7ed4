package disk

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

// Owners knows which torrents have a claim to which paths: those of this process, and,
// with a store, those of others and of earlier runs. See owner.go for what follows.
type Owners struct {
	store *Store // nil: only this process

	mu    sync.Mutex
	live  map[*Storage]*claimant
	roots []*claimant // those of live, by root
}

// NewOwners returns an Owners; store may be nil.
func NewOwners(store *Store) *Owners {
	return &Owners{store: store, live: make(map[*Storage]*claimant)}
}

// claimant is a torrent with a claim.
type claimant struct {
	root  string         // canonical path of its folder, or only file
	files map[string]int // by canonical path
	key   claimKey
	since time.Time // when it overwrote what was there; zero: it did not

	storage *Storage // nil: it does not run in this process
}

// claimKey tells torrents apart, also when they do not run.
type claimKey struct {
	infoHash [20]byte
	dir      string
}

// shares are the files of a Storage that others have a claim to. Guarded by its lock.
type shares struct {
	careful bool                // some file has to be heeded
	files   map[int]*sharedFile // within this process
	saved   map[int][]savedFile // of torrents that do not run in this process
	told    claimsVersion       // what saved is of
}

// sharedFile is a file that several torrents of this process use. It is locked from the
// look at what is in it until what is written is known.
type sharedFile struct {
	mu     sync.Mutex
	path   string
	writes *writes

	list  sync.Mutex
	users map[*Storage]int // its index; guarded by list
}

// savedFile is a file of a torrent that is known from the store alone.
type savedFile struct {
	key  claimKey
	came time.Time
	info *meta.Info
	file int
	void bool // it had nothing there, or it was changed since, when we came
}

// stateFresh is how old a saved state may be for the process that saved it to be running
// still, and to have verified more since.
const stateFresh = 10 * time.Second

// canonical returns a path by which two names of one file are known as such: links to
// folders are followed, and where case does not matter it is ignored.
func canonical(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for folder := abs; ; folder, rest = filepath.Dir(folder), filepath.Join(filepath.Base(folder), rest) {
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			abs = filepath.Join(real, rest)
			break
		}
		if folder == filepath.Dir(folder) {
			break
		}
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		abs = strings.ToLower(abs)
	}
	return abs
}

// newClaimant lists the files of a torrent.
func newClaimant(info *meta.Info, paths []string, key claimKey) *claimant {
	c := &claimant{key: key, files: make(map[string]int, len(info.Files))}
	folders := make(map[string]string)
	for i, path := range paths[:len(info.Files)] {
		if path == "" {
			continue
		}
		folder, seen := folders[filepath.Dir(path)]
		if !seen {
			folder = canonical(filepath.Dir(path))
			folders[filepath.Dir(path)] = folder
		}
		base := filepath.Base(path)
		if isLink(path) {
			c.files[canonical(path)] = i
			continue
		}
		if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
			base = strings.ToLower(base)
		}
		c.files[filepath.Join(folder, base)] = i
	}
	for path := range c.files {
		if c.root == "" {
			c.root = path
		}
		for !within(path, c.root) {
			c.root = filepath.Dir(c.root)
		}
	}
	return c
}

// within reports whether a path is a folder or in it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, asFolder(folder))
}

// asFolder returns what paths in a folder begin with.
func asFolder(path string) string {
	return strings.TrimSuffix(path, string(filepath.Separator)) + string(filepath.Separator)
}

// join gives a torrent its claims. It fails with a TakenError where they cannot be.
func (o *Owners) join(s *Storage) error {
	if o == nil {
		return nil
	}
	c := newClaimant(s.cfg.Info, s.paths, claimKey{s.cfg.Info.InfoHash, s.Dir()})
	c.storage = s
	if s.cfg.Overwrite {
		c.since = time.Now()
	}
	if err := o.enlist(c); err != nil {
		return err
	}
	if o.store == nil {
		return nil
	}
	// First the claim, then the look at those of others: of two that come at a time, one
	// at least sees the other.
	before, err := o.store.claim(c, s.cfg.Info)
	if err == nil {
		if err = o.readSaved(s, c, true); err != nil && !before {
			err = errors.Join(err, o.store.unclaim(c.root, c.key))
		}
	}
	if err != nil {
		o.quit(s)
	}
	return err
}

// enlist makes a torrent one of those that run, and share their files.
func (o *Owners) enlist(c *claimant) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	near := o.near(c)
	if err := agree(c, near); err != nil {
		return err
	}
	o.live[c.storage] = c
	at, _ := slices.BinarySearchFunc(o.roots, c.root, compareRoots)
	o.roots = slices.Insert(o.roots, at, c)
	for _, other := range near {
		for path, theirFile := range other.files {
			if file, both := c.files[path]; both {
				share(path, c.storage, file, other.storage, theirFile)
			}
		}
	}
	return nil
}

func compareRoots(c *claimant, root string) int { return strings.Compare(c.root, root) }

// near returns the other torrents that run and have a root that is c's, above it or below it:
// no others can have files in common with it.
func (o *Owners) near(c *claimant) (near []*claimant) {
	if len(c.files) == 0 {
		return nil
	}
	collect := func(from string, belongs func(root string) bool) {
		at, _ := slices.BinarySearchFunc(o.roots, from, compareRoots)
		for ; at < len(o.roots) && belongs(o.roots[at].root); at++ {
			if other := o.roots[at]; other.storage != c.storage && other.key != c.key {
				near = append(near, other)
			}
		}
	}
	for folder := c.root; ; folder = filepath.Dir(folder) {
		collect(folder, func(root string) bool { return root == folder })
		if folder == filepath.Dir(folder) {
			break
		}
	}
	below := asFolder(c.root)
	collect(below+"\x00", func(root string) bool { return strings.HasPrefix(root, below) }) // without "/" itself
	return near
}

// agree makes sure that torrents of this process agree on the lengths of files.
func agree(c *claimant, near []*claimant) error {
	s, taken := c.storage, TakenError{Running: true}
	for _, other := range near {
		for path, file := range c.files {
			theirFile, both := other.files[path]
			if both && s.inFile(file) && other.storage.inFile(theirFile) &&
				s.cfg.Info.Files[file].Length != other.storage.cfg.Info.Files[theirFile].Length {
				taken.add(s.paths[file])
			}
		}
	}
	if taken.Count > 0 {
		slices.Sort(taken.Paths)
		return &taken
	}
	return nil
}

// share makes two torrents of this process heed each other.
func share(path string, a *Storage, aFile int, b *Storage, bFile int) {
	b.mu.Lock()
	f := b.shares.files[bFile]
	if f == nil {
		f = &sharedFile{path: path, writes: b.writes[bFile], users: map[*Storage]int{b: bFile}}
	}
	b.mu.Unlock()
	f.list.Lock()
	maps.DeleteFunc(f.users, func(s *Storage, _ int) bool { return s.cfg.Info.InfoHash == a.cfg.Info.InfoHash }) // an earlier run
	f.users[a] = aFile
	f.list.Unlock()
	for s, file := range map[*Storage]int{a: aFile, b: bFile} {
		s.mu.Lock()
		if s.shares.files == nil {
			s.shares.files = make(map[int]*sharedFile)
		}
		s.shares.files[file] = f
		if s.writes[file] != f.writes {
			// What is under way is counted at the old place: the next look compares.
			s.writes[file] = f.writes
			s.looks[file].writes = f.writes.ended.Load()
		}
		s.heed(file, careShared)
		s.mu.Unlock()
	}
}

// leave takes a torrent out that has ended. Those that share files with it go on heeding
// what it has verified; its saved claims stay, too.
func (o *Owners) leave(s *Storage) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.live[s]
	delete(o.live, s)
	o.roots = slices.DeleteFunc(o.roots, func(other *claimant) bool { return other == c })
}

// quit takes a torrent out that is going to another folder.
func (o *Owners) quit(s *Storage) {
	if o == nil {
		return
	}
	o.leave(s)
	s.mu.Lock()
	shared := s.shares.files
	s.shares.files = nil
	s.mu.Unlock()
	for _, f := range shared {
		f.list.Lock()
		delete(f.users, s)
		f.list.Unlock()
	}
}

// claimsVersion is what the claims of the store look like from outside.
type claimsVersion struct {
	size    int64
	modTime int64
}

func (o *Owners) version() claimsVersion {
	if o.store == nil {
		return claimsVersion{}
	}
	info, err := os.Stat(o.store.claimsPath())
	if err != nil {
		return claimsVersion{}
	}
	return claimsVersion{info.Size(), info.ModTime().UnixNano()}
}

// news makes a torrent heed the claims that other processes have made since it joined.
func (o *Owners) news(s *Storage) error {
	if o == nil || o.store == nil {
		return nil
	}
	s.mu.Lock()
	told := s.shares.told
	s.mu.Unlock()
	switch o.version() {
	case told, claimsVersion{}: // where there is no store any more, nobody has made a claim
		return nil
	}
	return o.reload(s)
}

// reload reads the saved claims anew.
func (o *Owners) reload(s *Storage) error {
	if o == nil || o.store == nil {
		return nil
	}
	o.mu.Lock()
	c := o.live[s]
	o.mu.Unlock()
	if c == nil {
		return nil
	}
	return o.readSaved(s, c, false)
}

// readSaved finds the torrents that do not run in this process and have a claim to files
// of s. first says that s has just come: then it has to agree with them.
func (o *Owners) readSaved(s *Storage, c *claimant, first bool) error {
	version := o.version()
	claims, err := o.store.claimsNear(c.root)
	if err != nil {
		return err
	}
	saved := make(map[int][]savedFile)
	var taken TakenError
	for _, claim := range claims {
		if claim.key == c.key || o.isLive(claim.key) || claim.since.Before(c.since) {
			continue
		}
		info, err := meta.ParseInfo(claim.info)
		if err != nil {
			continue
		}
		theirs := newClaimant(info, info.Paths(claim.key.dir), claim.key)
		for path, file := range c.files {
			theirFile, both := theirs.files[path]
			if !both {
				continue
			}
			f := savedFile{key: claim.key, came: claim.came, info: info, file: theirFile}
			if first {
				f.void = !f.stands(o.store, s.stampOf(file))
			} else {
				f.void = s.knewVoid(file, f)
			}
			saved[file] = append(saved[file], f)
			if first && !f.void && s.cfg.Info.Files[file].Length != info.Files[theirFile].Length && s.inFile(file) {
				taken.add(s.paths[file])
			}
		}
	}
	if taken.Count > 0 && !s.cfg.Overwrite {
		slices.Sort(taken.Paths)
		return &taken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares.saved, s.shares.told = saved, version
	for file := range saved {
		s.heed(file, careShared)
	}
	return nil
}

// contested returns the files of s that a torrent has a claim to that may be running in
// another process.
func (o *Owners) contested(s *Storage) (map[int]bool, error) {
	if o == nil || o.store == nil {
		return nil, nil
	}
	c := newClaimant(s.cfg.Info, s.paths, claimKey{s.cfg.Info.InfoHash, s.Dir()})
	claims, err := o.store.claimsNear(c.root)
	contested := make(map[int]bool)
	for _, claim := range claims {
		info, err := meta.ParseInfo(claim.info)
		if err != nil || claim.key == c.key || o.isLive(claim.key) {
			continue
		}
		f := savedFile{key: claim.key, came: claim.came, info: info}
		if !f.mayRun(f.state(o.store)) {
			continue
		}
		theirs := newClaimant(info, info.Paths(claim.key.dir), claim.key)
		for path, file := range c.files {
			if _, both := theirs.files[path]; both {
				contested[file] = true
			}
		}
	}
	return contested, err
}

// knewVoid reports whether a saved claim was void when s came.
func (s *Storage) knewVoid(file int, f savedFile) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.shares.saved[file], func(known savedFile) bool { return known.key == f.key && known.void })
}

func (o *Owners) isLive(key claimKey) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.live {
		if c.key == key {
			return true
		}
	}
	return false
}

func (s *Storage) stampOf(file int) Stamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks[file].stamp
}

// state returns what is known of the torrent that has the file, nil if nothing is.
func (f *savedFile) state(store *Store) *State {
	st, err := store.Load(f.key.infoHash, f.key.dir)
	if err != nil || st == nil || len(st.Stamps) != len(f.info.Files)+1 || len(st.Have) != (f.info.NumPieces()+7)/8 {
		return nil
	}
	return st
}

// mayRun reports whether the torrent may be running in another process; st is its state.
func (f *savedFile) mayRun(st *State) bool {
	return time.Since(f.came) < stateFresh || st != nil && !st.Clean && time.Since(st.Saved) < stateFresh
}

// stands reports whether the torrent may be running, or has a file there that is still as it
// left it.
func (f *savedFile) stands(store *Store, now Stamp) bool {
	st := f.state(store)
	return f.mayRun(st) || st != nil && st.Stamps[f.file].Size >= 0 && now.Size >= 0 && (!st.Clean || st.Stamps[f.file] == now)
}
