package meta

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
)

// readSize is how much is read and hashed at a time, in bytes: it stays in the
// cache of a core, and system calls are few enough.
const readSize = 256 << 10

var errNotRegular = errors.New("it is not a regular file")

// extent is where the bytes of one file are in the torrent's data.
type extent struct {
	path    string // "" for zeros that are not on disk
	offset  int64
	length  int64
	present int64 // bytes that are on disk; at most length
}

// layout is the data of a torrent on disk.
type layout struct {
	extents     []extent // by offset, without gaps
	length      int64
	pieceLength int64
}

func (l *layout) pieces() int { return int((l.length-1)/l.pieceLength + 1) }

// readError is a file that could not be read.
type readError struct {
	extent int
	err    error
}

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// errAbsent is a piece some of which is not on disk.
var errAbsent = errors.New("some of the data is missing")

// hashPieces hashes every piece, each by one of the workers (0: one for each
// core), and calls visit for each, from any worker and in any order. err is nil,
// errAbsent or a *readError. It ends early when visit returns an error or ctx
// ends, and then returns that error; no goroutine outlives it. progress may be
// nil and is not called concurrently.
func (l *layout) hashPieces(ctx context.Context, workers int, visit func(piece int, sum []byte, err error) error, progress func(done, total int64)) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	count := l.pieces()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var mu sync.Mutex
	var done int64
	report := func(n int64) {
		if progress == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		done += n
		progress(done, l.length)
	}
	var running sync.WaitGroup
	for range min(workers, count) {
		running.Go(func() {
			reader := &pieceReader{layout: l, buffer: make([]byte, readSize), sum: sha1.New()}
			defer reader.close()
			for ctx.Err() == nil {
				piece := next.Add(1) - 1
				if piece >= int64(count) {
					return
				}
				sum, err := reader.hash(ctx, piece)
				if ctx.Err() != nil {
					return
				}
				if err := visit(int(piece), sum, err); err != nil {
					cancel(err)
					return
				}
				report(min(l.pieceLength, l.length-piece*l.pieceLength))
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// pieceReader reads and hashes pieces for one worker.
type pieceReader struct {
	layout *layout
	buffer []byte
	sum    hash.Hash
	file   *os.File // the open one of extents[index]
	index  int
}

func (r *pieceReader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// hash returns the SHA-1 of a piece, valid until the next call.
func (r *pieceReader) hash(ctx context.Context, piece int64) ([]byte, error) {
	from := piece * r.layout.pieceLength
	to := min(from+r.layout.pieceLength, r.layout.length)
	extents := r.layout.extents
	first := sort.Search(len(extents), func(i int) bool { return extents[i].offset+extents[i].length > from })
	for i := first; i < len(extents) && extents[i].offset < to; i++ {
		if e := &extents[i]; e.path != "" && e.present < min(e.length, to-e.offset) {
			return nil, errAbsent
		}
	}
	r.sum.Reset()
	for i := first; from < to; i++ {
		e := &extents[i]
		end := min(to, e.offset+e.length)
		if err := r.add(ctx, i, from-e.offset, end-e.offset); err != nil {
			return nil, err
		}
		from = end
	}
	return r.sum.Sum(r.buffer[:0]), nil
}

// add hashes the bytes from..to of one file.
func (r *pieceReader) add(ctx context.Context, index int, from, to int64) error {
	path := r.layout.extents[index].path
	switch {
	case from >= to:
		return nil // an empty file need not even be there
	case path == "":
		clear(r.buffer)
	default:
		if err := r.open(index); err != nil {
			return &readError{index, err}
		}
	}
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := r.buffer[:min(int64(len(r.buffer)), to-from)]
		if path != "" {
			n, err := r.file.ReadAt(part, from)
			if n < len(part) {
				if errors.Is(err, io.EOF) {
					err = fmt.Errorf("%s became shorter while it was read", path)
				}
				return &readError{index, err}
			}
		}
		r.sum.Write(part)
		from += int64(len(part))
	}
	return nil
}

func (r *pieceReader) open(index int) error {
	if r.file != nil && r.index == index {
		return nil
	}
	r.close()
	path := r.layout.extents[index].path
	if _, _, err := regularSize(path); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	r.file, r.index = file, index
	return nil
}
