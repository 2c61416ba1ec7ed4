package stream

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/causeway-bt/causeway/stream/subtitle"
)

const (
	// maxMaking bounds how many pages, playlists and subtitles are made at once: a
	// torrent of many files takes a while and tens of MiB.
	maxMaking = 2
	// maxHeld bounds the subtitle files in memory, in bytes.
	maxHeld = 8 * subtitle.MaxSize
)

// make runs what costs time and memory, a few at once, and answers with an error itself
// if that fails.
func (s *Server) make(w http.ResponseWriter, r *http.Request, build func() ([]byte, error)) (text []byte, ok bool) {
	select {
	case s.making <- struct{}{}:
		defer func() { <-s.making }()
	case <-r.Context().Done():
		return nil, false
	}
	text, err := build()
	limitAnswer(w)
	if err != nil {
		s.log.Warn("answer not made", "path", r.URL.Path, "err", err)
		http.Error(w, "this cannot be made of what the torrent has", http.StatusUnprocessableEntity)
		return nil, false
	}
	return text, true
}

// heldBytes counts bytes up to maxHeld.
type heldBytes struct{ n atomic.Int64 }

func (h *heldBytes) take(n int64) bool {
	if h.n.Add(n) > maxHeld {
		h.n.Add(-n)
		return false
	}
	return true
}

func (h *heldBytes) give(n int64) { h.n.Add(-n) }

// recovered turns what recover returned into an error, and logs it: a panic ends what
// it happened in, not the process, and is a bug. Without one it returns err.
func (s *Server) recovered(panicked any, doing string, err error) error {
	if panicked == nil {
		return err
	}
	s.log.Error("panic", "while", doing, "panic", panicked, "stack", string(debug.Stack()))
	return fmt.Errorf("panic while %s: %v", doing, panicked)
}

// logPanic logs a request's panic, and has net/http end its connection.
func (s *Server) logPanic(r *http.Request) {
	if panicked := recover(); panicked != nil {
		_ = s.recovered(panicked, r.Method+" "+r.URL.Path, nil)
		panic(http.ErrAbortHandler)
	}
}
