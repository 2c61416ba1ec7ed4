package disk

import (
	"container/list"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Handles keeps the files used most recently open, for all torrents of a process.
// Torrents of 10,000 files thus need no more descriptors than others.
type Handles struct {
	limit int

	mu   sync.Mutex
	open map[string]*handle
	used list.List // of *handle, the most recent first
}

type handle struct {
	*os.File
	path     string
	writable bool
	users    int  // guarded by Handles.mu
	stale    bool // closed as soon as users is 0
	place    *list.Element
}

// NewHandles keeps up to limit files open.
func NewHandles(limit int) *Handles {
	return &Handles{limit: limit, open: make(map[string]*handle)}
}

// creation says how a file that is not there is made.
type creation struct {
	mode fs.FileMode // less the process's mask
	fill func(*os.File) error
}

// acquire opens a file, or finds it open. With write it is made if need be, unless
// how is nil.
func (h *Handles) acquire(path string, write bool, how *creation) (*handle, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.open[path]; f != nil {
		if f.writable || !write {
			f.users++
			h.used.MoveToFront(f.place)
			return f, nil
		}
		h.forget(f)
	}
	file, err := openFile(path, write, how)
	if err != nil {
		return nil, err
	}
	f := &handle{File: file, path: path, writable: write, users: 1}
	f.place = h.used.PushFront(f)
	h.open[path] = f
	for h.used.Len() > h.limit {
		h.forget(h.used.Back().Value.(*handle))
	}
	return f, nil
}

func openFile(path string, write bool, how *creation) (*os.File, error) {
	if !write {
		return os.Open(path)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if how == nil || !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	if file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, how.mode); err != nil {
		return nil, err
	}
	if err := how.fill(file); err != nil {
		// Half made, it would be taken for a whole one the next time.
		return nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	return file, nil
}

func (h *Handles) release(f *handle) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.users--
	if f.stale && f.users == 0 {
		f.Close()
	}
}

// forget takes a file out of the set, and closes it when nobody uses it.
func (h *Handles) forget(f *handle) {
	h.used.Remove(f.place)
	delete(h.open, f.path)
	f.stale = true
	if f.users == 0 {
		f.Close()
	}
}

// drop closes the given files if they are open.
func (h *Handles) drop(paths []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, path := range paths {
		if f := h.open[path]; f != nil {
			h.forget(f)
		}
	}
}

// current returns the open file of a path, to compare it with what lies there.
func (h *Handles) current(path string) (*handle, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.open[path]
	if f == nil {
		return nil, false
	}
	f.users++
	return f, true
}
