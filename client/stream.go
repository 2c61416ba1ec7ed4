package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
)

// FileReader reads one file of a torrent in order, waiting for what is not there
// yet. What it is about to read is asked of peers before all else. One goroutine
// uses it at a time.
type FileReader struct {
	t      *Torrent
	ctx    context.Context
	file   int
	start  int64 // of the file in the torrent, bytes
	length int64
	handle *os.File // for Section

	// Shared with the event loop, guarded by t.streams.mu.
	pos       int64     // in the file
	window    int64     // bytes wanted ahead of pos
	heldSince time.Time // a Read is held up; zero if none is
}

func (r *FileReader) held() bool { return !r.heldSince.IsZero() }

// streams are the readers of a torrent.
type streams struct {
	mu       sync.Mutex
	readers  []*FileReader
	prefetch []int         // files whose head and tail are wanted first
	progress chan struct{} // closed, and replaced, when pieces were verified
}

func newStreams() streams {
	return streams{progress: make(chan struct{})}
}

// byUrgency returns the readers: those that are held up first, the longest first.
func (s *streams) byUrgency() []*FileReader {
	readers := slices.Clone(s.readers)
	slices.SortStableFunc(readers, func(a, b *FileReader) int {
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

// OpenFile returns a reader of a file, by its index in Info().Files, at position 0
// and with a window of 0. It may be called after GotInfo. When ctx ends, Read
// returns its error.
func (t *Torrent) OpenFile(ctx context.Context, file int) (*FileReader, error) {
	info := t.Info()
	if info == nil || file < 0 || file >= len(info.Files) {
		return nil, fmt.Errorf("the torrent has no file %d", file)
	}
	f := &info.Files[file]
	r := &FileReader{t: t, ctx: ctx, file: file, start: f.Offset, length: f.Length}
	t.streams.mu.Lock()
	t.streams.readers = append(t.streams.readers, r)
	t.streams.mu.Unlock()
	return r, nil
}

// Prefetch asks for the head and the tail of a file before the rest: what a player
// looks at to find out what the file is.
func (t *Torrent) Prefetch(file int) {
	if info := t.Info(); info == nil || file < 0 || file >= len(info.Files) {
		return
	}
	t.streams.mu.Lock()
	t.streams.prefetch = append(t.streams.prefetch, file)
	t.streams.mu.Unlock()
	t.streamsChanged()
}

// streamsChanged makes the loop look at the readers.
func (t *Torrent) streamsChanged() { t.mail.streamsChanged() }

// Read reads verified bytes at the position, and waits until there are some.
func (r *FileReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.pos >= r.length {
		return 0, io.EOF
	}
	for {
		progress := r.t.progress()
		if n := min(r.available(r.pos, int64(len(p))), int64(len(p))); n > 0 {
			err := r.t.storage.Load().ReadAt(p[:n], r.start+r.pos)
			if errors.Is(err, disk.ErrEvicted) {
				continue // the loop was quicker; by now the piece counts as lacking
			}
			if err != nil {
				return 0, err
			}
			r.update(func() { r.pos, r.heldSince = r.pos+n, time.Time{} })
			return int(n), nil
		}
		r.update(func() {
			if !r.held() {
				r.heldSince = time.Now()
			}
		})
		if err := r.wait(progress); err != nil {
			r.update(func() { r.heldSince = time.Time{} })
			return 0, err
		}
	}
}

func (r *FileReader) wait(progress <-chan struct{}) error {
	select {
	case <-progress:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-r.t.failed.ch:
		return r.t.err
	case <-r.t.ctx.Done():
		return ErrClosed
	}
}

// progress returns a channel that is closed when further pieces were verified.
func (t *Torrent) progress() <-chan struct{} {
	t.streams.mu.Lock()
	defer t.streams.mu.Unlock()
	return t.streams.progress
}

// update changes the reader, and tells the loop if it matters to it.
func (r *FileReader) update(change func()) {
	r.t.streams.mu.Lock()
	before, held := r.pieces(), r.held()
	change()
	changed := r.pieces() != before || r.held() != held
	r.t.streams.mu.Unlock()
	if changed {
		r.t.streamsChanged()
	}
}

// pieces returns the pieces in which the reader's window begins and ends.
func (r *FileReader) pieces() [2]int64 {
	from := r.start + r.pos
	pieceLength := r.t.Info().PieceLength
	return [2]int64{from / pieceLength, (from + r.window) / pieceLength}
}

// available returns how many verified bytes there are from off on without a gap, up
// to about limit.
func (r *FileReader) available(off, limit int64) int64 {
	info, verified := r.t.Info(), r.t.verified.Load()
	at, end := r.start+off, r.start+min(r.length, off+limit)
	for at < end && verified.has(int(at/info.PieceLength)) {
		at = (at/info.PieceLength + 1) * info.PieceLength
	}
	return max(min(at, end)-r.start-off, 0)
}

// Seek implements io.Seeker. The window moves along.
func (r *FileReader) Seek(offset int64, whence int) (int64, error) {
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
func (r *FileReader) SetWindow(bytes int64) int64 {
	r.update(func() { r.window = bytes })
	r.t.streams.mu.Lock()
	defer r.t.streams.mu.Unlock()
	return min(bytes, r.t.windowLimit())
}

// Buffered returns how many verified bytes there are ahead of the position without
// a gap.
func (r *FileReader) Buffered() int64 { return r.available(r.pos, r.length) }

// Section finds verified bytes on disk, to be sent by the kernel: f holds those of
// [off, off+avail) at fileOff. f is this reader's own and is closed with it.
func (r *FileReader) Section(off, n int64) (f *os.File, fileOff, avail int64, ok bool) {
	avail = min(r.available(off, n), n)
	if avail <= 0 {
		return nil, 0, 0, false
	}
	if r.handle == nil {
		path, ok := r.t.storage.Load().OwnFile(r.file)
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
func (r *FileReader) Close() error {
	r.t.streams.mu.Lock()
	at := slices.Index(r.t.streams.readers, r)
	if at >= 0 {
		r.t.streams.readers = slices.Delete(r.t.streams.readers, at, at+1)
	}
	r.t.streams.mu.Unlock()
	if at < 0 {
		return nil
	}
	r.t.streamsChanged()
	if r.handle != nil {
		return r.handle.Close()
	}
	return nil
}

// wakeReaders lets the readers look again: pieces were verified.
func (t *Torrent) wakeReaders() {
	t.streams.mu.Lock()
	defer t.streams.mu.Unlock()
	close(t.streams.progress)
	t.streams.progress = make(chan struct{})
}

const (
	// edgeMax bounds the head and the tail of a file that are fetched first, in
	// bytes; below it they are a hundredth of the file, and at least one piece.
	edgeMax   = 8 << 20
	edgeShare = 100
	// deadlineSlack is how much later than expected a piece may come before its
	// blocks are asked of further peers.
	deadlineSlack = 300 * time.Millisecond
	// maxDeadlines bounds the pieces with deadlines; those farther ahead wait.
	maxDeadlines = 4096
)

// schedule gives deadlines to the pieces that readers wait for or will soon want:
// the next piece of each reader first, then the second of each, and so on. moved says
// that readers have moved.
func (t *Torrent) schedule(now time.Time, moved bool) {
	l := &t.loop
	if l.phase != phaseLive {
		return
	}
	wants, held := t.wantedByReaders()
	if t.opts.Cache > 0 {
		wants = t.makeRoom(wants, held)
	}
	deadlines := make(map[int]time.Time, len(wants))
	pieceTime := t.expectedPieceTime()
	for rank, piece := range wants {
		t.wantPiece(piece)
		deadlines[piece] = now.Add(time.Duration(rank+1)*pieceTime + deadlineSlack)
	}
	l.deadlines = deadlines
	l.picker.SetDeadlines(deadlines)
	l.streaming = len(deadlines) > 0
	if moved && held > 0 && l.picker.DeadlineServed() {
		t.cancelOthers(deadlines)
	}
	t.requestAll(now)
}

// expectedPieceTime is how long a piece takes at the torrent's present rate.
func (t *Torrent) expectedPieceTime() time.Duration {
	var rate float64
	for p := range t.loop.peers {
		rate += p.window.rate
	}
	if rate < 1 {
		return time.Second
	}
	return time.Duration(float64(t.Info().PieceLength) / rate * float64(time.Second))
}

// wantedByReaders returns the lacking pieces in the readers' windows, the most
// urgent first, then those to be prefetched; and how many of the first of them hold
// readers up.
func (t *Torrent) wantedByReaders() (pieces []int, held int) {
	info, verified := t.Info(), t.verified.Load()
	t.streams.mu.Lock()
	defer t.streams.mu.Unlock()
	var positions, ranges, prefetch [][2]int // of pieces, end exclusive
	limit := t.windowLimit()
	for _, r := range t.streams.byUrgency() {
		if r.pos >= r.length || (r.window == 0 && !r.held()) {
			continue
		}
		from := r.start + r.pos
		to := min(from+max(min(r.window, limit), 1), r.start+r.length)
		ranges = append(ranges, piecesOf(info, from, to))
		if r.held() {
			positions = append(positions, piecesOf(info, from, from+1))
		}
	}
	for _, file := range t.streams.prefetch {
		prefetch = append(prefetch, edges(info, file)...)
	}
	if t.opts.Cache > 0 && len(t.streams.readers) > 0 {
		t.streams.prefetch = nil // what was evicted is not fetched for nobody
	}
	pieces = appendInTurns(pieces, positions, verified)
	held = len(pieces)
	pieces = appendInTurns(pieces, ranges, verified)
	return appendInTurns(pieces, prefetch, verified), held
}

// appendInTurns appends the lacking pieces of ranges that are not there yet: the
// first of each, then the second of each, and so on.
func appendInTurns(pieces []int, ranges [][2]int, verified *pieceSet) []int {
	seen := make(map[int]bool, len(pieces))
	for _, piece := range pieces {
		seen[piece] = true
	}
	for rank, more := 0, true; more && len(pieces) < maxDeadlines; rank++ {
		more = false
		for _, r := range ranges {
			piece := r[0] + rank
			if piece >= r[1] {
				continue
			}
			more = true
			if !seen[piece] && !verified.has(piece) {
				seen[piece] = true
				pieces = append(pieces, piece)
			}
		}
	}
	return pieces
}

// edges returns the pieces of a file's head and tail.
func edges(info *meta.Info, file int) [][2]int {
	f := &info.Files[file]
	if f.Length == 0 {
		return nil
	}
	edge := min(max(min(f.Length/edgeShare, edgeMax), info.PieceLength), f.Length)
	end := f.Offset + f.Length
	return [][2]int{piecesOf(info, f.Offset, f.Offset+edge), piecesOf(info, end-edge, end)}
}

// piecesOf returns the pieces, end exclusive, that the bytes [from, to) of the torrent
// lie in.
func piecesOf(info *meta.Info, from, to int64) [2]int {
	return [2]int{int(from / info.PieceLength), int((to-1)/info.PieceLength) + 1}
}

// wantPiece makes a piece wanted that the selection left out, until giveBack.
func (t *Torrent) wantPiece(piece int) {
	l := &t.loop
	if l.picker.Wants(piece) {
		return
	}
	l.picker.SetWanted(piece, true)
	l.lent[piece] = struct{}{}
	size := t.Info().PieceSize(piece)
	l.wanted += size
	l.wantedLeft += size
	t.countLeft()
	if l.wantedLeft == size {
		t.save(false) // no longer clean: pieces will be written
	}
}

// giveBack makes the pieces unwanted again that only readers wanted, and that have
// left their windows; those that are open are finished first.
func (t *Torrent) giveBack() {
	l := &t.loop
	if l.phase != phaseLive {
		return
	}
	given := false
	for piece := range l.lent {
		_, inWindow := l.deadlines[piece]
		switch {
		case l.picker.Have(piece):
			delete(l.lent, piece)
		case !inWindow && l.pieces[piece] == nil:
			t.unwantPiece(piece)
			given = true
		}
	}
	if given {
		t.checkComplete()
	}
}

// unwantPiece is the opposite of wantPiece, for a piece that is lacking and not open.
func (t *Torrent) unwantPiece(piece int) {
	l := &t.loop
	delete(l.lent, piece)
	if !l.picker.Wants(piece) {
		return
	}
	l.picker.SetWanted(piece, false)
	size := t.Info().PieceSize(piece)
	l.wanted -= size
	l.wantedLeft -= size
	t.countLeft()
	if t.opts.Cache > 0 {
		t.storage.Load().Evict(piece)
	}
	if l.wantedLeft == 0 {
		t.save(false) // clean again
	}
}

// cancelOthers takes back what was asked of peers but is not what readers wait for,
// so that it does not come before it.
func (t *Torrent) cancelOthers(deadlines map[int]time.Time) {
	for p := range t.loop.peers {
		p.mu.Lock()
		cancelled := p.requests.cancelIf(func(r request) bool {
			_, urgent := deadlines[r.piece.Index]
			return !urgent
		})
		p.mu.Unlock()
		for _, r := range cancelled {
			t.takeBack(p, r)
		}
	}
}
