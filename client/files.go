package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/picker"
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
	// checkEventInterval is how often progress of a check is reported.
	checkEventInterval = 200 * time.Millisecond
)

// resumeState is the state of saving.
type resumeState struct {
	dirty      bool // pieces came in since the last save
	saving     bool
	syncNext   bool // the next save is to sync: the torrent is complete
	next       time.Time
	nextSync   time.Time
	synced     wire.Bitfield
	uploaded   int64 // of earlier runs
	downloaded int64
}

// openFiles opens the torrent's files and finds out which pieces are there.
func (t *Torrent) openFiles() {
	info := t.Info()
	storage, err := disk.Open(disk.Config{
		Info: info, Dir: t.opts.Dir, Selected: t.loop.selected,
		Allocation: t.client.cfg.Allocation, Cache: t.opts.Cache,
		Memory: t.client.memory, Pool: t.client.pool, Handles: t.client.handles,
		Done: t.mail.fromDisk,
	})
	if err != nil {
		t.fail(err)
		return
	}
	t.storage.Store(storage)
	if t.opts.Cache > 0 {
		t.goLive(nil, wire.NewBitfield(info.NumPieces()))
		return
	}
	t.spawn(func() {
		state, have, err := t.checkFiles(t.ctx, storage)
		t.do(func() {
			if err != nil {
				t.fail(err)
				return
			}
			t.goLive(state, have)
		})
	})
}

// checkFiles returns the saved state, if any, and which pieces are there.
func (t *Torrent) checkFiles(ctx context.Context, storage *disk.Storage) (state *disk.State, have wire.Bitfield, err error) {
	if t.client.store != nil {
		if state, err = t.client.store.Load(t.infoHash, t.opts.Dir); err != nil {
			return nil, nil, err
		}
	}
	have, check, err := storage.Plan(state)
	if err != nil || check.Count() == 0 {
		return state, have, err
	}
	if state != nil && len(state.Synced) == len(check) {
		for i := range check {
			state.Synced[i] &^= check[i] // that was what was there before
		}
	}
	if state == nil && t.opts.Trusted {
		return nil, check, nil
	}
	return state, have, t.hash(ctx, storage, check, have)
}

// hash checks pieces and adds the right ones to have.
func (t *Torrent) hash(ctx context.Context, storage *disk.Storage, check, have wire.Bitfield) error {
	info := t.Info()
	var total int64
	for i := range check.From(0) {
		total += info.PieceSize(i)
	}
	t.toCheck.Store(total)
	good := newPieceSet(info.NumPieces())
	done := make(chan struct{})
	defer func() { <-done }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(done)
		ticker := time.NewTicker(checkEventInterval)
		defer ticker.Stop()
		for ctx.Err() == nil {
			t.client.cfg.OnEvent(CheckingEvent{t.infoHash, t.checked.Load(), total})
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
		t.client.cfg.OnEvent(CheckingEvent{t.infoHash, t.checked.Load(), total})
	}()
	err := storage.Check(ctx, check, func(piece int, ok bool) {
		if ok {
			good.add(piece)
		}
		t.checked.Add(info.PieceSize(piece))
	})
	for i := range info.NumPieces() {
		if good.has(i) {
			have.Set(i)
		}
	}
	return err
}

