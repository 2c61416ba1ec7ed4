package stream

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/causeway-bt/causeway/stream/subtitle"
)

const (
	// maxMaking bounds how many pages and playlists are made at once, and how many
	// subtitles are converted: a torrent of many files, or a file of many lines, takes a
	// while and tens of MiB.
	maxMaking = 2
	// maxHeld bounds the subtitle files in memory, and what was made and waits for
	// clients to take it, in bytes; a single one may be larger.
	maxHeld = 8 * subtitle.MaxSize
)

// turns bounds what is done at once.
type turns chan struct{}

func newTurns() turns { return make(turns, maxMaking) }

// serveMade answers with what build makes when it is its turn, or with an error if that
// fails; serve gets the text.
func (s *Server) serveMade(w http.ResponseWriter, r *http.Request, at turns, build func() ([]byte, error), serve func(text []byte)) {
	text, err := at.take(r, build)
	limitAnswer(w)
	if err != nil {
		s.log.Warn("answer not made", "path", r.URL.Path, "err", err)
		http.Error(w, "this cannot be made of what the torrent has", http.StatusUnprocessableEntity)
		return
	}
	size := int64(len(text))
	if !s.held.take(size) {
		busy(w, "too many answers are being sent; try again")
		return
	}
	defer s.held.give(size)
	serve(text)
}

func (t turns) take(r *http.Request, build func() ([]byte, error)) ([]byte, error) {
	select {
	case t <- struct{}{}:
		defer func() { <-t }()
		return build()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// heldBytes counts bytes up to maxHeld.
type heldBytes struct{ n atomic.Int64 }

func (h *heldBytes) take(n int64) bool {
	if sum := h.n.Add(n); sum > maxHeld && sum > n {
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
