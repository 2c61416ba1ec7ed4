package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/choker"
	"github.com/causeway-bt/causeway/client/content"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/picker"
	"github.com/causeway-bt/causeway/client/source"
	"github.com/causeway-bt/causeway/client/swarm"
)

// Torrent is one torrent of a Client. Its methods may be called from any
// goroutine. What it does over time is in lifecycle.go.
type Torrent struct {
	client   *Client
	infoHash [20]byte
	opts     TorrentOptions
	log      *slog.Logger
	source   sourceInfo
	swarms   []*swarm.Swarm

	info     atomic.Pointer[meta.Info]
	dir      atomic.Pointer[string]
	selected atomic.Pointer[[]bool]
	limits   atomic.Pointer[Limits]
	content  atomic.Pointer[content.Content] // nil while nothing is done with the files
	readers  *content.Readers
	// lastContent is the content that was live last, for Owns.
	lastContent atomic.Pointer[content.Content]
	down        *allot.Rate
	up          allot.Upload

	downloaded, uploaded, wasted atomic.Int64 // payload bytes since Add
	uploadedWeb, downloadedWeb   atomic.Int64 // the part of browsers
	bridgedToWeb                 atomic.Int64
	bridgedToClassic             atomic.Int64
	peerCount, webPeers          atomic.Int64
	peerIDs                      sync.Map // *peer by [20]byte, of those that are connected

	gotInfo, complete, failed latch
	errMu                     sync.Mutex
	err                       error

	// Ways into the event loop.
	mail     mailbox
	joins    chan *swarm.Conn
	commands chan func()
	pending  atomic.Int32          // commands that are not done
	resting  atomic.Pointer[Stats] // what Stats returns while nothing happens; nil otherwise
	slowest  atomic.Int64          // nanoseconds: the longest delay of the loop
	ctx      context.Context
	cancel   context.CancelFunc
	ended    chan struct{}
	closeErr error          // readable once ended
	tasks    sync.WaitGroup // goroutines of this torrent other than the loop
	spawning sync.Mutex     // guards tasks against an Add after its Wait
	closing  bool           // guarded by spawning
	changing chan struct{}  // held by Start, Stop and the like: one at a time
	// removed: nothing may follow but Close; removedOnce: and that was told.
	removed, removedOnce atomic.Bool

	loop loop
}

// sourceInfo is what the torrent's source says besides its info dictionary.
type sourceInfo struct {
	name     string
	webSeeds []string
	sel      string
	magnet   *meta.Magnet // nil for a .torrent file
}

// loop is the state that only the event loop touches.
type loop struct {
	phase phase
	told  State // in the last StateEvent
	run   *run  // nil while stopped
	timer *time.Timer
	due   time.Time // when timer is to fire
	// settling is closed when the last failure is done with the files; nil: none was.
	settling <-chan struct{}

	peers      map[*peer]struct{}
	byID       map[[20]byte]*peer
	nextPeerID int
	bans       *source.Bans

	punches map[netip.AddrPort]*punch // that relays were asked for
	guesses *rate.Limiter             // relays that may not know whom we want

	metadata metadataFetch
	content  *content.Content // as Torrent.content; set before it is checked

	fillSoon    bool      // peers wait for upload slots that may be free
	throttled   bool      // a limit kept us from asking for more
	throttledAt time.Time // when one did last
	lastPeer    time.Time // when a peer was last connected
	choker      *choker.Choker
	nextRechoke time.Time
	unused      map[netip.Prefix]int // turns that hosts did not use, less those that they did
	downRate    rateMeter
	upRate      rateMeter
	lastRates   time.Time
	spareInbox  []event          // scratch
	picks       []picker.Request // scratch
	asks        []source.Request // scratch
}

// latch is a channel that is closed while something is so.
type latch struct {
	mu sync.Mutex
	ch chan struct{}
	on bool
}

func newLatch() latch { return latch{ch: make(chan struct{})} }

func (l *latch) set() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on {
		l.on = true
		close(l.ch)
	}
}

func (l *latch) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on {
		l.on, l.ch = false, make(chan struct{})
	}
}

func (l *latch) done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ch
}

// commandQueue is how many commands may wait for the loop before their senders do.
const commandQueue = 16