// goLive starts to download and to serve.
func (t *Torrent) goLive(state *disk.State, have wire.Bitfield) {
	l := &t.loop
	info := t.Info()
	n := info.NumPieces()
	l.phase = phaseLive
	l.picker = picker.New(picker.Config{
		Pieces: n, Begin: t.beginPiece, Now: time.Now, Random: randomInt,
		Blocks: func(i int) int { return disk.NumBlocks(info.PieceSize(i)) },
	})
	l.picker.SetSequential(t.opts.Sequential)
	for i := range info.Files {
		if !l.selected[i] || t.opts.Cache > 0 {
			continue
		}
		for p, end := disk.PieceRange(info, i); p < end; p++ {
			l.picker.SetWanted(p, true)
		}
	}
	verified := newPieceSet(n)
	for i := range n {
		size := info.PieceSize(i)
		if l.picker.Wants(i) {
			l.wanted += size
			l.wantedLeft += size
		}
		if have.Has(i) {
			verified.add(i)
			l.completed += size
			if l.picker.Wants(i) {
				l.wantedLeft -= size
			}
			l.picker.SetHave(i)
		}
	}
	t.countLeft()
	t.verified.Store(verified)
	t.origins.Store(&origins{web: newPieceSet(n), classic: newPieceSet(n)})
	l.state = resumeState{synced: wire.NewBitfield(n), next: time.Now(), nextSync: time.Now().Add(syncInterval)}
	if state != nil {
		l.state.uploaded, l.state.downloaded = state.Uploaded, state.Downloaded
		if len(state.Synced) == len(have) {
			for i := range have {
				l.state.synced[i] = state.Synced[i] & have[i]
			}
		}
	}
	// Saved at once: should we be killed, what was written from now on must not be
	// taken for somebody else's doing. And what was hashed need not be hashed again.
	if l.wantedLeft > 0 || state == nil || !state.Clean || t.checked.Load() > 0 {
		t.save(l.wantedLeft == 0)
	}
	if t.opts.Cache == 0 {
		if err := t.storage.Load().CreateEmpty(); err != nil {
			t.fail(err)
			return
		}
	}
	t.checkComplete()
	if l.phase == phaseFailed {
		return
	}
	t.tellPeers()
	t.startDiscovery()
	t.wakeReaders()
	t.schedule(time.Now(), true)
	t.wakeUp()
}

// maxLateHaves bounds the pieces that a peer which came before the files were checked
// is told of one by one; beyond, it had better connect anew and get a bitfield, which
// must come first (BEP 3).
const maxLateHaves = 10000

var errLate = errors.New("it came before the files were checked; the next time it is told what we have")

// tellPeers brings the peers that came before the files were checked up to date.
func (t *Torrent) tellPeers() {
	l := &t.loop
	verified := t.verified.Load()
	haves := verified.count()
	for p := range l.peers {
		l.picker.AddPeer(&p.pick)
		if haves > maxLateHaves {
			t.drop(p, errLate)
			continue
		}
		for i := range verified.n {
			if verified.has(i) {
				p.w.Send(wire.Message{ID: wire.Have, Index: uint32(i)})
			}
		}
		if err := t.replay(p); err != nil {
			t.drop(p, err)
		}
	}
	t.fillSlots()
	t.requestAll(time.Now())
}

// pieceEnded takes in the end of a piece: verified and written, wrong, or not
// written.
func (t *Torrent) pieceEnded(r disk.Result) {
	l := &t.loop
	delete(l.pieces, r.Piece)
	if r.Err != nil {
		l.picker.Abandon(r.Piece)
		if !errors.Is(r.Err, disk.ErrClosed) {
			t.fail(r.Err)
		}
		return
	}
	l.picker.Done(r.Piece, r.OK)
	if !r.OK {
		t.wrongPiece(r)
		return
	}
	t.rightPiece(r)
	size := t.Info().PieceSize(r.Piece)
	t.noteOrigin(r.Piece, r.From)
	t.verified.Load().add(r.Piece)
	l.completed += size
	if l.picker.Wants(r.Piece) {
		l.wantedLeft -= size
	}
	t.countLeft()
	l.state.dirty = true
	for p := range l.peers {
		p.w.Send(wire.Message{ID: wire.Have, Index: uint32(r.Piece)})
	}
	t.checkComplete()
}

// checkComplete follows the moment in which the last wanted piece is there.
func (t *Torrent) checkComplete() {
	l := &t.loop
	if l.wantedLeft > 0 || l.wasComplete || t.opts.Cache > 0 {
		return
	}
	l.wasComplete = true
	if err := t.cutFiles(); err != nil {
		t.fail(err)
		return
	}
	t.complete.fire()
	if l.announcer != nil && t.downloaded.Load() > 0 {
		l.announcer.Completed()
	}
	if l.discovered && t.downloaded.Load() > 0 {
		t.web.completed()
	}
	t.client.cfg.OnEvent(CompleteEvent{t.infoHash})
	for p := range l.peers {
		t.dropIfBothSeeds(p)
		if p.ext.M != nil {
			p.w.Send(t.extHandshake(p)) // upload_only
		}
	}
	if l.state.dirty {
		t.save(true)
	}
}

