package disk

import (
	"container/list"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// closeWait is how long whoever closes a file waits for that. It is done in a
// goroutine of its own, as a mount that hangs may never let it end.
const closeWait = 50 * time.Millisecond

// Handles keeps the files used most recently open, for all torrents of a process.
// Torrents of 10,000 files thus need no more descriptors than others.
//
// Files are opened, closed and looked at without the lock: who waits for a disk that
// hangs is alone with it.
type Handles struct {
	limit int
	fault func(op, path string) error

	mu     sync.Mutex
	open   map[string]*handle
	used   list.List        // of *handle, the most recent first
	failed map[string]error // of files written to, what their close said
}

type handle struct {
	*os.File
	path     string
	writable bool
	place    *list.Element
	opened   chan struct{} // closed when the fields above and these two are set
	info     fs.FileInfo   // of when it was opened
	err      error         // why it could not be

	users int  // guarded by Handles.mu
	stale bool // closed as soon as users is 0
}

// NewHandles keeps up to limit files open.
func NewHandles(limit int) *Handles {
	return &Handles{limit: limit, open: make(map[string]*handle), failed: make(map[string]error)}
}

// SetFault has a function called before each system call on a file, which may fail or hang
// in its place: tests do that. Operations are open, read, write, sync, stat, rename, remove
// and close. It is set before anything else is done.
func (h *Handles) SetFault(fault func(op, path string) error) { h.fault = fault }

// creation says how a file that is not there is made.
type creation struct {
	mode fs.FileMode // less the process's mask
	fill func(*os.File) error
}

// access says how a file is opened.
type access struct {
	write    bool
	noFollow bool      // not if it is a symbolic link
	create   *creation // make it; that it is there already is fs.ErrExist
}

// acquire opens a file, or finds it open.
func (h *Handles) acquire(path string, how access) (*handle, error) {
	for {
		h.mu.Lock()
		f := h.open[path]
		if f == nil {
			return h.openNew(path, how)
		}
		if f.ready() {
			if f.writable || !how.write {
				f.users++
				h.used.MoveToFront(f.place)
				h.mu.Unlock()
				return f, nil
			}
			closing := h.forget(f)
			h.mu.Unlock()
			h.close(closing)
			continue
		}
		h.mu.Unlock()
		<-f.opened
	}
}

// ready tells whether a file is open; else somebody is at it.
func (f *handle) ready() bool {
	select {
	case <-f.opened:
		return true
	default:
		return false
	}
}

// openNew opens a file that is not open. It is called with the lock, and gives it back.
func (h *Handles) openNew(path string, how access) (*handle, error) {
	f := &handle{path: path, writable: how.write, users: 1, opened: make(chan struct{})}
	f.place = h.used.PushFront(f)
	h.open[path] = f
	var closing []*handle
	for h.used.Len() > h.limit {
		closing = append(closing, h.forget(h.used.Back().Value.(*handle))...)
	}
	h.mu.Unlock()
	h.close(closing)

	f.File, f.info, f.err = h.openFile(path, how)
	h.mu.Lock()
	if f.err != nil && !f.stale {
		h.used.Remove(f.place)
		delete(h.open, path)
	}
	close(f.opened)
	h.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	return f, nil
}

func (h *Handles) openFile(path string, how access) (*os.File, fs.FileInfo, error) {
	if err := h.before("open", path); err != nil {
		return nil, nil, err
	}
	if how.create != nil {
		return h.createFile(path, how.create)
	}
	flag := os.O_RDONLY
	if how.write {
		flag = os.O_RDWR
	}
	if how.noFollow {
		flag |= openNoFollow
	}
	// The opening of a device can do something by itself.
	if there, err := os.Stat(path); err == nil && !there.Mode().IsRegular() {
		return nil, nil, inTheWay(path)
	}
	file, err := os.OpenFile(path, flag|openNoWait, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = inTheWay(path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

func (h *Handles) createFile(path string, how *creation) (*os.File, fs.FileInfo, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, how.mode)
	if err != nil {
		return nil, nil, err
	}
	err = how.fill(file)
	var info fs.FileInfo
	if err == nil {
		info, err = file.Stat()
	}
	if err != nil {
		// Half made, it would be taken for a whole one the next time.
		return nil, nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	return file, info, nil
}

// inTheWay is the error of what is no file where one should be.
func inTheWay(path string) error {
	return &fs.PathError{Op: "open", Path: path, Err: errors.New("it is in the way: not a file")}
}

func (h *Handles) before(op, path string) error {
	if h.fault == nil {
		return nil
	}
	return h.fault(op, path)
}

func (h *Handles) release(f *handle) {
	h.mu.Lock()
	f.users--
	last := f.stale && f.users == 0
	h.mu.Unlock()
	if last {
		h.close([]*handle{f})
	}
}

// forget takes a file out of the set. It is closed when nobody uses it: by the caller,
// if it is returned, once the lock is given back.
func (h *Handles) forget(f *handle) []*handle {
	h.used.Remove(f.place)
	delete(h.open, f.path)
	f.stale = true
	if f.users == 0 {
		return []*handle{f}
	}
	return nil
}

// close closes files. It waits for that if it can be had soon.
func (h *Handles) close(files []*handle) {
	if len(files) == 0 {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, f := range files {
			if f.err == nil {
				h.closeOne(f)
			}
		}
	}()
	wait := time.NewTimer(closeWait)
	defer wait.Stop()
	select {
	case <-done:
	case <-wait.C:
	}
}

func (h *Handles) closeOne(f *handle) {
	err := h.before("close", f.path)
	err = errors.Join(err, f.Close())
	if err == nil || !f.writable {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed[f.path] = err
}

// closeError returns, once, what the closing of a file that was written to has said:
// some file systems tell only then that they did not keep it.
func (h *Handles) closeError(path string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.failed[path]
	delete(h.failed, path)
	return err
}

// drop closes the given files if they are open.
func (h *Handles) drop(paths ...string) {
	h.mu.Lock()
	var closing []*handle
	for _, path := range paths {
		if f := h.open[path]; f != nil {
			closing = append(closing, h.forget(f)...)
		}
	}
	h.mu.Unlock()
	h.close(closing)
}

// current returns the open file of a path, to compare it with what lies there.
func (h *Handles) current(path string) (*handle, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.open[path]
	if f == nil || !f.ready() {
		return nil, false
	}
	f.users++
	return f, true
}
