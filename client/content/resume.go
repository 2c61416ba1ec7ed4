package content

import (
	"errors"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/wire"
)

const (
	// saveInterval is how often the resume state is saved while pieces come in.
	saveInterval = time.Second
	// maxSaveInterval is how often at least, on a slow disk: what is written later
	// than that after a save counts as written by others (disk.Storage.Plan).
	maxSaveInterval = 4 * time.Second
	// syncInterval is how often what was written is brought to the disk itself. A
	// crash of the system costs a re-check of what came in since.
	syncInterval = 30 * time.Second
)

// resumeState is the state of saving.
type resumeState struct {
	dirty    bool // pieces came in since the last save
	saving   bool
	syncNext bool // the next save is to sync: the torrent is complete
	next     time.Time
	nextSync time.Time
	synced   wire.Bitfield
	// Bytes of payload of earlier runs, and what the torrent's counters said when the
	// content began.
	uploaded, downloaded       int64
	sentBefore, receivedBefore int64
}

func (c *Content) beginState(found Found) {
	n, state := c.info.NumPieces(), found.state
	s := &c.state
	*s = resumeState{synced: wire.NewBitfield(n), next: time.Now(), nextSync: time.Now().Add(syncInterval)}
	s.receivedBefore, s.sentBefore = c.host.Counters()
	if state != nil {
		s.uploaded, s.downloaded = state.Uploaded, state.Downloaded
		if len(state.Synced) == len(found.have) {
			for i := range found.have {
				s.synced[i] = state.Synced[i] & found.have[i]
			}
		}
	}
	// Saved at once: should we be killed, what was written from now on must not be
	// taken for somebody else's doing. And what was hashed need not be hashed again.
	if c.wantedLeft > 0 || state == nil || !state.Clean || c.checked.Load() > 0 {
		c.Save(c.wantedLeft == 0)
	}
}

// SaveIfDue saves the resume state if there is something to save, and it is time.
func (c *Content) SaveIfDue(now time.Time) {
	s := &c.state
	if !s.dirty && !s.syncNext || s.saving || now.Before(s.next) {
		return
	}
	c.Save(!now.Before(s.nextSync))
}

// keepsState: what is only cached is not resumed.
func (c *Content) keepsState() bool { return c.cfg.Store != nil && !c.Cached() }

// Save stores the resume state, in a goroutine of its own. With sync, what was written
// is brought to the disk first.
func (c *Content) Save(sync bool) {
	s := &c.state
	if !c.keepsState() {
		s.dirty = false
		return
	}
	sync = sync || s.syncNext
	if s.saving {
		s.syncNext = sync
		return
	}
	s.saving, s.dirty, s.syncNext = true, false, false
	state, start := c.snapshot(c.wantedLeft == 0), time.Now()
	c.task(func() {
		err := c.store(state, sync)
		c.host.Do(func() { c.saved(state, sync, start, err) })
	})
}

// saved takes in the end of a save.
func (c *Content) saved(state *disk.State, sync bool, start time.Time, err error) {
	s, now := &c.state, time.Now()
	s.saving = false
	// A slow disk is not kept busy with nothing but this.
	s.next = now.Add(min(max(saveInterval, 10*now.Sub(start)), maxSaveInterval))
	if err == nil && sync {
		s.synced, s.nextSync = state.Synced, now.Add(syncInterval)
	}
	s.dirty = s.dirty || err != nil
	s.syncNext = s.syncNext || err != nil && sync
	switch {
	case errors.Is(err, disk.ErrVanished):
		c.host.Fail(err)
	case err != nil && !errors.Is(err, disk.ErrClosed):
		c.host.Warn(err.Error())
	}
	c.host.Wake()
}

// snapshot returns the state to be saved, Stamps apart.
func (c *Content) snapshot(clean bool) *disk.State {
	s := &c.state
	downloaded, uploaded := c.host.Counters()
	return &disk.State{
		Have: c.verified.Load().Bitfield(), Synced: s.synced, Clean: clean, Boot: disk.BootID(),
		Uploaded: s.uploaded + uploaded - s.sentBefore, Downloaded: s.downloaded + downloaded - s.receivedBefore,
	}
}

func (c *Content) store(state *disk.State, sync bool) (err error) {
	if sync {
		if err := c.storage.Sync(); err != nil {
			return err
		}
		state.Synced = state.Have
	}
	if state.Stamps, err = c.storage.Stamps(); err != nil {
		return err
	}
	state.Saved = time.Now()
	return c.cfg.Store.Save(c.cfg.Key, c.cfg.Dir, state)
}