// cutFiles brings files that were longer than in the torrent to their length there.
func (t *Torrent) cutFiles() error {
	storage, info := t.storage.Load(), t.Info()
	for _, file := range storage.Longer() {
		path, _ := storage.OwnFile(file)
		if t.opts.KeepLonger {
			t.client.warn(t.infoHash, fmt.Sprintf("%s is longer than in the torrent; only its first %d bytes are shared", path, info.Files[file].Length))
			continue
		}
		if err := storage.Cut(file); err != nil {
			return err
		}
		t.loop.state.dirty = true
		t.client.warn(t.infoHash, fmt.Sprintf("%s was longer than in the torrent; it was cut to %d bytes", path, info.Files[file].Length))
	}
	return nil
}

func (t *Torrent) saveIfDue(now time.Time) {
	s := &t.loop.state
	if !s.dirty && !s.syncNext || s.saving || now.Before(s.next) {
		return
	}
	t.save(!now.Before(s.nextSync))
}

// keepsState: what is only cached is not resumed.
func (t *Torrent) keepsState() bool { return t.client.store != nil && t.opts.Cache == 0 }

// save stores the resume state, in a task of its own. With sync, what was written
// is brought to the disk first.
func (t *Torrent) save(sync bool) {
	s := &t.loop.state
	if !t.keepsState() {
		s.dirty = false
		return
	}
	sync = sync || s.syncNext
	if s.saving {
		s.syncNext = sync
		return
	}
	s.saving, s.dirty, s.syncNext = true, false, false
	state := t.snapshot(t.loop.wantedLeft == 0)
	storage, start := t.storage.Load(), time.Now()
	t.spawn(func() {
		err := t.store(storage, state, sync)
		t.do(func() {
			now := time.Now()
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
				t.fail(err)
			case err != nil && !errors.Is(err, disk.ErrClosed):
				t.client.warn(t.infoHash, err.Error())
			}
			t.wakeUp()
		})
	})
}

// snapshot returns the state to be saved, Stamps apart.
func (t *Torrent) snapshot(clean bool) *disk.State {
	s := &t.loop.state
	return &disk.State{
		Have: t.verified.Load().bitfield(), Synced: s.synced, Clean: clean, Boot: disk.BootID(),
		Uploaded: s.uploaded + t.uploaded.Load(), Downloaded: s.downloaded + t.downloaded.Load(),
	}
}

func (t *Torrent) store(storage *disk.Storage, state *disk.State, sync bool) (err error) {
	if sync {
		if err := storage.Sync(); err != nil {
			return err
		}
		state.Synced = state.Have
	}
	if state.Stamps, err = storage.Stamps(); err != nil {
		return err
	}
	state.Saved = time.Now()
	return t.client.store.Save(t.infoHash, t.opts.Dir, state)
}

// closeFiles waits for pieces that are still being written, and saves the state
// for good.
func (t *Torrent) closeFiles() {
	storage := t.storage.Load()
	if storage == nil {
		return
	}
	defer storage.Close()
	storage.Wait()
	if t.verified.Load() == nil {
		return
	}
	_, results, _ := t.mail.take()
	changed := t.loop.state.dirty || t.loop.state.syncNext || t.uploaded.Load() > 0
	for _, r := range results {
		if r.OK {
			t.verified.Load().add(r.Piece)
			changed = true
		}
	}
	if !t.keepsState() || (!changed && t.loop.wantedLeft == 0) {
		return
	}
	if err := t.store(storage, t.snapshot(true), true); err != nil && t.Err() == nil {
		t.closeErr = err
	}
}
