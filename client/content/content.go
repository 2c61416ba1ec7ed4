package content

import (
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/picker"
	"github.com/causeway-bt/causeway/client/source"
	"github.com/causeway-bt/causeway/wire"
)

// Host is the torrent that a Content belongs to. All but Do, Go and Ended are called
// in its event loop.
type Host interface {
	// Do runs f in the event loop, without waiting for it; false: it has ended.
	Do(f func()) bool
	// Go runs f in a goroutine that the torrent waits for; false: it is closing.
	Go(f func()) bool
	// Ended takes in the end of a piece, from any goroutine: c.Ended is to be called
	// with it in the event loop.
	Ended(c *Content, r disk.Result)

	// Counters returns the payload bytes received and sent since the torrent was
	// added, and how many of those received were of no use. Wasted adds to these.
	Counters() (downloaded, uploaded int64)
	Wasted(bytes int64)
	// Sources are those that blocks are asked of.
	Sources(yield func(*source.Source) bool)
	// TakeBack makes a block that was asked of a source free to be asked anew.
	TakeBack(s *source.Source, r source.Request)
	// Ban keeps a source away that sent wrong data.
	Ban(who *source.Identity, piece int)
	// RequestAll asks all sources for more.
	RequestAll(now time.Time)
	// Announce tells peers that a piece is here, Withdraw that it is not any more;
	// Withdraw also stops serving it.
	Announce(piece int)
	Withdraw(piece int)
	// Completed says that the last wanted piece is there, Incomplete that this is no
	// longer so.
	Completed()
	Incomplete()
	Fail(err error)
	Warn(message string)
	// Wake has the loop look at its timers.
	Wake()
}

// Config configures a Content.
type Config struct {
	Info *meta.Info
	// Verifier says which pieces are right: disk.Pieces for version 1.
	Verifier disk.Verifier
	// Key is what the resume state is kept by.
	Key [20]byte
	Dir string
	// Selected says for each file whether it is wanted.
	Selected   []bool
	Allocation disk.Allocation
	// Cache, Trusted, KeepLonger and Sequential are as in client.TorrentOptions.
	Cache                           int64
	Trusted, KeepLonger, Sequential bool
	// OnDemand and Overwrite are as in client.TorrentOptions, too.
	OnDemand, Overwrite bool
	// Recheck hashes all there is, whatever is remembered of it.
	Recheck bool
	// Ended is closed when the torrent stops: from then on a disk that does not answer
	// is not waited for much longer.
	Ended <-chan struct{}

	Memory  *disk.Memory
	Pool    *disk.Pool
	Handles *disk.Handles
	Owners  *disk.Owners
	Store   *disk.Store // nil: nothing is remembered
	Host    Host
	Readers *Readers
	Logger  *slog.Logger
}

// Content is a torrent's data. See the package's comment for who may call what.
type Content struct {
	cfg      Config
	host     Host
	info     *meta.Info
	storage  *disk.Storage
	verified atomic.Pointer[Set] // nil until Begin
	origins  atomic.Pointer[origins]
	left     atomic.Int64

	checked, toCheck atomic.Int64   // bytes
	tasks            sync.WaitGroup // saves and the like

	Picker    *picker.Picker // nil until Begin
	selected  []bool
	pieces    map[int]*disk.Piece // open pieces
	suspects  map[int]*suspect
	deadlines map[int]time.Time // of the pieces that readers want
	streaming bool              // there are such pieces
	lent      map[int]struct{}  // pieces that only readers want, and that are lacking
	lacking   int               // on demand, a selected piece that was lacking last; -1: none

	wanted     int64 // bytes in wanted pieces
	wantedLeft int64 // of them lacking
	completed  int64 // bytes verified
	complete   bool
	cutting    bool // files are being cut to their length
	state      resumeState
}

// Selected says for each file whether it is wanted.
func (c *Content) Selected() []bool { return c.selected }

// Gained reports whether anything was downloaded since Begin.
func (c *Content) Gained() bool {
	downloaded, _ := c.host.Counters()
	return downloaded > c.state.receivedBefore
}

