package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// Allocation says how files get their space.
type Allocation int

const (
	// Sparse files take space as pieces come in. It is the default.
	Sparse Allocation = iota
	// Preallocated files take all of it at once, where the system can do that.
	Preallocated
)

// Config configures a Storage. Info, Dir, Memory, Pool, Handles and Done are needed.
type Config struct {
	Info       *meta.Info
	Dir        string // folder that the torrent's files, or its own folder, go into
	Selected   []bool // files that are wanted; nil: all
	Allocation Allocation
	// Cache, if not 0, keeps at most so many bytes, but one piece at least, in one
	// file that goes with the Storage: the caller evicts what others are to have the
	// place of. Plan, Claim, Check, Stamps and Sync are not for such a Storage.
	Cache   int64
	Memory  *Memory
	Pool    *Pool
	Handles *Handles
	// Verifier says which pieces are right; nil: Pieces.
	Verifier Verifier
	// Owners knows the files of other torrents; nil: there are none.
	Owners *Owners
	// Overwrite lets Claim take files that are not the torrent's.
	Overwrite bool
	// Keep says that longer files are not going to be cut.
	Keep bool

	// The functions below must not wait. Done is called from a worker when a piece has
	// ended.
	Done func(Result)
	// Lost is called when pieces that were verified turn out to be wrong: somebody
	// wrote to their files. They have to be downloaded anew. It may be nil.
	Lost func(pieces []int)
	// Room is called when Begin, which had no memory for the torrent's only piece,
	// should be called again. It may be nil.
	Room func()
	// Reclaim is called when a piece that has got no block for long should be dropped:
	// others need its memory. It may be nil.
	Reclaim func(piece int)
}

// Storage is the files of one torrent.
//
// Its bytes lie in places: one for each of the torrent's files, in their order, and
// behind them the part file.
type Storage struct {
	cfg     Config
	account account
	lane    lane
	ring    *ring // with Config.Cache, else nil
	started time.Time
	due     []atomic.Int64 // by place, when to look at it again, since started
	doubts  doubts

	mu      sync.Mutex
	dir     string
	paths   []string  // by place, "" for padding
	before  []string  // the same, before a Move that has not ended; nil: there is none
	real    []bool    // by file: its bytes are in the file itself, not in the part file
	seen    []bool    // by place: there was a file
	touched []bool    // by place: written to since the last sync
	found   []bool    // by place: has what an earlier run or somebody else wrote, and maybe nobody synced
	looks   []look    // by place: what it looked like
	owned   []bool    // by file: unchanged since an earlier run of ours
	care    []care    // by file: what has to be heeded before it is written to
	writes  []*writes // by place
	good    wire.Bitfield
	durable wire.Bitfield         // of good, what the disk was told to keep
	unsure  map[int]wire.Bitfield // by place: to be read back, as the disk may have lost it
	longer  []int                 // see Longer
	shares  shares
	users   int           // calls under way
	pieces  int           // begun and not ended
	halted  chan struct{} // closed when calls may go on; nil: they may
	moved   chan struct{} // closed when a call or a piece ends, if somebody waits for that
	claimed bool          // Claim has succeeded
	closed  bool
}

// Open prepares the files of a torrent, but touches none: they come to be with
// their first piece.
func Open(cfg Config) (*Storage, error) {
	n := len(cfg.Info.Files)
	if cfg.Verifier == nil {
		cfg.Verifier = Pieces(cfg.Info)
	}
	s := &Storage{
		cfg: cfg, started: time.Now(), due: make([]atomic.Int64, n+1),
		dir: cfg.Dir, paths: append(cfg.Info.Paths(cfg.Dir), partPath(cfg.Info, cfg.Dir)),
		real: make([]bool, n), seen: make([]bool, n+1), touched: make([]bool, n+1), found: make([]bool, n+1),
		looks: make([]look, n+1), owned: make([]bool, n), care: make([]care, n), writes: make([]*writes, n+1),
		good: wire.NewBitfield(cfg.Info.NumPieces()), durable: wire.NewBitfield(cfg.Info.NumPieces()),
		unsure: make(map[int]wire.Bitfield),
	}
	s.account = account{room: cfg.Room, reclaim: cfg.Reclaim}
	counters := make([]writes, n+1)
	for place := range s.writes {
		s.writes[place] = &counters[place]
	}
	s.findReal()
	if cfg.Cache > 0 {
		var err error
		if s.ring, err = newRing(cfg.Info, cfg.Dir, cfg.Cache); err != nil {
			return nil, fmt.Errorf("making the cache: %w", err)
		}
	}
	return s, nil
}

