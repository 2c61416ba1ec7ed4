package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
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
	syncing    bool
	syncNext   bool // a sync is due: the torrent is complete, or the last one failed
	syncErr    string
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
		Owners: t.client.owners, Overwrite: t.opts.Overwrite, Keep: t.opts.KeepLonger,
		Done:    t.mail.fromDisk,
		Lost:    func(pieces []int) { t.later(func() { t.piecesLost(pieces) }) },
		Room:    t.onceALoop(t.wakeUp),
		Reclaim: func(piece int) { t.later(func() { t.abandon(piece) }) },
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
		var state *disk.State
		var have wire.Bitfield
		err := t.patiently(func() (err error) {
			state, have, err = t.checkFiles(t.ctx, storage)
			return err
		})
		t.do(func() {
			if err != nil {
				t.fail(err)
				return
			}
			t.goLive(state, have)
		})
	})
}

// later has the loop do something, without waiting for it.
func (t *Torrent) later(f func()) {
	t.spawn(func() { t.do(f) })
}

// onceALoop returns a function that has the loop do something, but only once for all calls
// until it gets to it.
func (t *Torrent) onceALoop(f func()) func() {
	var asked atomic.Bool
	return func() {
		if asked.CompareAndSwap(false, true) {
			t.later(func() {
				asked.Store(false)
				f()
			})
		}
	}
}

// diskPatience is how long the end of a torrent waits for a disk that may hang.
const diskPatience = 15 * time.Second

var errHangs = errors.New("the disk does not answer")

