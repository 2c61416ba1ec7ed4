package content

import (
	"context"
	"slices"
)

// Select changes which files are wanted. Pieces that are open and no longer wanted are
// given up. What the files need for that happens in its own time; done is called in the
// event loop with what kept it from happening.
func (c *Content) Select(selected []bool, done func(error)) {
	c.reselect(selected, func(err error) {
		if err == nil {
			c.apply()
		}
		done(err)
	})
}

// Reselect is Select before Begin.
func (c *Content) Reselect(selected []bool, done func(error)) { c.reselect(selected, done) }

func (c *Content) reselect(selected []bool, done func(error)) {
	selected = slices.Clone(selected)
	c.task(func() {
		err := c.patiently(func() error {
			err := c.storage.SetSelected(context.Background(), selected)
			if err == nil && !c.OnDemand() {
				err = c.storage.CreateEmpty()
			}
			return err
		})
		c.host.Do(func() {
			if err == nil {
				c.selected, c.lacking = selected, -1
			}
			done(err)
		})
	})
}

// apply makes wanted what is selected, and nothing else.
func (c *Content) apply() {
	if c.Cached() {
		return
	}
	if c.cfg.OnDemand { // readers want what they want
		c.checkComplete()
		return
	}
	wanted := make(map[int]struct{})
	for i := range c.wantedPieces(c.selected) {
		wanted[i] = struct{}{}
		c.want(i)
		delete(c.lent, i)
	}
	for i := range c.info.NumPieces() {
		if _, still := wanted[i]; still || !c.Picker.Wants(i) {
			continue
		}
		if _, lent := c.lent[i]; lent {
			continue // readers want it
		}
		c.Abandon(i)
		c.unwant(i)
	}
	c.countLeft()
	c.state.dirty = true
	c.checkComplete()
}