func newTorrent(c *Client, src *meta.Source, opts TorrentOptions) (*Torrent, error) {
	t := &Torrent{
		client: c, infoHash: src.InfoHash(), opts: opts,
		gotInfo: newLatch(), complete: newLatch(), failed: newLatch(),
		mail:     newMailbox(),
		joins:    make(chan *swarm.Conn),
		commands: make(chan func(), commandQueue),
		ended:    make(chan struct{}),
		changing: make(chan struct{}, 1),
		down:     allot.NewRate(opts.Limits.Down),
		up:       allot.NewUpload(opts.Limits.Up),
	}
	t.readers = content.NewReaders(t.mail.streamsChanged)
	t.dir.Store(&opts.Dir)
	t.limits.Store(&opts.Limits)
	t.log = c.log.With("torrent", hex.EncodeToString(t.infoHash[:4]))
	t.ctx, t.cancel = context.WithCancel(c.ctx)
	t.loop = loop{
		timer:   time.NewTimer(tickIdle),
		peers:   make(map[*peer]struct{}),
		byID:    make(map[[20]byte]*peer),
		punches: make(map[netip.AddrPort]*punch),
		guesses: rate.NewLimiter(rate.Every(guessInterval), guessBurst),
		bans:    source.NewBans(), unused: make(map[netip.Prefix]int),
	}
	t.loop.choker = choker.New(choker.Config{Random: rand.IntN})
	peers, named := opts.Peers, slices.Clone(opts.LinkPeers)
	var trackers [][]string
	if src.Torrent != nil {
		trackers = slices.Clone(src.Torrent.Trackers)
		t.source.webSeeds = src.Torrent.WebSeeds
		if err := t.setInfo(src.Torrent.Info); err != nil {
			t.cancel()
			return nil, err
		}
	} else {
		m := src.Magnet
		t.source.magnet, t.source.name, t.source.sel, t.source.webSeeds = m, m.Name, m.Select, m.WebSeeds
		for _, url := range m.Trackers {
			trackers = append(trackers, []string{url})
		}
		named = append(named, m.Peers...)
		if info := t.storedInfo(); info != nil {
			if err := t.setInfo(info); err != nil {
				t.cancel()
				return nil, err
			}
		}
	}
	for _, url := range opts.Trackers {
		if !slices.Contains(slices.Concat(trackers...), url) {
			trackers = append(trackers, []string{url})
		}
	}
	t.setSlots()
	t.swarms = []*swarm.Swarm{swarm.New(swarm.Config{
		InfoHash: t.infoHash, PeerID: c.nextPeerID(), Trackers: trackers,
		Shared: c.shared, Host: swarmHost{t}, Logger: t.log,
		Down: allot.NewRate(0), Up: allot.NewUpload(0),
	})}
	if dht := c.shared.DHT; dht != nil && t.mayDiscover() {
		dht.AddNodes(netip.Addr{}, src.Nodes())
	}
	for _, s := range t.swarms {
		t.spawn(func() {
			s.Resolve(t.ctx, peers, true)
			s.Resolve(t.ctx, named, false)
		})
	}
	return t, nil
}

// spawn runs f in a goroutine that Close waits for. It reports false, and does
// nothing, once the torrent is closing.
func (t *Torrent) spawn(f func()) bool {
	t.spawning.Lock()
	defer t.spawning.Unlock()
	if t.closing {
		return false
	}
	t.tasks.Go(func() {
		defer t.recoverPanic()
		f()
	})
	return true
}

// recoverPanic turns a bug in a goroutine of the torrent into the torrent's failure.
func (t *Torrent) recoverPanic() {
	if r := recover(); r != nil {
		t.log.Error("panic; please report this", "panic", r, "stack", string(debug.Stack()))
		t.do(func() { t.fail(fmt.Errorf("a fault of this program: %v", r)) })
	}
}

// guardTask runs f, which looks at what a stranger sent, and turns a panic into an error:
// it is no reason for the torrent to end.
func (t *Torrent) guardTask(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			t.log.Error("panic; please report this", "doing", what, "panic", r, "stack", stack())
			err = fmt.Errorf("%s: panic: %v", what, r)
		}
	}()
	return f()
}

// connected returns a peer if it is connected, else nil, from any goroutine.
func (t *Torrent) connected(peerID [20]byte) *peer {
	p, _ := t.peerIDs.Load(peerID)
	connected, _ := p.(*peer)
	return connected
}

// storedInfo returns the info dictionary of an earlier run.
func (t *Torrent) storedInfo() *meta.Info {
	if t.client.store == nil {
		return nil
	}
	raw, err := t.client.store.LoadInfo(t.infoHash)
	if err != nil || raw == nil {
		return nil
	}
	info, err := meta.ParseInfo(raw)
	if err != nil || info.InfoHash != t.infoHash {
		return nil
	}
	return info
}

// setInfo makes the info dictionary known and applies the selection to it.
func (t *Torrent) setInfo(info *meta.Info) error {
	selected, err := meta.ParseSelection(t.opts.Select, info)
	if err != nil {
		return err
	}
	if t.opts.Select == "" && t.source.sel != "" {
		selected = meta.SelectOnly(t.source.sel, info)
	}
	t.selected.Store(&selected)
	t.info.Store(info)
	t.gotInfo.set()
	return nil
}

// InfoHash returns the v1 infohash.
func (t *Torrent) InfoHash() [20]byte { return t.infoHash }

// Info returns what is in the torrent, nil until GotInfo.
func (t *Torrent) Info() *meta.Info { return t.info.Load() }

// Selected says for each file whether it is wanted. It may be called after GotInfo.
func (t *Torrent) Selected() []bool { return slices.Clone(*t.selected.Load()) }

// Dir returns the folder that the torrent's file or folder is in.
func (t *Torrent) Dir() string { return *t.dir.Load() }

