package content

import (
	"context"
	"errors"

	"github.com/causeway-bt/causeway/client/disk"
)

// Drop gives up the pieces that are open, and their memory.
func (c *Content) Drop() {
	for index, piece := range c.pieces {
		if piece.Drop() {
			delete(c.pieces, index)
		}
	}
}

// Wait waits for the disk: pieces that are still being written, and saves under way.
// Drop comes before it. It is for any goroutine.
func (c *Content) Wait() {
	c.storage.Wait()
	c.tasks.Wait()
}

// Last returns the state to be saved for good, nil if there is nothing new. It comes
// after Wait, and after it the event loop has nothing more to do with the Content.
func (c *Content) Last() *disk.State {
	if c.Picker == nil {
		return nil
	}
	_, uploaded := c.host.Counters()
	changed := c.state.dirty || c.state.saving || c.state.syncing || c.state.syncNext || uploaded > c.state.sentBefore
	if !c.keepsState() || (!changed && c.wantedLeft == 0) {
		return nil
	}
	return c.snapshot(true)
}

// Late takes in a piece that ended after Drop.
func (c *Content) Late(r disk.Result) {
	delete(c.pieces, r.Piece)
	if r.OK && c.Picker != nil {
		c.verified.Load().add(r.Piece)
		c.state.dirty = true
	}
}

// Close saves the last state, if there is one, and closes the files. It is for any
// goroutine.
func (c *Content) Close(last *disk.State) error {
	defer c.storage.Close()
	if last == nil {
		return nil
	}
	if err := c.patiently(func() error { return c.store(last) }); err != nil {
		return err
	}
	// It is saved; a kill from now on costs nothing.
	return c.patiently(func() error { return c.storeSynced(*last) })
}

// Move brings the files to another folder while they are used; see disk.Storage.Move.
// When that fails they are brought back, unless the torrent is ending: then the next run
// finishes it. It is for any goroutine.
func (c *Content) Move(ctx context.Context, dir string) error {
	err := c.patiently(func() error { return c.storage.Move(ctx, dir) })
	select {
	case <-c.cfg.Ended:
		return err
	default:
	}
	if err == nil {
		return nil
	}
	ending, cancel := context.WithCancel(context.Background())
	defer cancel()
	return errors.Join(err, c.patiently(func() error {
		go func() {
			select {
			case <-c.cfg.Ended:
				cancel()
			case <-ending.Done():
			}
		}()
		return c.storage.MoveBack(ending, dir)
	}))
}

// Remove removes what the torrent made on disk, with data also its own files, and
// returns those that it kept: see disk.Storage.Remove. Only Close may follow.
func (c *Content) Remove(ctx context.Context, data bool) (kept []string, err error) {
	result := make(chan []string, 1)
	err = c.patiently(func() error {
		kept, err := c.storage.Remove(ctx, data)
		result <- kept
		return err
	})
	select {
	case kept = <-result:
	default: // it hangs
	}
	return kept, err
}