// Open prepares the files of a torrent, and takes its time for looking at them. It is
// for any goroutine.
func Open(cfg Config) (*Content, error) {
	c := &Content{
		cfg: cfg, host: cfg.Host, info: cfg.Info, selected: slices.Clone(cfg.Selected),
		pieces: make(map[int]*disk.Piece), suspects: make(map[int]*suspect), lent: make(map[int]struct{}), lacking: -1,
	}
	// It may hang: then what is opened late is closed by nobody else.
	type opened struct {
		storage *disk.Storage
		err     error
	}
	result := make(chan opened, 1)
	config := disk.Config{
		Info: cfg.Info, Verifier: cfg.Verifier, Dir: cfg.Dir, Selected: cfg.Selected,
		Allocation: cfg.Allocation, Cache: cfg.Cache,
		Memory: cfg.Memory, Pool: cfg.Pool, Handles: cfg.Handles,
		Owners: cfg.Owners, Overwrite: cfg.Overwrite, Keep: cfg.KeepLonger,
		Done:    func(r disk.Result) { c.host.Ended(c, r) },
		Lost:    func(pieces []int) { c.later(func() { c.lost(pieces) }) },
		Room:    c.onceALoop(c.host.Wake),
		Reclaim: func(piece int) { c.later(func() { c.Abandon(piece) }) },
	}
	err := c.patiently(func() error {
		storage, err := disk.Open(config)
		result <- opened{storage, err}
		return nil
	})
	if err != nil {
		go func() {
			if o := <-result; o.err == nil {
				o.storage.Close()
			}
		}()
		return nil, err
	}
	o := <-result
	c.storage = o.storage
	return c, o.err
}

// later has the loop do something, without waiting for it.
func (c *Content) later(f func()) { c.host.Go(func() { c.host.Do(f) }) }

// onceALoop returns a function that has the loop do something, but only once for all
// calls until it gets to it.
func (c *Content) onceALoop(f func()) func() {
	var asked atomic.Bool
	return func() {
		if asked.CompareAndSwap(false, true) {
			c.later(func() {
				asked.Store(false)
				f()
			})
		}
	}
}

// Verified returns the pieces that are there, nil until Begin. It may be called from
// any goroutine.
func (c *Content) Verified() *Set { return c.verified.Load() }

// ReadBlocks implements wire.BlockSource.
func (c *Content) ReadBlocks(b []byte, piece, begin uint32) error {
	return c.storage.ReadBlocks(b, piece, begin)
}

// Cached reports whether pieces stay only as long as readers want them.
func (c *Content) Cached() bool { return c.cfg.Cache > 0 }

// OnDemand reports whether nothing is wanted but what readers want.
func (c *Content) OnDemand() bool { return c.Cached() || c.cfg.OnDemand }

// IsSeed reports whether everything that is wanted is here, and stays.
func (c *Content) IsSeed() bool { return c.Picker != nil && !c.Cached() && c.allThere() }

// allThere reports whether everything that is selected is here.
func (c *Content) allThere() bool {
	if c.wantedLeft > 0 || c.Picker == nil {
		return false
	}
	if !c.cfg.OnDemand || c.completed == c.info.Length {
		return true
	}
	verified := c.verified.Load()
	if c.lacks(c.lacking, verified) {
		return false
	}
	for p := range c.wantedPieces(c.selected) {
		if c.lacks(p, verified) {
			c.lacking = p
			return false
		}
	}
	return true
}

func (c *Content) lacks(piece int, verified *Set) bool {
	return piece >= 0 && piece < c.info.NumPieces() && !verified.Has(piece)
}

// Left returns how many wanted bytes are lacking; on demand, where anything may yet be wanted,
// how many of all. It may be called from any goroutine
// after Begin.
func (c *Content) Left() int64 { return c.left.Load() }

// countLeft tells the announces how much is lacking.
func (c *Content) countLeft() {
	left := c.wantedLeft
	if c.OnDemand() {
		left = c.info.Length - c.completed
	}
	c.left.Store(left)
}

// Sizes are what there is of a torrent, in bytes: verified, in wanted pieces, and of
// these lacking.
type Sizes struct{ Completed, Wanted, Left int64 }

// SizesOf returns how much there is of a torrent with these pieces and selected files.
// It is for any goroutine.
func SizesOf(info *meta.Info, verified *Set, selected []bool) (s Sizes) {
	last := -1 // the last piece that was counted as wanted
	for i, wanted := range selected {
		if !wanted {
			continue
		}
		from, end := disk.PieceRange(info, i)
		for p := max(from, last+1); p < end; p++ {
			last = p
			s.Wanted += info.PieceSize(p)
			if !verified.Has(p) {
				s.Left += info.PieceSize(p)
			}
		}
	}
	for p := range info.NumPieces() {
		if verified.Has(p) {
			s.Completed += info.PieceSize(p)
		}
	}
	return s
}

// Sizes returns how much there is.
func (c *Content) Sizes() Sizes { return Sizes{c.completed, c.wanted, c.wantedLeft} }

