package main

import (
	"context"
	"errors"
	"fmt"
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
	root  string // the torrent's own folder, "" if it has none
	parts string // what the engine keeps of unselected files

	mu       sync.Mutex
	files    map[int]string // to be deleted, by index
	existing []int          // files that may have been complete before
}

// newRemover is made before the torrent is added, dir being where its data goes.
func newRemover(info *meta.Info, dir string, files []int) (*remover, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the folder of the data: %w", err)
	}
	// The name of the part file is that of package client/disk.
	r := &remover{parts: filepath.Join(dir, fmt.Sprintf(".%x.parts", info.InfoHash)), files: make(map[int]string)}
	if info.MultiFile {
		r.root = filepath.Join(dir, info.Name)
	}
	paths := info.Paths(dir)
	for _, i := range files {
		r.files[i] = paths[i]
		if status, err := os.Stat(paths[i]); err == nil && status.Size() == info.Files[i].Length {
			r.existing = append(r.existing, i)
		}
	}
	return r, nil
}

// lookInterval is how often look asks whether the files have been checked.
const lookInterval = 50 * time.Millisecond

// look spares the files that turn out to be complete when the torrent begins.
func (r *remover) look(ctx context.Context, torrent *client.Torrent) {
	if len(r.existing) == 0 {
		return
	}
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for torrent.Stats().State == client.StateChecking {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.existing {
		reader, err := torrent.OpenFile(ctx, i)
		if err != nil {
			return
		}
		if reader.Buffered() == torrent.Info().Files[i].Length {
			delete(r.files, i)
		}
		reader.Close()
	}
}

// remove deletes the files, and the folders that are empty then.
func (r *remover) remove() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, path := range r.files {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if r.root != "" {
			r.removeFolders(filepath.Dir(path))
		}
	}
	if err := os.Remove(r.parts); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
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
