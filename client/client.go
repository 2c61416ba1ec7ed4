package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/causeway-bt/causeway/client/discovery"
	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/webrtcwire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// Version is what peers are told, in the extension handshake and to trackers.
const Version = "0.1.0"

// peerIDPrefix is Causeway's mark in peer ids, in the customary form: CW and four
// digits of the version.
const peerIDPrefix = "-CW0100-"

const (
	// openFiles bounds the files kept open, well below the usual limit of 1024
	// descriptors, which connections need too.
	openFiles = 200
	// dialsAtOnce bounds connection attempts under way.
	dialsAtOnce = 50
	// leaveTimeout is how long Close waits for trackers to hear that we leave.
	leaveTimeout = 3 * time.Second
)

// Client is a BitTorrent client: the sockets, limits and memory that its torrents
// share.
type Client struct {
	cfg Config
	log *slog.Logger
	id  [20]byte
	key uint32 // tells trackers that it is still us when our address changes

	listener net.Listener // nil without TCP
	udp      *transport.UDPSocket
	dht      *discovery.DHT        // nil without DHT
	lsd      *discovery.LSD        // nil without LSD
	rtc      *webrtcwire.Transport // nil without WebRTC
	ws       *ws.Manager           // nil without WebRTC or trackers

	memory  *disk.Memory
	pool    *disk.Pool
	handles *disk.Handles
	store   *disk.Store // nil without state

	up, down    *rate.Limiter // nil without limit
	dials       chan struct{}
	connections atomic.Int64

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	torrents map[[20]byte]*Torrent
	closed   bool
}

// ErrClosed is returned by a Client that was closed.
var ErrClosed = errors.New("the client is closed")

// New starts a client.
func New(cfg Config) (*Client, error) {
	cfg.setDefaults()
	c := &Client{
		cfg: cfg, log: cfg.Logger,
		memory:   disk.NewMemory(cfg.Memory),
		handles:  disk.NewHandles(openFiles),
		up:       newLimiter(cfg.UpLimit),
		down:     newLimiter(cfg.DownLimit),
		dials:    make(chan struct{}, dialsAtOnce),
		torrents: make(map[[20]byte]*Torrent),
	}
	copy(c.id[:], peerIDPrefix+rand.Text())
	c.key = uint32(c.id[10])<<16 | uint32(c.id[11])<<8 | uint32(c.id[12])
	if cfg.StateDir != "" {
		if err := os.MkdirAll(cfg.StateDir, 0o777); err != nil {
			return nil, fmt.Errorf("creating the state folder: %w; choose another with --state", err)
		}
		c.store = disk.NewStore(cfg.StateDir)
	}
	if err := c.listen(); err != nil {
		return nil, err
	}
	if err := c.startWeb(); err != nil {
		c.closeSockets()
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.pool = disk.NewPool(runtime.GOMAXPROCS(0))
	c.startDiscovery()
	if c.listener != nil {
		c.wg.Go(c.accept)
	}
	return c, nil
}

// limitBurst is what a rate limiter lets through at once, in seconds of the rate;
// at least one block.
const limitBurst = 0.1

func newLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), max(int(float64(bytesPerSecond)*limitBurst), 17<<10))
}

func (c *Client) listen() (err error) {
	o := transport.ListenOptions{Host: c.cfg.ListenHost, Port: c.cfg.Port, Fallback: c.cfg.PortFallback, Logger: c.log}
	switch {
	case c.cfg.DisableTCP:
		c.udp, err = transport.ListenUDP(o)
	default:
		c.listener, c.udp, err = transport.ListenBoth(o)
	}
	return err
}

// startDiscovery starts what all torrents find peers by. What cannot be started is
// done without.
func (c *Client) startDiscovery() {
	var err error
	if !c.cfg.DisableDHT {
		c.dht, err = discovery.NewDHT(discovery.DHTConfig{
			Conn:      c.udp.Lend(transport.ClassDHT),
			Bootstrap: c.cfg.DHTBootstrap,
			Nodes:     nodeStore{c.store},
			Logger:    c.log,
		})
		if err != nil {
			c.warn([20]byte{}, fmt.Sprintf("going on without DHT: %v", err))
		}
	}
	if !c.cfg.DisableLSD {
		if c.lsd, err = discovery.NewLSD(discovery.LSDConfig{Logger: c.log}); err != nil {
			c.log.Debug("going on without local service discovery", "err", err)
		}
	}
}

// nodeStore keeps the DHT's nodes in the resume state.
type nodeStore struct{ store *disk.Store }

func (n nodeStore) Load() []byte {
	if n.store == nil {
		return nil
	}
	b, _ := n.store.LoadNodes()
	return b
}

func (n nodeStore) Save(b []byte) error {
	if n.store == nil {
		return nil
	}
	return n.store.SaveNodes(b)
}

// PeerID returns the id by which peers know this client.
func (c *Client) PeerID() [20]byte { return c.id }

// TCPAddr returns the address that peers connect to, nil without TCP.
func (c *Client) TCPAddr() net.Addr {
	if c.listener == nil {
		return nil
	}
	return c.listener.Addr()
}

// UDPAddr returns the address of the UDP socket.
func (c *Client) UDPAddr() net.Addr { return c.udp.LocalAddr() }

// port is where peers reach us.
func (c *Client) port() int { return c.udp.LocalAddr().Port }

// Add starts a torrent. Two of one infohash cannot be run at a time.
func (c *Client) Add(src *meta.Source, opts TorrentOptions) (*Torrent, error) {
	if opts.Dir == "" {
		opts.Dir = "."
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("finding the folder %s: %w", opts.Dir, err)
	}
	opts.Dir = dir
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if infoHash := src.InfoHash(); c.torrents[infoHash] != nil {
		return nil, fmt.Errorf("the torrent %x is running already", infoHash)
	}
	t, err := newTorrent(c, src, opts)
	if err != nil {
		return nil, err
	}
	c.torrents[t.infoHash] = t
	go t.run()
	return t, nil
}

// Torrents returns the torrents that are running.
func (c *Client) Torrents() []*Torrent {
	c.mu.Lock()
	defer c.mu.Unlock()
	ts := make([]*Torrent, 0, len(c.torrents))
	for _, t := range c.torrents {
		ts = append(ts, t)
	}
	return ts
}

func (c *Client) torrent(infoHash [20]byte) *Torrent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.torrents[infoHash]
}

func (c *Client) remove(t *Torrent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.torrents, t.infoHash)
}

// Close ends all torrents, tells trackers so, and saves the state. The error says
// what kept state from being saved.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	torrents := c.Torrents()
	c.cancel()
	var closing sync.WaitGroup
	errs := make(chan error, len(torrents))
	for _, t := range torrents {
		closing.Go(func() { errs <- t.Close() })
	}
	closing.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	if c.dht != nil {
		c.dht.Close()
	}
	if c.lsd != nil {
		c.lsd.Close()
	}
	c.closeWeb()
	c.closeSockets()
	c.wg.Wait()
	c.pool.Close()
	return all
}

func (c *Client) closeSockets() {
	if c.listener != nil {
		c.listener.Close()
	}
	c.udp.Close()
}

func (c *Client) warn(infoHash [20]byte, message string) {
	c.cfg.OnEvent(WarningEvent{infoHash, message})
}