// Checked returns how far the check of the files is, in bytes, and of how many. It may
// be called from any goroutine.
func (c *Content) Checked() (done, all int64) { return c.checked.Load(), c.toCheck.Load() }

// Streaming reports whether readers want something that is lacking.
func (c *Content) Streaming() bool { return c.streaming }

// Busy reports whether pieces are open, or the state is to be saved.
func (c *Content) Busy() bool { return len(c.pieces) > 0 || c.state.dirty || c.state.syncNext }

// Opened returns how many pieces are open.
func (c *Content) Opened() int { return len(c.pieces) }

// Found is what Check found out: which pieces are there, and the state of an earlier
// run, if any.
type Found struct {
	state *disk.State
	have  wire.Bitfield
}

// Begin takes in what Check found, and begins to want what is selected.
func (c *Content) Begin(found Found) {
	n := c.info.NumPieces()
	c.Picker = picker.New(picker.Config{
		Pieces: n, Begin: c.begin, Now: time.Now, Random: rand.IntN,
		Blocks: func(i int) int { return disk.NumBlocks(c.info.PieceSize(i)) },
	})
	c.Picker.SetSequential(c.cfg.Sequential)
	verified := NewSet(n)
	for i := range n {
		if found.have.Has(i) {
			verified.add(i)
			c.completed += c.info.PieceSize(i)
			c.Picker.SetHave(i)
		}
	}
	if !c.OnDemand() {
		for i := range c.wantedPieces(c.selected) {
			c.want(i)
		}
	}
	c.countLeft()
	c.verified.Store(verified)
	c.origins.Store(&origins{web: NewSet(n), classic: NewSet(n)})
	c.beginState(found)
	c.checkComplete()
}

// wantedPieces yields the pieces that selected files have bytes in, some twice.
func (c *Content) wantedPieces(selected []bool) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i, wanted := range selected {
			if !wanted {
				continue
			}
			for p, end := disk.PieceRange(c.info, i); p < end; p++ {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// want makes a piece wanted, and reports whether it was not.
func (c *Content) want(piece int) bool {
	if c.Picker.Wants(piece) {
		return false
	}
	c.Picker.SetWanted(piece, true)
	size := c.info.PieceSize(piece)
	c.wanted += size
	if !c.Picker.Have(piece) {
		c.wantedLeft += size
	}
	return true
}

// unwant is the opposite of want.
func (c *Content) unwant(piece int) {
	if !c.Picker.Wants(piece) {
		return
	}
	c.Picker.SetWanted(piece, false)
	size := c.info.PieceSize(piece)
	c.wanted -= size
	if !c.Picker.Have(piece) {
		c.wantedLeft -= size
	}
}

// checkComplete follows the moments in which the last wanted piece is there, and in
// which more is wanted again.
func (c *Content) checkComplete() {
	if c.Cached() {
		return
	}
	switch done := c.allThere(); {
	case done && !c.complete && !c.cutting:
		c.finish()
	case !done && c.complete:
		c.complete = false
		c.host.Incomplete()
	}
}

// finish brings the files to their length, empty ones too, then says that the torrent is complete.
func (c *Content) finish() {
	if len(c.storage.Longer()) == 0 && !c.cfg.OnDemand {
		c.setComplete()
		return
	}
	c.cutting = true
	c.task(func() {
		warnings, err := c.cutFiles()
		if err == nil && c.cfg.OnDemand { // nobody has read the empty ones
			err = c.storage.CreateEmpty()
		}
		c.host.Do(func() {
			c.cutting = false
			for _, w := range warnings {
				c.host.Warn(w)
			}
			if err != nil {
				c.host.Fail(err)
				return
			}
			c.state.dirty = true
			if c.allThere() {
				c.setComplete()
			}
		})
	})
}

// task runs f in a goroutine that Wait waits for.
func (c *Content) task(f func()) {
	c.tasks.Add(1)
	if !c.host.Go(func() { defer c.tasks.Done(); f() }) {
		c.tasks.Done()
	}
}

func (c *Content) setComplete() {
	c.complete = true
	c.host.Completed()
	if c.state.dirty {
		c.Save(true)
	}
}

// Complete reports whether every wanted piece is there, and the files have their length.
func (c *Content) Complete() bool { return c.complete }

// Owns reports whether a file is the torrent's own, and as it left it: it may be removed.
// It is for any goroutine, after Close, too.
func (c *Content) Owns(file int) bool { return c.storage.Owns(file) }

// OwnFile returns the path of a file whose bytes lie in it at their own offsets. It may
// be called from any goroutine.
func (c *Content) OwnFile(file int) (path string, ok bool) { return c.storage.OwnFile(file) }
