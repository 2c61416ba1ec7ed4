package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
)

// Readers are those who read a torrent's files while they are fetched. They outlive
// the Content: a torrent that is stopped and started again is read on. Its methods may
// be called from any goroutine.
type Readers struct {
	changed func() // tells the event loop that readers have moved
	current atomic.Pointer[Content]

	mu       sync.Mutex
	readers  []*Reader
	prefetch []int         // files whose head and tail are wanted first
	progress chan struct{} // closed, and replaced, when there is something to look at
	err      error         // why nothing can be read
}

// NewReaders returns no readers. changed must not wait.
func NewReaders(changed func()) *Readers {
	return &Readers{changed: changed, progress: make(chan struct{})}
}

// Use makes the readers read from a Content (nil: from none for now).
func (rs *Readers) Use(c *Content) {
	rs.current.Store(c)
	rs.Wake()
}

// SetErr makes reading what is not at hand fail (nil: wait again).
func (rs *Readers) SetErr(err error) {
	rs.mu.Lock()
	rs.err = err
	rs.mu.Unlock()
	rs.Wake()
}

// Wake lets the readers look again: pieces were verified.
func (rs *Readers) Wake() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	close(rs.progress)
	rs.progress = make(chan struct{})
}

// look returns a channel that is closed when there is something new to look at, and
// why nothing can be read.
func (rs *Readers) look() (<-chan struct{}, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.progress, rs.err
}

// Prefetch asks for the head and the tail of a file before the rest: what a player
// looks at to find out what the file is.
func (rs *Readers) Prefetch(file int) {
	rs.mu.Lock()
	rs.prefetch = append(rs.prefetch, file)
	rs.mu.Unlock()
	rs.changed()
}

// byUrgency returns the readers: those that are held up first, the longest first.
func (rs *Readers) byUrgency() []*Reader {
	readers := slices.Clone(rs.readers)
	slices.SortStableFunc(readers, func(a, b *Reader) int {
		switch {
		case a.held() == b.held():
			return a.heldSince.Compare(b.heldSince)
		case a.held():
			return -1
		default:
			return 1
		}
	})
	return readers
}

// Reader reads one file of a torrent in order, waiting for what is not there yet. What
// it is about to read is asked of peers before all else. One goroutine uses it at a
// time.
type Reader struct {
	of     *Readers
	ctx    context.Context
	info   *meta.Info
	file   int
	start  int64 // of the file in the torrent, bytes
	length int64
	handle *os.File // for Section

	// Shared with the event loop, guarded by of.mu.
	pos       int64     // in the file
	window    int64     // bytes wanted ahead of pos
	heldSince time.Time // a Read or an Await is held up; zero if none is
	waits     []*wait   // of Await
}

func (r *Reader) held() bool { return !r.heldSince.IsZero() }

// Open returns a reader of a file, by its index in info.Files, at position 0 and with a
// window of 0. When ctx ends, Read returns its error.
func (rs *Readers) Open(ctx context.Context, info *meta.Info, file int) (*Reader, error) {
	if info == nil || file < 0 || file >= len(info.Files) {
		return nil, fmt.Errorf("the torrent has no file %d", file)
	}
	f := &info.Files[file]
	r := &Reader{of: rs, ctx: ctx, info: info, file: file, start: f.Offset, length: f.Length}
	rs.mu.Lock()
	rs.readers = append(rs.readers, r)
	rs.mu.Unlock()
	return r, nil
}