// Owns reports whether a file is the torrent's own, and as it left it: it may be
// removed. It may be called after Close, too.
func (t *Torrent) Owns(file int) bool {
	c := t.lastContent.Load()
	return c != nil && c.Owns(file)
}

// GotInfo is closed once the info dictionary is known.
func (t *Torrent) GotInfo() <-chan struct{} { return t.gotInfo.done() }

// Complete is closed once every wanted file is there. When that is no longer so,
// because more is selected or data was lost, or not known, because the torrent was
// stopped or is checked anew, the next call returns another channel.
func (t *Torrent) Complete() <-chan struct{} { return t.complete.done() }

// Failed is closed when the torrent cannot go on; Err then says why, and Start tries
// again.
func (t *Torrent) Failed() <-chan struct{} { return t.failed.done() }

// Err returns why the torrent failed, nil if it has not.
func (t *Torrent) Err() error {
	t.errMu.Lock()
	defer t.errMu.Unlock()
	return t.err
}

func (t *Torrent) setErr(err error) {
	t.errMu.Lock()
	t.err = err
	t.errMu.Unlock()
	t.readers.SetErr(err)
	if err != nil {
		t.failed.set()
	} else {
		t.failed.reset()
	}
}

// Name returns the torrent's name, or before it is known the magnet link's or the
// infohash.
func (t *Torrent) Name() string {
	switch info := t.Info(); {
	case info != nil:
		return info.Name
	case t.source.name != "":
		return t.source.name
	default:
		return hex.EncodeToString(t.infoHash[:])
	}
}

// Magnet returns a magnet link with the torrent's trackers.
func (t *Torrent) Magnet() string {
	m := meta.Magnet{InfoHash: t.infoHash, WebSeeds: t.source.webSeeds}
	if info := t.Info(); info != nil {
		m.InfoHashV2 = info.InfoHashV2
		m.Name = info.Name
	} else {
		m.Name = t.source.name
	}
	for _, s := range t.swarms {
		for _, tier := range s.Trackers() {
			m.Trackers = append(m.Trackers, tier...)
		}
	}
	return m.String()
}

// OpenFile returns a reader of a file, by its index in Info().Files. It may be called
// after GotInfo. When ctx ends, Read returns its error.
func (t *Torrent) OpenFile(ctx context.Context, file int) (*FileReader, error) {
	return t.readers.Open(ctx, t.Info(), file)
}

// FileReader reads one file of a torrent in order, waiting for what is not there yet.
type FileReader = content.Reader

// Prefetch asks for the head and the tail of a file before the rest: what a player
// looks at to find out what the file is.
func (t *Torrent) Prefetch(file int) {
	if info := t.Info(); info != nil && file >= 0 && file < len(info.Files) {
		t.readers.Prefetch(file)
	}
}

// Arrived returns how many blocks are there of the piece that has the byte at off of a
// file, while the piece is being fetched; it shows whether somebody sends it.
func (t *Torrent) Arrived(file int, off int64) (blocks int) {
	info := t.Info()
	if info == nil || file < 0 || file >= len(info.Files) {
		return 0
	}
	piece := int((info.Files[file].Offset + off) / info.PieceLength)
	_ = t.call(func() { // a torrent that has ended has none
		if t.loop.phase == phaseLive {
			blocks = t.loop.content.Arrived(piece)
		}
	})
	return blocks
}

// CompletedOf returns how many bytes of a file are verified.
func (t *Torrent) CompletedOf(file int) int64 {
	info, c := t.Info(), t.content.Load()
	if info == nil || c == nil {
		return 0
	}
	return c.CompletedOf(file)
}

// do runs f in the event loop, without waiting for it to be done. It reports false
// if the loop has ended.
func (t *Torrent) do(f func()) bool {
	t.pending.Add(1)
	select {
	case t.commands <- f:
		return true
	case <-t.ended:
		t.pending.Add(-1)
		return false
	}
}

// call runs f in the event loop and waits for it.
func (t *Torrent) call(f func()) error {
	done := make(chan struct{})
	if !t.do(func() { defer close(done); f() }) {
		return ErrClosed
	}
	select {
	case <-done:
		return nil
	case <-t.ended:
		return ErrClosed
	}
}

// isSeed reports whether everything that is wanted is here, and stays.
func (t *Torrent) isSeed() bool {
	return t.loop.phase == phaseLive && t.loop.content.IsSeed()
}

// mayDiscover: private torrents find peers by their trackers only (BEP 27).
func (t *Torrent) mayDiscover() bool {
	info := t.Info()
	return !t.opts.TrackersOnly && (info == nil || !info.Private)
}

// AddPeers makes addresses known, as if the user had named them at the start.
func (t *Torrent) AddPeers(addrs []string) {
	for _, s := range t.swarms {
		t.spawn(func() { s.Resolve(t.ctx, addrs, true) })
	}
}

var errPrivate = errors.New("the torrent is private; its trackers will name it again if it belongs there")
