package mount

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultTimeout is how long a read waits for peers unless told otherwise.
const DefaultTimeout = time.Minute

// ErrNoFUSE is why nothing can be mounted on a system without FUSE.
var ErrNoFUSE = errors.New("this system has no FUSE")

// Config configures an FS. The zero Config is a working one.
type Config struct {
	// Folders gives each torrent a folder of its own; without, there may be only one,
	// whose files are in the root.
	Folders bool
	// Timeout is how long a read waits while no peer sends what it needs; then it fails.
	// 0 is DefaultTimeout.
	Timeout time.Duration
	// Logger receives what is of interest when something does not work; nil: nothing.
	Logger *slog.Logger
}

// FS is a tree of torrents that is shown. Its methods may be called from any goroutine.
type FS struct {
	cfg  Config
	log  *slog.Logger
	tree *tree

	noPass atomic.Bool // the kernel reads no files by itself

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[entry]*file
	shown  map[*Mounted]struct{}
}

// New returns an FS without torrents.
func New(cfg Config) *FS {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	fs := &FS{
		cfg: cfg, log: cfg.Logger, tree: newTree(cfg.Folders),
		open: make(map[entry]*file), shown: make(map[*Mounted]struct{}),
	}
	fs.ctx, fs.cancel = context.WithCancel(context.Background())
	return fs
}

// Add shows a torrent. Of two with the same name, the second's folder has its infohash in
// its name, too.
func (fs *FS) Add(t Torrent) error {
	if err := fs.tree.add(t); err != nil {
		return err
	}
	fs.mu.Lock()
	shown := slices.Collect(maps.Keys(fs.shown))
	fs.mu.Unlock()
	for _, m := range shown {
		m.appeared()
	}
	return nil
}

// Close ends all reading. What is mounted should be unmounted before.
func (fs *FS) Close() {
	fs.mu.Lock()
	fs.closed = true
	fs.mu.Unlock()
	fs.cancel()
	fs.wg.Wait()
	fs.mu.Lock()
	open := slices.Collect(maps.Values(fs.open))
	clear(fs.open)
	fs.mu.Unlock()
	for _, f := range open {
		f.close()
	}
}

// begin counts a goroutine that Close waits for; false: it is closing.
func (fs *FS) begin() bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return false
	}
	fs.wg.Add(1)
	return true
}
