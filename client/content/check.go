package content

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/causeway-bt/causeway/wire"
)

// Check finds out which pieces are there, by what is remembered of them and by hashing.
// It takes its time, and is for any goroutine. turn is asked for before anything is
// hashed, and gives back what ends the turn.
func (c *Content) Check(ctx context.Context, turn func(context.Context) (done func(), err error)) (Found, error) {
	n := c.info.NumPieces()
	if c.Cached() {
		return Found{have: wire.NewBitfield(n)}, nil
	}
	var found Found
	err := c.patiently(func() (err error) {
		found, err = c.checkFiles(ctx, turn)
		return err
	})
	return found, err
}

// checkFiles finds out which pieces are there, and makes the files the torrent's own.
func (c *Content) checkFiles(ctx context.Context, turn func(context.Context) (done func(), err error)) (Found, error) {
	found, check, err := c.plan(ctx)
	if err != nil {
		return found, err
	}
	if check.Count() > 0 {
		done, err := turn(ctx)
		if err != nil {
			return found, err
		}
		err = c.hash(ctx, check, found.have)
		done()
		if err != nil {
			return found, err
		}
	}
	if err := c.storage.Claim(found.have); err != nil {
		return found, err
	}
	if c.cfg.OnDemand {
		return found, nil // nor are files made that nobody reads
	}
	return found, c.storage.CreateEmpty()
}

// plan returns what can be relied on, and what has to be hashed.
func (c *Content) plan(ctx context.Context) (found Found, check wire.Bitfield, err error) {
	if c.cfg.Store != nil {
		// A move that a kill has cut short comes first.
		to, err := c.cfg.Store.MovingTo(c.cfg.Key, c.cfg.Dir)
		if err == nil && to != "" {
			err = c.storage.Move(ctx, to)
		}
		if err != nil {
			return found, nil, err
		}
		if found.state, err = c.cfg.Store.Load(c.cfg.Key, c.storage.Dir()); err != nil {
			return found, nil, err
		}
	}
	relied := found.state
	if c.cfg.Recheck {
		relied = nil
	}
	if found.have, check, err = c.storage.Plan(relied); err != nil {
		return found, nil, err
	}
	if state := found.state; state != nil && len(state.Synced) == len(check) {
		for i := range check {
			state.Synced[i] &^= check[i] // that was what was there before
		}
	}
	if found.state == nil && c.cfg.Trusted && !c.cfg.Recheck {
		found.have, check = check, nil
	}
	return found, check, nil
}

// Dir returns the folder that the files are in. It is for any goroutine.
func (c *Content) Dir() string { return c.storage.Dir() }

// diskPatience is how long the end of a torrent waits for a disk that may hang.
const diskPatience = 15 * time.Second

var errHangs = errors.New("the disk does not answer")

// patiently waits for f, which waits for the disk; once the torrent ends, not for ever.
func (c *Content) patiently(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-c.cfg.Ended:
	}
	patience := time.NewTimer(diskPatience)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
		return errHangs
	}
}

// hash checks pieces and adds the right ones to have.
func (c *Content) hash(ctx context.Context, check, have wire.Bitfield) error {
	var total int64
	for i := range check.From(0) {
		total += c.info.PieceSize(i)
	}
	c.toCheck.Store(total)
	good := NewSet(c.info.NumPieces())
	err := c.storage.Check(ctx, check, func(piece int, ok bool) {
		if ok {
			good.add(piece)
		}
		c.checked.Add(c.info.PieceSize(piece))
	})
	for i := range c.info.NumPieces() {
		if good.Has(i) {
			have.Set(i)
		}
	}
	return err
}

// cutFiles brings files that were longer than in the torrent to their length there,
// and says so. It is for any goroutine.
func (c *Content) cutFiles() (warnings []string, err error) {
	for _, file := range c.storage.Longer() {
		path, _ := c.storage.OwnFile(file)
		length := c.info.Files[file].Length
		if c.cfg.KeepLonger {
			warnings = append(warnings, fmt.Sprintf("%s is longer than in the torrent; only its first %d bytes are shared", path, length))
			continue
		}
		if err := c.storage.Cut(file); err != nil {
			return warnings, err
		}
		warnings = append(warnings, fmt.Sprintf("%s was longer than in the torrent; it was cut to %d bytes", path, length))
	}
	return warnings, nil
}