// partPath returns the path of the part file. It is where the edges of unselected files
// lie: bytes that share a piece with a wanted file. It is sparse, with every byte at its
// offset in the torrent.
func partPath(info *meta.Info, dir string) string {
	return filepath.Join(dir, fmt.Sprintf(".%x.parts", info.InfoHash))
}

// findReal finds out which files have their bytes, or will have, in themselves.
func (s *Storage) findReal() {
	for i := range s.cfg.Info.Files {
		switch {
		case s.cfg.Info.Files[i].Pad:
		case s.selected(i):
			s.real[i] = true
		default:
			there, err := os.Stat(s.paths[i])
			s.real[i] = err == nil && there.Mode().IsRegular()
		}
	}
}

func (s *Storage) selected(file int) bool { return s.cfg.Selected == nil || s.cfg.Selected[file] }

// Begin starts a piece, or returns nil when memory, or room in the cache, is short.
// For one that was wrong before, suspect asks for digests of its blocks. stretch says
// that a peer would otherwise sit idle.
func (s *Storage) Begin(piece int, stretch, suspect bool) *Piece {
	size := s.cfg.Info.PieceSize(piece)
	if !s.cfg.Memory.reserve(&s.account, size, stretch) {
		return nil
	}
	if s.ring != nil && !s.ring.take(piece) {
		s.cfg.Memory.release(&s.account, size)
		return nil
	}
	s.mu.Lock()
	s.pieces++
	s.mu.Unlock()
	return newPiece(s, piece, suspect)
}

// pieceEnded counts a piece off.
func (s *Storage) pieceEnded() {
	s.mu.Lock()
	s.pieces--
	s.stir()
	s.mu.Unlock()
}

// enter keeps Close and halt waiting until the caller calls leave. It reports false
// once the Storage is closed. Who has entered must not enter again.
func (s *Storage) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.halted != nil && !s.closed {
		halted := s.halted
		s.mu.Unlock()
		<-halted
		s.mu.Lock()
	}
	if s.closed {
		return false
	}
	s.users++
	return true
}

func (s *Storage) leave() {
	s.mu.Lock()
	s.users--
	s.stir()
	s.mu.Unlock()
}

// stir tells those who wait that something has ended.
func (s *Storage) stir() {
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
}

// halt waits for the calls under way, and keeps others waiting until resume.
func (s *Storage) halt(ctx context.Context) error {
	s.mu.Lock()
	for s.halted != nil && !s.closed {
		halted := s.halted
		s.mu.Unlock()
		select {
		case <-halted:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.mu.Lock()
	}
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.halted = make(chan struct{})
	s.mu.Unlock()
	if err := s.await(ctx, func() bool { return s.users == 0 }); err != nil {
		s.resume()
		return err
	}
	return nil
}

func (s *Storage) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.halted)
	s.halted = nil
}

// await waits until done, which is called with s.mu, is true.
func (s *Storage) await(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		if done() {
			s.mu.Unlock()
			return nil
		}
		if s.moved == nil {
			s.moved = make(chan struct{})
		}
		moved := s.moved
		s.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitPatiently is await, but for a disk on which nothing moves any more.
func (s *Storage) awaitPatiently(left func() int) {
	last := -1
	for {
		now := 0
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Pool.patience)
		err := s.await(ctx, func() bool {
			now = left()
			return now == 0 || last >= 0 && now < last
		})
		cancel()
		if err != nil || now == 0 {
			return
		}
		last = now
	}
}

// Wait waits until all pieces have ended, each by itself or by Drop. No more may be
// begun. It gives a disk up that does nothing for ten seconds.
func (s *Storage) Wait() { s.awaitPatiently(func() int { return s.pieces }) }

// Close waits for pieces, as Wait does, and for reads under way, and closes the
// files.
func (s *Storage) Close() {
	s.Wait()
	s.mu.Lock()
	was := s.closed
	s.closed = true
	paths := s.paths
	s.mu.Unlock()
	s.awaitPatiently(func() int { return s.users })
	s.cfg.Memory.leave(&s.account)
	s.cfg.Owners.leave(s)
	s.cfg.Handles.drop(paths...)
	if s.ring != nil && !was {
		s.ring.close()
	}
}

func (s *Storage) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// OwnFile returns the path of a file whose bytes lie in it at their own offsets. Whoever
// reads it calls Fresh first.
func (s *Storage) OwnFile(file int) (path string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths[file], s.real[file] && s.ring == nil
}

// Dir returns the folder that the files are in.
func (s *Storage) Dir() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir
}
