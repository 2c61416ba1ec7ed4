package stream

import (
	"context"
	"sync"

	"github.com/causeway-bt/causeway/stream/media"
	"github.com/causeway-bt/causeway/stream/window"
)

// maxBitrates bounds the remembered bitrates; a forgotten one is read again.
const maxBitrates = 1024

type fileKey struct {
	infohash string
	index    int
}

// bitrates reads each open file's bitrate from its container's header, once and
// beside the responses, for the header may be at the end of the file.
type bitrates struct {
	start func(ctx context.Context, f File, done func(rate float64)) bool

	mu    sync.Mutex
	files map[fileKey]*bitrate
}

type bitrate struct {
	rate   float64 // bytes per second; 0 if unknown
	known  bool    // or known to be unknowable
	users  int
	cancel context.CancelFunc
}

// acquire starts reading a file's bitrate unless that was done. The caller
// releases it, and the last release ends a reading that has not finished.
func (b *bitrates) acquire(ctx context.Context, key fileKey, f File) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r, ok := b.files[key]; ok {
		r.users++
		return
	}
	b.makeRoom()
	ctx, cancel := context.WithCancel(ctx)
	r := &bitrate{users: 1, cancel: cancel}
	b.files[key] = r
	started := b.start(ctx, f, func(rate float64) {
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		r.rate, r.known = rate, true
	})
	if !started {
		cancel()
		r.known = true
	}
}

// makeRoom forgets the bitrates that nobody uses once there are too many.
func (b *bitrates) makeRoom() {
	if b.files == nil {
		b.files = make(map[fileKey]*bitrate)
	}
	if len(b.files) < maxBitrates {
		return
	}
	for key, r := range b.files {
		if r.users == 0 {
			delete(b.files, key)
		}
	}
}

func (b *bitrates) release(key fileKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.files[key]
	if r.users--; r.users == 0 && !r.known {
		r.cancel()
		delete(b.files, key)
	}
}

// of returns a file's bitrate in bytes per second, or 0 while it is unknown.
func (b *bitrates) of(key fileKey) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.files[key]; r != nil {
		return r.rate
	}
	return 0
}

// probe reads a file's bitrate through a reader of its own, without a window, and
// reports whether it will call done.
func (s *Server) probe(ctx context.Context, f File, done func(float64)) bool {
	if !media.HasDuration(f.Path()) || !s.begin() {
		return false
	}
	go func() {
		defer s.wg.Done()
		rate, err := s.guardedBitrate(ctx, f)
		if err != nil {
			s.log.Debug("no bitrate", "file", f.Path(), "err", err)
		}
		done(rate)
	}()
	return true
}

// guardedBitrate outlives a panic: what is parsed was written by strangers.
func (s *Server) guardedBitrate(ctx context.Context, f File) (rate float64, err error) {
	defer func() { err = s.recovered(recover(), "reading the bitrate of "+f.Path(), err) }()
	return readBitrate(ctx, f)
}

func readBitrate(ctx context.Context, f File) (float64, error) {
	r, err := f.Open(ctx)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return window.Bitrate(r, f.Length(), f.Path())
}

// Bitrate returns a file's average bitrate in bytes per second as its container's
// header tells, or 0 if that is unknown, or has not been read for want of
// an open response.
func (s *Server) Bitrate(t Torrent, index int) float64 {
	return s.rates.of(fileKey{t.InfoHash(), index})
}
