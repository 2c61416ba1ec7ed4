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
	syncing  bool
	syncNext bool   // a sync is due: the torrent is complete, or the last one failed
	syncErr  string // what kept the last one from being done, to be told once
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
	if !s.dirty && (!s.syncNext || s.syncing) || s.saving || now.Before(s.next) {
		return
	}
	c.Save(!now.Before(s.nextSync))
}

// keepsState: what is only cached is not resumed.
func (c *Content) keepsState() bool { return c.cfg.Store != nil && !c.Cached() }

// Save stores the resume state, in a goroutine of its own. With sync, what was written
// is brought to the disk as well, in another one: it can take long, and what a kill would
// cost meanwhile is not to grow.
func (c *Content) Save(sync bool) {
	s := &c.state
	if !c.keepsState() {
		s.dirty = false
		return
	}
	if sync || s.syncNext {
		c.sync()
	}
	if s.saving {
		s.dirty = true
		return
	}
	s.saving, s.dirty = true, false
	state, start := c.snapshot(c.wantedLeft == 0), time.Now()
	c.task(func() {
		err := c.patiently(func() error { return c.store(state) })
		c.host.Do(func() {
			now := time.Now()
			s.saving = false
			// A slow disk is not kept busy with nothing but this.
			s.next = now.Add(min(max(saveInterval, 10*now.Sub(start)), maxSaveInterval))
			s.dirty = s.dirty || err != nil
			c.savingFailed(err)
			c.host.Wake()
		})
	})
}

// sync brings what was written to the disk, and notes what it keeps.
func (c *Content) sync() {
	s := &c.state
	if s.syncing {
		s.syncNext = true
		return
	}
	s.syncing, s.syncNext = true, false
	have := c.verified.Load().Bitfield()
	c.task(func() {
		var synced wire.Bitfield
		err := c.patiently(func() (err error) {
			synced, err = c.storage.Sync(have)
			return err
		})
		c.host.Do(func() { c.synced(synced, err) })
	})
}

// synced takes in the end of a sync.
func (c *Content) synced(pieces wire.Bitfield, err error) {
	s := &c.state
	s.syncing, s.dirty = false, true
	s.nextSync = time.Now().Add(syncInterval)
	if pieces != nil {
		now := c.verified.Load().Bitfield()
		for i := range pieces {
			s.synced[i] = pieces[i] & now[i]
		}
	}
	s.syncNext = s.syncNext || err != nil
	if err == nil {
		s.syncErr = ""
	} else if err.Error() != s.syncErr {
		s.syncErr = err.Error()
		c.savingFailed(err)
	}
	c.host.Wake()
}

func (c *Content) savingFailed(err error) {
	switch {
	case errors.Is(err, disk.ErrVanished):
		c.host.Fail(err)
	case err != nil && !errors.Is(err, disk.ErrClosed):
		c.host.Warn(err.Error())
	}
}

// snapshot returns the state to be saved, Stamps apart.
func (c *Content) snapshot(clean bool) *disk.State {
	s := &c.state
	downloaded, uploaded := c.host.Counters()
	return &disk.State{
		Have: c.verified.Load().Bitfield(), Synced: s.synced.Clone(), Clean: clean, Boot: disk.BootID(),
		Uploaded: s.uploaded + uploaded - s.sentBefore, Downloaded: s.downloaded + downloaded - s.receivedBefore,
	}
}

func (c *Content) store(state *disk.State) (err error) {
	if state.Stamps, err = c.storage.Stamps(); err != nil {
		return err
	}
	state.Saved = time.Now()
	return c.cfg.Store.Save(c.cfg.Key, c.storage.Dir(), state)
}

// storeSynced brings everything to the disk, and stores that.
func (c *Content) storeSynced(state disk.State) (err error) {
	if state.Synced, err = c.storage.Sync(state.Have); err != nil {
		return err
	}
	return c.store(&state)
}
