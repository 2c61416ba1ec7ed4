package mount

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/stream/media"
	"github.com/causeway-bt/causeway/stream/window"
)

const (
	// maxCursors bounds the places in one file that are read in order at a time; one more
	// takes that which was used last the longest ago.
	maxCursors = 8
	// nearby is how far a read may be from a cursor's position and still go on with what
	// it reads, in bytes: the kernel reads ahead, and not in order.
	nearby = 1 << 20
	// cursorRests is after what time without a read nothing more is fetched for a place,
	// once another is read.
	cursorRests = 10 * time.Second
	// windowStep: changes of less than an eighth are not told to the reader.
	windowStep = 8
	// looks is how often within the timeout it is looked whether a piece grows.
	looks = 8
	// maxTimeouts bounds how long a read waits for a piece that grows, in timeouts.
	maxTimeouts = 20
	// failureLasts is for how long a place that has just timed out fails at once: the
	// kernel tries what it read ahead again, page by page.
	failureLasts = time.Second
)

// errTimeout is why a read fails.
var errTimeout = errors.New("no peer sends it")

// file is an open file. All who have it open share it.
type file struct {
	fs      *FS
	entry   entry
	torrent Torrent
	index   int
	info    File
	users   int // guarded by fs.mu

	ctx    context.Context
	cancel context.CancelFunc
	base   Reader // the first cursor's, that also waits and reads for all

	mu      sync.Mutex
	cursors []*cursor
	whole   bool // all of it was there
	tried   bool // to find the bitrate
	bitrate float64
	failed  failure
	backing backing
	closed  bool
}

// cursor is one place that is read in order, with the engine's reader for it.
type cursor struct {
	reader Reader
	pos    int64 // up to here it was read
	run    int64 // bytes read in order
	window int64 // last told to the reader
	used   time.Time
	meter  window.Meter
}

// failure is where a read has timed out last.
type failure struct {
	off int64
	at  time.Time
}

// openFile opens a file, or shares it with those who have it open.
func (fs *FS) openFile(e entry) (*file, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return nil, os.ErrClosed
	}
	if f := fs.open[e]; f != nil {
		f.users++
		return f, nil
	}
	f := &file{fs: fs, entry: e, torrent: e.branch.torrent, index: e.index(), info: e.file(), users: 1}
	f.ctx, f.cancel = context.WithCancel(fs.ctx)
	var err error
	if f.base, err = f.torrent.Open(f.ctx, f.index); err != nil {
		f.cancel()
		return nil, err
	}
	f.cursors = []*cursor{{reader: f.base}}
	fs.open[e] = f
	return f, nil
}

// release is the opposite of openFile.
func (f *file) release() {
	f.fs.mu.Lock()
	f.users--
	last := f.users == 0 && !f.fs.closed
	if last {
		delete(f.fs.open, f.entry)
	}
	f.fs.mu.Unlock()
	if last {
		f.close()
	}
}

// close ends all that waits. fs.mu is not held: who holds f.mu may want it.
func (f *file) close() {
	f.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, c := range f.cursors {
		if err := c.reader.Close(); err != nil {
			f.fs.log.Debug("closing a reader", "file", f.entry.name(), "err", err)
		}
	}
	f.backing.close()
}

// isWhole reports whether all of the file is there.
func (f *file) isWhole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = f.whole || f.torrent.Completed(f.index) == f.info.Length
	return f.whole
}

// readAt fills p with what is at off, and waits for what is not there; at the end of the
// file it may return less, and io.EOF with nothing.
func (f *file) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off >= f.info.Length {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), f.info.Length-off)]
	f.follow(off, int64(len(p)))
	return f.fill(ctx, p, off)
}

