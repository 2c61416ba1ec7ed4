package client

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
)

// The state is saved while a sync takes its time: what a kill then costs does not grow
// with it.
func TestStateIsSavedDuringASync(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 40*64<<10)
	cfg := plain(t)
	cfg.StateDir = t.TempDir()
	c := newClient(t, cfg)
	slow, begun := make(chan struct{}), make(chan struct{})
	var once, release sync.Once
	t.Cleanup(func() { release.Do(func() { close(slow) }) })
	c.handles.SetFault(func(op, path string) error {
		if op == "sync" && filepath.Base(path) == "data.bin" {
			once.Do(func() { close(begun) })
			<-slow
		}
		return nil
	})
	seed := add(t, c, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	within(t, 10*time.Second, "the sync", seed, begun)
	store := disk.NewStore(cfg.StateDir)
	var state *disk.State
	until(t, 10*time.Second, "a state while the disk is synced", func() bool {
		state, _ = store.Load(torrent.Info.InfoHash, dir)
		return state != nil && state.Have.Count() == torrent.Info.NumPieces()
	})
	if state.Synced.Count() != 0 {
		t.Error("pieces count as synced before the sync has ended")
	}
	release.Do(func() { close(slow) })
	until(t, 10*time.Second, "the end of the sync in the state", func() bool {
		state, _ = store.Load(torrent.Info.InfoHash, dir)
		return state.Synced.Count() == torrent.Info.NumPieces()
	})
}
