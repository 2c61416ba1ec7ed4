package allot

import (
	"context"
	"sync/atomic"
)

// Turns lets so many do something at a time; the rest wait in the order they came.
type Turns struct{ places chan struct{} }

// NewTurns returns n places.
func NewTurns(n int) *Turns { return &Turns{make(chan struct{}, n)} }

// Take waits for a turn. Unless it fails, with the context's error, Done is to be
// called when the turn is over.
func (t *Turns) Take(ctx context.Context) error {
	select {
	case t.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done ends a turn.
func (t *Turns) Done() { <-t.places }

// Budget bounds how many bytes something may take.
type Budget struct {
	limit int64
	taken atomic.Int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Take takes n bytes, unless there are not so many left.
func (b *Budget) Take(n int64) bool {
	if b.taken.Add(n) <= b.limit {
		return true
	}
	b.taken.Add(-n)
	return false
}

// Release gives n bytes back.
func (b *Budget) Release(n int64) { b.taken.Add(-n) }

// Taken returns how many bytes are taken.
func (b *Budget) Taken() int64 { return b.taken.Load() }