// fill is readAt without moving windows.
func (f *file) fill(ctx context.Context, p []byte, off int64) (done int, err error) {
	for done < len(p) {
		at := off + int64(done)
		n, err := f.base.ReadNow(p[done:], at)
		done += n
		if err == nil && n == 0 {
			err = f.await(ctx, at)
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// section is readAt of what is on disk already, by where n bytes of it are. If it is ok,
// fs.wg has to be told once on has been read.
func (f *file) section(off, size int64) (on *os.File, fileOff int64, n int, ok bool) {
	size = min(size, f.info.Length-off)
	if size <= 0 || !f.fs.begin() {
		return nil, 0, 0, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		var avail int64
		if on, fileOff, avail, ok = f.base.Section(off, size); ok && avail >= size {
			f.followLocked(off, size)
			return on, fileOff, int(size), true
		}
	}
	f.fs.wg.Done()
	return nil, 0, 0, false
}

// await waits until the byte at off is there. It fails when for the timeout nothing of its
// piece has come.
func (f *file) await(ctx context.Context, off int64) error {
	f.mu.Lock()
	f.whole = false // it was, with a cache
	failed := f.failed
	f.mu.Unlock()
	now := time.Now()
	if failed.off == off && now.Sub(failed.at) < failureLasts {
		return errTimeout
	}
	timeout := f.fs.cfg.Timeout
	began, grew, size := now, now, f.torrent.Arrived(f.index, off)
	for {
		look, cancel := context.WithTimeoutCause(ctx, timeout/looks, errTimeout)
		err := f.base.Await(look, off)
		cancel()
		if !errors.Is(err, errTimeout) {
			return err
		}
		now := time.Now()
		if arrived := f.torrent.Arrived(f.index, off); arrived != size {
			grew, size = now, arrived
		}
		if now.Sub(grew) >= timeout || now.Sub(began) >= maxTimeouts*timeout {
			f.mu.Lock()
			f.failed = failure{off, time.Now()}
			f.mu.Unlock()
			return errTimeout
		}
	}
}

// follow takes in that n bytes at off are read, and tells the engine what is wanted next.
func (f *file) follow(off, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followLocked(off, n)
}

func (f *file) followLocked(off, n int64) {
	if f.whole || f.closed {
		return // nothing is lacking
	}
	now := time.Now()
	c := f.cursorAt(off)
	end := off + n
	if fresh := min(end-c.pos, n); fresh > 0 {
		c.run += fresh
		c.pos = end
		c.meter.Add(fresh, now)
	}
	c.used = now
	for _, other := range f.cursors {
		if other.window > 0 && now.Sub(other.used) > cursorRests {
			other.reader.SetWindow(0)
			other.window = 0
		}
	}
	wanted := window.Demand{
		// As much as was read in order before: who reads on gets more and more of it, and
		// who looks at heads and tails pays for no more than that.
		Asked: c.run - n, Probe: c.run < window.ProbeSize,
		Remaining: f.info.Length - c.pos, PieceLength: f.torrent.PieceLength(),
		Bitrate: f.bitrate, ReadRate: c.meter.At(now), Ahead: window.Ahead,
	}.Window()
	wanted = max(min(wanted, f.info.Length-c.pos), 0)
	if _, err := c.reader.Seek(c.pos, io.SeekStart); err != nil {
		f.fs.log.Debug("moving a reader", "err", err)
	}
	if c.run < window.ProbeSize || max(wanted-c.window, c.window-wanted) > c.window/windowStep {
		c.reader.SetWindow(wanted)
		c.window = wanted
	}
	if c.run >= window.ProbeSize && !f.tried {
		f.tried = true
		f.findBitrate()
	}
}

// cursorAt returns the cursor that a read at off goes on with, or one for a new place.
// f.mu is held.
func (f *file) cursorAt(off int64) *cursor {
	for _, c := range f.cursors {
		if c.run > 0 && off >= c.pos-nearby && off <= c.pos+nearby {
			return c
		}
	}
	oldest := slices.MinFunc(f.cursors, func(a, b *cursor) int { return a.used.Compare(b.used) })
	if oldest.run > 0 && len(f.cursors) < maxCursors {
		if r, err := f.torrent.Open(f.ctx, f.index); err == nil {
			oldest = &cursor{reader: r}
			f.cursors = append(f.cursors, oldest)
		}
	}
	*oldest = cursor{reader: oldest.reader, pos: off, window: oldest.window}
	return oldest
}

// findBitrate reads the file's bitrate from its header, beside all else. f.mu is held.
func (f *file) findBitrate() {
	name := f.entry.name()
	if !media.HasDuration(name) || !f.fs.begin() {
		return
	}
	go func() {
		defer f.fs.wg.Done()
		defer func() { // what is parsed was written by strangers
			if fault := recover(); fault != nil {
				f.fs.log.Error("panic; please report this", "reading the bitrate of", name, "panic", fault, "stack", string(debug.Stack()))
			}
		}()
		rate, err := window.Bitrate(io.NewSectionReader(readerAt{f}, 0, f.info.Length), f.info.Length, name)
		if err != nil {
			f.fs.log.Debug("no bitrate", "file", name, "err", err)
			return
		}
		f.mu.Lock()
		f.bitrate = rate
		f.mu.Unlock()
	}()
}

// readerAt reads a file without moving its windows.
type readerAt struct{ f *file }

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	p = p[:min(int64(len(p)), max(r.f.info.Length-off, 0))]
	return r.f.fill(r.f.ctx, p, off)
}
