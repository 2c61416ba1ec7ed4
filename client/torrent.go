package client

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/client/choker"
	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/picker"
	"github.com/causeway-bt/causeway/tracker"
)

// Torrent is one torrent of a Client. Its methods may be called from any
// goroutine.
type Torrent struct {
	client   *Client
	infoHash [20]byte
	opts     TorrentOptions
	log      *slog.Logger

	source   sourceInfo
	info     atomic.Pointer[meta.Info]
	storage  atomic.Pointer[disk.Storage]
	verified atomic.Pointer[pieceSet] // set once the files have been checked

	downloaded, uploaded, wasted atomic.Int64 // payload bytes of this run
	checked, toCheck             atomic.Int64 // bytes
	left                         atomic.Int64 // wanted bytes that are lacking
	bridgedToWeb                 atomic.Int64
	bridgedToClassic             atomic.Int64
	origins                      atomic.Pointer[origins]

	streams             streams
	web                 *webSwarm
	peerCount, webPeers atomic.Int64
	peerIDs             sync.Map // *peer by [20]byte, of those that are connected

	gotInfo, complete, failed signal
	err                       error // readable once failed

	// Ways into the event loop.
	mail     mailbox
	joins    chan *newConn
	commands chan func()
	pending  atomic.Int32          // commands that are not done
	resting  atomic.Pointer[Stats] // what Stats returns while nothing happens; nil otherwise
	ctx      context.Context
	cancel   context.CancelFunc
	ended    chan struct{}
	closeErr error          // readable once ended
	tasks    sync.WaitGroup // goroutines of this torrent other than the loop
	spawning sync.Mutex     // guards tasks against an Add after its Wait
	closing  bool           // guarded by spawning
	leaving  sync.Once

	loop loop
}

// sourceInfo is what the torrent's source says besides its info dictionary.
type sourceInfo struct {
	name     string
	trackers [][]string
	added    []string // WebSocket trackers that are not the torrent's own
	webSeeds []string
	sel      string
}

// loop is the state that only the event loop touches.
type loop struct {
	phase      phase
	timer      *time.Timer
	peers      map[*peer]struct{}
	byID       map[[20]byte]*peer
	nextPeerID int
	bans       bans

	candidates candidates
	announcer  *tracker.Announcer
	stopDHT    context.CancelFunc // nil: not announced by DHT or LSD
	discovered bool               // discovery was started

	metadata metadataFetch

	picker      *picker.Picker
	selected    []bool
	pieces      map[int]*disk.Piece // open pieces
	suspects    map[int]*suspect
	deadlines   map[int]time.Time // of the pieces that readers want
	streaming   bool              // there are such pieces
	lent        map[int]struct{}  // pieces that only readers want, and that are lacking
	wanted      int64             // bytes in wanted pieces
	wantedLeft  int64             // of them lacking
	completed   int64             // bytes verified
	state       resumeState
	fillSoon    bool      // peers wait for upload slots that may be free
	lastPeer    time.Time // when a peer was last connected
	spareInbox  []event   // scratch
	dialling    int
	choker      *choker.Choker
	nextRechoke time.Time
	wasComplete bool
	downRate    rateMeter
	upRate      rateMeter
	lastRates   time.Time
	picks       []picker.Request // scratch
	wantMoreAt  time.Time
}

// phase is where a torrent stands in its life: metadata, then checking, then live;
// failed from any of them.
type phase int

const (
	phaseMetadata phase = iota // the info dictionary is being fetched
	phaseChecking              // files are compared with the resume state, and hashed where needed
	phaseLive                  // downloading or seeding
	phaseFailed
)

// signal is a channel that is closed once.
type signal struct {
	once sync.Once
	ch   chan struct{}
}

func newSignal() signal { return signal{ch: make(chan struct{})} }

func (s *signal) fire() { s.once.Do(func() { close(s.ch) }) }

// commandQueue is how many commands may wait for the loop before their senders do.
const commandQueue = 16

