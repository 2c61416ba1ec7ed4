package content

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
)

// wait is one that waits for a byte, beside the reader's position.
type wait struct{ off int64 } // in the file

// ReadNow reads as many of the bytes from off on as there are, without waiting and
// without moving the position: 0 if the first is not there, io.EOF at the end. It may be
// called from any goroutine.
func (r *Reader) ReadNow(p []byte, off int64) (int, error) {
	if off >= r.length {
		return 0, io.EOF
	}
	for len(p) > 0 {
		n := min(r.available(off, int64(len(p))), int64(len(p)))
		if n == 0 {
			return 0, nil
		}
		err := r.of.current.Load().readAt(p[:n], r.start+off)
		if errors.Is(err, disk.ErrEvicted) {
			continue // the loop was quicker; by now the piece counts as lacking
		}
		if err != nil {
			return 0, err
		}
		return int(n), nil
	}
	return 0, nil
}

// Await waits until the byte at off is there. It is then asked of peers before all else,
// as what a Read waits for, wherever the position is. It may be called from any
// goroutine, several times at once.
func (r *Reader) Await(ctx context.Context, off int64) error {
	if off >= r.length {
		return nil
	}
	var w *wait
	defer func() {
		if w != nil {
			r.stopWaiting(w)
		}
	}()
	for {
		progress, gone := r.of.look()
		if r.available(off, 1) > 0 {
			return nil
		}
		if gone != nil {
			return gone
		}
		if w == nil {
			w = r.waitAt(off)
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
}

func (r *Reader) waitAt(off int64) *wait {
	w := &wait{off}
	r.of.mu.Lock()
	r.waits = append(r.waits, w)
	if !r.held() {
		r.heldSince = time.Now()
	}
	r.of.mu.Unlock()
	r.of.changed()
	return w
}

func (r *Reader) stopWaiting(w *wait) {
	r.of.mu.Lock()
	r.waits = slices.DeleteFunc(r.waits, func(other *wait) bool { return other == w })
	if len(r.waits) == 0 {
		r.heldSince = time.Time{}
	}
	r.of.mu.Unlock()
	r.of.changed()
}

// heldAt yields the places, in the torrent, at which a reader is held up. The readers'
// lock is held.
func (r *Reader) heldAt(yield func(int64) bool) {
	if len(r.waits) == 0 && r.held() && r.pos < r.length {
		yield(r.start + r.pos)
		return
	}
	for _, w := range r.waits {
		if !yield(r.start + w.off) {
			return
		}
	}
}

// Arrived returns how many blocks of an open piece are there, 0 of one that is not open.
func (c *Content) Arrived(piece int) int {
	if p := c.pieces[piece]; p != nil {
		return p.Present()
	}
	return 0
}

// CompletedOf returns how many bytes of a file are verified. It is for any goroutine.
func (c *Content) CompletedOf(file int) (bytes int64) {
	verified, f := c.Verified(), &c.info.Files[file]
	if verified == nil {
		return 0
	}
	for p, end := disk.PieceRange(c.info, file); p < end; p++ {
		if verified.Has(p) {
			from := int64(p) * c.info.PieceLength
			bytes += min(from+c.info.PieceSize(p), f.Offset+f.Length) - max(from, f.Offset)
		}
	}
	return bytes
}