// Read reads verified bytes at the position, and waits until there are some.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.pos >= r.length {
		return 0, io.EOF
	}
	for {
		progress, gone := r.of.look()
		if n := min(r.available(r.pos, int64(len(p))), int64(len(p))); n > 0 {
			err := r.of.current.Load().readAt(p[:n], r.start+r.pos)
			if errors.Is(err, disk.ErrEvicted) {
				continue // the loop was quicker; by now the piece counts as lacking
			}
			if err != nil {
				return 0, err
			}
			r.update(func() { r.pos, r.heldSince = r.pos+n, time.Time{} })
			return int(n), nil
		}
		if gone != nil {
			return 0, gone
		}
		r.update(func() {
			if !r.held() {
				r.heldSince = time.Now()
			}
		})
		select {
		case <-progress:
		case <-r.ctx.Done():
			r.update(func() { r.heldSince = time.Time{} })
			return 0, r.ctx.Err()
		}
	}
}

func (c *Content) readAt(p []byte, off int64) error {
	if c == nil {
		return disk.ErrClosed
	}
	return c.storage.ReadAt(p, off)
}

// update changes the reader, and tells the loop if it matters to it.
func (r *Reader) update(change func()) {
	r.of.mu.Lock()
	before, held := r.pieces(), r.held()
	change()
	changed := r.pieces() != before || r.held() != held
	r.of.mu.Unlock()
	if changed {
		r.of.changed()
	}
}

// pieces returns the pieces in which the reader's window begins and ends.
func (r *Reader) pieces() [2]int64 {
	from := r.start + r.pos
	return [2]int64{from / r.info.PieceLength, (from + r.window) / r.info.PieceLength}
}

// available returns how many verified bytes there are from off on without a gap, up
// to about limit.
func (r *Reader) available(off, limit int64) int64 {
	c := r.of.current.Load()
	if c == nil {
		return 0
	}
	verified, pieceLength := c.Verified(), r.info.PieceLength
	at, end := r.start+off, r.start+min(r.length, off+limit)
	for at < end && verified.Has(int(at/pieceLength)) {
		at = (at/pieceLength + 1) * pieceLength
	}
	return max(min(at, end)-r.start-off, 0)
}

// Seek implements io.Seeker. The window moves along.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.length
	}
	if offset < 0 {
		return 0, errors.New("seeking to a negative position")
	}
	r.update(func() { r.pos = offset })
	return offset, nil
}

// SetWindow says how many bytes ahead of the position are wanted soon. At 0,
// nothing is wanted but what a Read waits for. It returns for how many of them there is
// room: with a cache, each reader has its share.
func (r *Reader) SetWindow(bytes int64) int64 {
	r.update(func() { r.window = bytes })
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	return min(bytes, r.of.current.Load().windowLimit())
}

// Buffered returns how many verified bytes there are ahead of the position without
// a gap.
func (r *Reader) Buffered() int64 { return r.available(r.pos, r.length) }

// Section finds verified bytes on disk, to be sent by the kernel: f holds those of
// [off, off+avail) at fileOff. f is this reader's own and is closed with it.
func (r *Reader) Section(off, n int64) (f *os.File, fileOff, avail int64, ok bool) {
	avail = min(r.available(off, n), n)
	c := r.of.current.Load()
	if avail <= 0 || c == nil {
		return nil, 0, 0, false
	}
	if err := c.storage.Fresh(r.file); err != nil {
		return nil, 0, 0, false // somebody wrote to it: Read finds out what is right
	}
	if avail = min(r.available(off, n), n); avail <= 0 {
		return nil, 0, 0, false
	}
	if r.handle == nil {
		path, ok := c.OwnFile(r.file)
		if !ok {
			return nil, 0, 0, false
		}
		var err error
		if r.handle, err = os.Open(path); err != nil {
			return nil, 0, 0, false
		}
	}
	return r.handle, off, avail, true
}

// Close ends the reader; what was wanted for it is no longer wanted first.
func (r *Reader) Close() error {
	r.of.mu.Lock()
	at := slices.Index(r.of.readers, r)
	if at >= 0 {
		r.of.readers = slices.Delete(r.of.readers, at, at+1)
	}
	r.of.mu.Unlock()
	if at < 0 {
		return nil
	}
	r.of.changed()
	if r.handle != nil {
		return r.handle.Close()
	}
	return nil
}