func newTorrent(c *Client, src *meta.Source, opts TorrentOptions) (*Torrent, error) {
	t := &Torrent{
		client: c, infoHash: src.InfoHash(), opts: opts,
		gotInfo: newSignal(), complete: newSignal(), failed: newSignal(),
		mail:     newMailbox(),
		streams:  newStreams(),
		joins:    make(chan *newConn),
		commands: make(chan func(), commandQueue),
		ended:    make(chan struct{}),
	}
	t.log = c.log.With("torrent", hex.EncodeToString(t.infoHash[:4]))
	t.ctx, t.cancel = context.WithCancel(c.ctx)
	t.loop = loop{
		timer:      time.NewTimer(0),
		peers:      make(map[*peer]struct{}),
		byID:       make(map[[20]byte]*peer),
		bans:       newBans(),
		candidates: newCandidates(),
		pieces:     make(map[int]*disk.Piece),
		suspects:   make(map[int]*suspect),
		lent:       make(map[int]struct{}),
		choker: choker.New(choker.Config{
			Slots: c.cfg.Slots, WebSlots: c.webSlots(), Random: randomInt,
		}),
	}
	t.left.Store(unknownLeft)
	peers := opts.Peers
	if src.Torrent != nil {
		t.source.trackers = slices.Clone(src.Torrent.Trackers)
		t.source.webSeeds = src.Torrent.WebSeeds
		if err := t.setInfo(src.Torrent.Info); err != nil {
			t.cancel()
			return nil, err
		}
	} else {
		m := src.Magnet
		t.source.name, t.source.sel, t.source.webSeeds = m.Name, m.Select, m.WebSeeds
		for _, url := range m.Trackers {
			t.source.trackers = append(t.source.trackers, []string{url})
		}
		peers = append(slices.Clone(peers), m.Peers...)
		if info := t.storedInfo(); info != nil {
			if err := t.setInfo(info); err != nil {
				t.cancel()
				return nil, err
			}
		}
	}
	for _, url := range opts.Trackers {
		if !slices.Contains(slices.Concat(t.source.trackers...), url) {
			t.source.trackers = append(t.source.trackers, []string{url})
		}
	}
	t.addWebTrackers()
	t.web = newWebSwarm(t)
	t.spawn(func() { t.resolvePeers(peers) })
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
	t.tasks.Go(f)
	return true
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

// setInfo makes the info dictionary known and applies the selection to it. The
// files are looked at when the loop gets to it.
func (t *Torrent) setInfo(info *meta.Info) error {
	selected, err := meta.ParseSelection(t.opts.Select, info)
	if err != nil {
		return err
	}
	if t.opts.Select == "" && t.source.sel != "" {
		selected = meta.SelectOnly(t.source.sel, info)
	}
	t.loop.selected = selected
	t.boundCache(info)
	t.loop.phase = phaseChecking
	t.info.Store(info)
	t.gotInfo.fire()
	return nil
}

// InfoHash returns the v1 infohash.
func (t *Torrent) InfoHash() [20]byte { return t.infoHash }

// Info returns what is in the torrent, nil until GotInfo.
func (t *Torrent) Info() *meta.Info { return t.info.Load() }

// Selected says for each file whether it is wanted. It may be called after GotInfo.
func (t *Torrent) Selected() []bool { return t.loop.selected }

// Dir returns the folder that the torrent's file or folder is in.
func (t *Torrent) Dir() string { return t.opts.Dir }

// GotInfo is closed once the info dictionary is known.
func (t *Torrent) GotInfo() <-chan struct{} { return t.gotInfo.ch }

// Complete is closed once every wanted file is there.
func (t *Torrent) Complete() <-chan struct{} { return t.complete.ch }

// Failed is closed when the torrent cannot go on; Err then says why.
func (t *Torrent) Failed() <-chan struct{} { return t.failed.ch }

// Err returns why the torrent failed, nil if it has not.
func (t *Torrent) Err() error {
	select {
	case <-t.failed.ch:
		return t.err
	default:
		return nil
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
	for _, tier := range t.source.trackers {
		m.Trackers = append(m.Trackers, tier...)
	}
	return m.String()
}

// Close ends the torrent and saves its state; the error says that this failed. Its
// files stay where they are.
func (t *Torrent) Close() error {
	t.cancel()
	<-t.ended
	return t.closeErr
}

// do runs f in the event loop, without waiting for it to be done. It reports false
// if the loop has ended.
func (t *Torrent) do(f func()) bool {
	t.pending.Add(1)
	select {
	case t.commands <- f:
		return true
	case <-t.ctx.Done():
		t.pending.Add(-1)
		return false
	}
}

// fail ends the torrent's work for good.
func (t *Torrent) fail(err error) {
	l := &t.loop
	if l.phase == phaseFailed || t.ctx.Err() != nil {
		return
	}
	t.log.Error("torrent failed", "err", err)
	l.phase = phaseFailed
	t.err = err
	t.failed.fire()
	for p := range l.peers {
		t.drop(p, fmt.Errorf("the torrent failed: %w", err))
	}
	t.dropPieces()
	t.stopDiscovery()
	t.spawn(t.leave)
}

// isSeed reports whether everything that is wanted is here, and stays.
func (t *Torrent) isSeed() bool {
	return t.loop.phase == phaseLive && t.loop.wantedLeft == 0 && t.opts.Cache == 0
}

// countLeft tells the announces how much is lacking.
func (t *Torrent) countLeft() {
	left := t.loop.wantedLeft
	if t.opts.Cache > 0 {
		left = t.Info().Length - t.loop.completed
	}
	t.left.Store(left)
}

// dropPieces gives up the pieces that are open, and their memory.
func (t *Torrent) dropPieces() {
	for index, piece := range t.loop.pieces {
		if piece.Drop() {
			delete(t.loop.pieces, index)
		}
	}
}

// AddPeers makes addresses known, as if they had been found.
func (t *Torrent) AddPeers(addrs []string) {
	t.spawn(func() { t.resolvePeers(addrs) })
}