// patiently waits for f, which waits for the disk; once the torrent ends, not for ever.
func (t *Torrent) patiently(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-t.ctx.Done():
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

// checkFiles returns the saved state, if any, and which pieces are there, and makes the
// files the torrent's own.
func (t *Torrent) checkFiles(ctx context.Context, storage *disk.Storage) (state *disk.State, have wire.Bitfield, err error) {
	if state, have, err = t.planFiles(ctx, storage); err != nil {
		return nil, nil, err
	}
	if err := storage.Claim(have); err != nil {
		return nil, nil, err
	}
	return state, have, storage.CreateEmpty()
}

func (t *Torrent) planFiles(ctx context.Context, storage *disk.Storage) (state *disk.State, have wire.Bitfield, err error) {
	if t.client.store != nil {
		// A move that a kill has cut short comes first.
		to, err := t.client.store.MovingTo(t.infoHash, t.opts.Dir)
		if err == nil && to != "" {
			err = storage.Move(ctx, to)
		}
		if err != nil {
			return nil, nil, err
		}
		if state, err = t.client.store.Load(t.infoHash, storage.Dir()); err != nil {
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

// piecesLost takes pieces out that were verified, and are wrong now: somebody has written
// to their files. They are downloaded anew, but not over files that are the user's own.
func (t *Torrent) piecesLost(pieces []int) {
	l, verified := &t.loop, t.verified.Load()
	if verified == nil || t.opts.Cache > 0 {
		return
	}
	n := 0
	for _, piece := range pieces {
		if !verified.has(piece) {
			continue
		}
		n++
		size := t.Info().PieceSize(piece)
		verified.remove(piece)
		l.state.synced.Clear(piece)
		l.completed -= size
		if t.opts.KeepLonger && l.picker.Wants(piece) {
			l.picker.SetWanted(piece, false)
			l.wanted -= size
		}
		l.picker.Lost(piece)
		if l.picker.Wants(piece) {
			l.wantedLeft += size
		}
		for p := range l.peers {
			p.w.StopServing(func(b wire.Block) bool { return int(b.Piece) != piece })
			if number := p.ext.M[wire.ExtDontHave]; number != 0 {
				p.w.Send(wire.Message{ID: wire.Extended, Ext: number, Payload: wire.EncodeDontHave(uint32(piece))})
			}
		}
	}
	if n == 0 {
		return
	}
	t.countLeft()
	l.state.dirty = true
	t.client.warn(t.infoHash, fmt.Sprintf("%d pieces of %q were changed on disk by another program; they are not shared any more", n, t.Name()))
	t.requestAll(time.Now())
	t.wakeUp()
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
	if !s.dirty && (!s.syncNext || s.syncing) || s.saving || now.Before(s.next) {
		return
	}
	t.save(!now.Before(s.nextSync))
}

// keepsState: what is only cached is not resumed.
func (t *Torrent) keepsState() bool { return t.client.store != nil && t.opts.Cache == 0 }

// save stores the resume state, in a task of its own. With sync, what was written is
// brought to the disk as well, in another one: it can take long, and what a kill would
// cost meanwhile is not to grow.
func (t *Torrent) save(sync bool) {
	s := &t.loop.state
	if !t.keepsState() {
		s.dirty = false
		return
	}
	if sync || s.syncNext {
		t.sync()
	}
	if s.saving {
		s.dirty = true
		return
	}
	s.saving, s.dirty = true, false
	state := t.snapshot(t.loop.wantedLeft == 0)
	storage, start := t.storage.Load(), time.Now()
	t.spawn(func() {
		err := t.patiently(func() error { return t.store(storage, state) })
		t.do(func() {
			now := time.Now()
			s.saving = false
			// A slow disk is not kept busy with nothing but this.
			s.next = now.Add(min(max(saveInterval, 10*now.Sub(start)), maxSaveInterval))
			s.dirty = s.dirty || err != nil
			t.savingFailed(err)
			t.wakeUp()
		})
	})
}

// sync brings what was written to the disk, and notes what it keeps.
func (t *Torrent) sync() {
	s := &t.loop.state
	if s.syncing {
		s.syncNext = true
		return
	}
	s.syncing, s.syncNext = true, false
	storage, have := t.storage.Load(), t.verified.Load().bitfield()
	t.spawn(func() {
		var synced wire.Bitfield
		err := t.patiently(func() (err error) {
			synced, err = storage.Sync(have)
			return err
		})
		t.do(func() {
			s.syncing, s.dirty = false, true
			s.nextSync = time.Now().Add(syncInterval)
			if synced != nil {
				now := t.verified.Load().bitfield()
				for i := range synced {
					s.synced[i] = synced[i] & now[i]
				}
			}
			s.syncNext = s.syncNext || err != nil
			if err == nil {
				s.syncErr = ""
			} else if err.Error() != s.syncErr {
				s.syncErr = err.Error() // told once
				t.savingFailed(err)
			}
			t.wakeUp()
		})
	})
}

func (t *Torrent) savingFailed(err error) {
	switch {
	case errors.Is(err, disk.ErrVanished):
		t.fail(err)
	case err != nil && !errors.Is(err, disk.ErrClosed):
		t.client.warn(t.infoHash, err.Error())
	}
}

// snapshot returns the state to be saved, Stamps apart.
func (t *Torrent) snapshot(clean bool) *disk.State {
	s := &t.loop.state
	return &disk.State{
		Have: t.verified.Load().bitfield(), Synced: s.synced.Clone(), Clean: clean, Boot: disk.BootID(),
		Uploaded: s.uploaded + t.uploaded.Load(), Downloaded: s.downloaded + t.downloaded.Load(),
	}
}

func (t *Torrent) store(storage *disk.Storage, state *disk.State) (err error) {
	if state.Stamps, err = storage.Stamps(); err != nil {
		return err
	}
	state.Saved = time.Now()
	return t.client.store.Save(t.infoHash, storage.Dir(), state)
}

// Owns reports whether a file is the torrent's own, and as it left it: it may be removed.
// It may be called after Close, too.
func (t *Torrent) Owns(file int) bool {
	storage := t.storage.Load()
	return storage != nil && storage.Owns(file)
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
	s := &t.loop.state
	changed := s.dirty || s.saving || s.syncing || s.syncNext || t.uploaded.Load() > 0
	for _, r := range results {
		if r.OK {
			t.verified.Load().add(r.Piece)
			changed = true
		}
	}
	if !t.keepsState() || (!changed && t.loop.wantedLeft == 0) {
		return
	}
	state := t.snapshot(true)
	err := t.patiently(func() error { return t.store(storage, state) })
	if err == nil {
		// It is saved; a kill from now on costs nothing.
		err = t.patiently(func() error { return t.storeSynced(storage, *state) })
	}
	if err != nil && t.Err() == nil {
		t.closeErr = err
	}
}

// storeSynced brings everything to the disk, and stores that.
func (t *Torrent) storeSynced(storage *disk.Storage, state disk.State) (err error) {
	if state.Synced, err = storage.Sync(state.Have); err != nil {
		return err
	}
	return t.store(storage, &state)
}
