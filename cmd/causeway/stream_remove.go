package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
)

// remover deletes what was downloaded. Files that were complete before stay: they
// are not ours.
type remover struct {
	root string   // the torrent's own folder, "" if it has none
	own  []string // files that the engine makes for itself

	existing map[int]string // files that may have been complete before, by index

	mu    sync.Mutex
	files map[int]string // to be deleted, by index
}

// newRemover is made before the torrent is added, dir being where its data goes.
func newRemover(info *meta.Info, dir string, files []int) (*remover, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the folder of the data: %w", err)
	}
	r := &remover{existing: make(map[int]string), files: make(map[int]string)}
	r.own = append(r.own, filepath.Join(dir, fmt.Sprintf(".%x.parts", info.InfoHash))) // as package client/disk calls it
	if info.MultiFile {
		r.root = filepath.Join(dir, info.Name)
	}
	paths := info.Paths(dir)
	for _, i := range files {
		if status, err := os.Stat(paths[i]); err == nil && status.Size() == info.Files[i].Length {
			r.existing[i] = paths[i]
		} else {
			r.files[i] = paths[i]
		}
	}
	return r, nil
}

// lookInterval is how often look asks whether the files have been checked.
const lookInterval = 50 * time.Millisecond

// look spares only those existing files that turn out to be complete when the torrent
// begins.
func (r *remover) look(ctx context.Context, torrent *client.Torrent) {
	if len(r.existing) == 0 {
		return
	}
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	checking := true
	for checking && ctx.Err() == nil {
		select {
		case <-ticker.C:
			checking = torrent.Stats().State == client.StateChecking
		case <-ctx.Done():
		}
	}
	for i, path := range r.existing {
		if checking || wasComplete(ctx, torrent, i) {
			continue
		}
		r.mu.Lock()
		r.files[i] = path
		r.mu.Unlock()
	}
}

// wasComplete tells whether all of a file is there but the pieces that it shares
// with others, which may lack the others' part.
func wasComplete(ctx context.Context, torrent *client.Torrent, file int) bool {
	reader, err := torrent.OpenFile(ctx, file)
	if err != nil {
		return false
	}
	defer reader.Close()
	info := torrent.Info()
	start, end := info.Files[file].Offset, info.Files[file].Offset+info.Files[file].Length
	first := (start + info.PieceLength - 1) / info.PieceLength * info.PieceLength
	last := end
	if end < info.Length {
		last = end / info.PieceLength * info.PieceLength
	}
	if first >= last {
		return true // nobody can tell
	}
	if _, err := reader.Seek(first-start, io.SeekStart); err != nil {
		return false
	}
	return reader.Buffered() >= last-first
}

// remove deletes the files that are the torrent's, and the folders that are empty then.
// torrent may be nil, if it never came to be.
func (r *remover) remove(torrent *client.Torrent) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for i, path := range r.files {
		if torrent == nil || !torrent.Owns(i) {
			continue // not there, or somebody else's
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if r.root != "" {
			r.removeFolders(filepath.Dir(path))
		}
	}
	for _, path := range r.own {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// removeFolders removes a folder and those around it, up to the torrent's own, as
// long as they are empty.
func (r *remover) removeFolders(folder string) {
	for os.Remove(folder) == nil && folder != r.root {
		folder = filepath.Dir(folder)
	}
}
