package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/discovery"
	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/client/portmap"
	"github.com/causeway-bt/causeway/client/reach"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/webrtcwire"
	"github.com/causeway-bt/causeway/wire/transport"
	"github.com/causeway-bt/causeway/wire/utp"
)

// Version is what peers are told, in the extension handshake and to trackers.
const Version = "0.1.0"

const userAgent = "Causeway/" + Version

// What all torrents of a client share; see also Config.
const (
	// openFiles bounds the files kept open, well below the usual limit of 1024
	// descriptors, which connections need too.
	openFiles = 200
	// dialsAtOnce bounds connection attempts under way.
	dialsAtOnce = 50
	// punchesAtOnce bounds those by which holes are punched, which do not wait for the others:
	// the other side dials at the same moment.
	punchesAtOnce = 16
	// checksAtOnce is how many torrents have their files hashed at a time: more would
	// only make a disk seek.
	checksAtOnce = 2
	// earlyBytes bounds what peers say of their pieces before it is known how many
	// there are.
	earlyBytes = 16 << 20
	// incomingBytes bounds the long messages, bitfields most of them, that are being
	// read.
	incomingBytes = 16 << 20
	// metadataBytes bounds the metadata that peers send beyond a little each.
	metadataBytes = meta.MaxInfoSize + 16<<20
)

// Client is a BitTorrent client: the sockets, limits and memory that its torrents
// share.
type Client struct {
	cfg Config
	log *slog.Logger
	id  [20]byte // the peer id of the first torrent
	net *network.Network

	listener net.Listener // nil without TCP
	udp      *transport.UDPSocket
	utp      *utp.Socket // nil without
	mirror   *webrtcwire.Mirror
	reach    *reach.Reach
	shared   *swarm.Shared   // what finds peers and connects to them
	mapper   *portmap.Mapper // nil without

	memory  *disk.Memory
	pool    *disk.Pool
	handles *disk.Handles
	owners  *disk.Owners
	store   *disk.Store // nil without state

	// The allotment: what torrents have shares of.
	down   *allot.Rate
	up     allot.Upload
	conns  *allot.Connections
	gate   *allot.Gate  // handshakes of incoming connections
	checks *allot.Turns // to hash files
	cameIn atomic.Int64 // TCP connections that peers of other networks opened
	// Bytes: see earlyBytes and the like.
	early, incoming, metadata *allot.Budget

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	torrents []*Torrent
	swarms   map[[20]byte]member
	given    bool // c.id was
	closed   bool
}

// member is a swarm and the torrent that is in it.
type member struct {
	torrent *Torrent
	swarm   *swarm.Swarm
}

// ErrClosed is returned by a Client that was closed.
var ErrClosed = errors.New("the client is closed")

// New starts a client.
func New(cfg Config) (*Client, error) {
	stun, err := cfg.STUNServers()
	if err != nil {
		return nil, err
	}
	cfg.setDefaults()
	bind, err := network.ParseBind(cfg.ListenHost)
	if err != nil {
		return nil, fmt.Errorf("the address to listen on: %w", err)
	}
	if len(bind) > 1 {
		return nil, fmt.Errorf("there are %d addresses to listen on; one can be", len(bind))
	}
	way, err := network.New(network.Config{Bind: bind})
	if err != nil {
		return nil, fmt.Errorf("the address to listen on: %w", err)
	}
	c := &Client{
		cfg: cfg, log: cfg.Logger, net: way, id: swarm.NewPeerID(),
		memory:  disk.NewMemory(cfg.Memory),
		handles: disk.NewHandles(openFiles),
		up:      allot.NewUpload(cfg.UpLimit),
		down:    allot.NewRate(cfg.DownLimit),
		conns:   allot.NewConnections(cfg.MaxConnections),
		gate:    allot.NewGate(acceptsAtOnce),
		checks:  allot.NewTurns(checksAtOnce),
		early:   allot.NewBudget(earlyBytes), incoming: allot.NewBudget(incomingBytes), metadata: allot.NewBudget(metadataBytes),
		swarms: make(map[[20]byte]member),
	}
	if cfg.StateDir != "" {
		if err := os.MkdirAll(cfg.StateDir, 0o777); err != nil {
			return nil, fmt.Errorf("creating the state folder: %w; choose another with --state", err)
		}
		c.store = disk.NewStore(cfg.StateDir)
	}
	c.owners = disk.NewOwners(c.store)
	if err := c.listen(); err != nil {
		return nil, err
	}
	c.shared = &swarm.Shared{
		Net: c.net, Dials: allot.NewTurns(dialsAtOnce), Punches: allot.NewTurns(punchesAtOnce), Encryption: cfg.Encryption, UserAgent: userAgent,
		DisableTCP: cfg.DisableTCP, DisableTrackers: cfg.DisableTrackers, DisableWebTrackers: cfg.DisableWebTrackers,
		Port: c.port,
	}
	if !cfg.DisableUTP {
		c.startUTP()
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.startReach(stun)
	if err := c.startWeb(); err != nil {
		c.mirror.Close()
		c.reach.Close()
		c.closeSockets()
		return nil, err
	}
	c.pool = disk.NewPool(runtime.GOMAXPROCS(0))
	c.startDiscovery()
	c.wg.Go(tellMoves(c.ctx, c.reach, c.moved))
	if !cfg.DisablePortMap {
		c.mapper = portmap.New(portmap.Config{
			Network: c.net, Port: uint16(c.port()), TCP: c.listener != nil, Logger: c.log,
			OnChange: func(s portmap.Status) { c.cfg.OnEvent(PortMapEvent{s}) },
		})
		c.wg.Go(c.followMapping)
	}
	if c.listener != nil {
		c.wg.Go(func() { c.accept(c.listener, swarm.TCP) })
	}
	if c.utp != nil {
		c.wg.Go(func() { c.accept(c.utp, swarm.UTP) })
	}
	return c, nil
}

func (c *Client) listen() (err error) {
	o := transport.ListenOptions{Host: c.listenHost(), Port: c.cfg.Port, Fallback: c.cfg.PortFallback, Network: c.net, Logger: c.log}
	switch {
	case c.cfg.DisableTCP:
		c.udp, err = transport.ListenUDP(o)
	default:
		c.listener, c.udp, err = transport.ListenBoth(o)
	}
	return err
}

// listenHost is the one address to listen at, "" all that there are.
func (c *Client) listenHost() string {
	v4, v6 := c.net.Bound(true), c.net.Bound(false)
	switch {
	case v4.IsValid():
		return v4.String()
	case v6.IsValid():
		return v6.String()
	}
	return ""
}

// listenAddrs are the addresses that peers reach us at, nil if that is all of them.
func (c *Client) listenAddrs() (addrs []netip.Addr) {
	for _, a := range []netip.Addr{c.net.Bound(true), c.net.Bound(false)} {
		if a.IsValid() {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// startDiscovery starts what all torrents find peers by. What cannot be started is
// done without.
func (c *Client) startDiscovery() {
	var err error
	if !c.cfg.DisableDHT {
		c.shared.DHT, err = discovery.NewDHT(discovery.DHTConfig{
			Conn:      c.udp.Lend(transport.ClassDHT),
			Bootstrap: c.cfg.DHTBootstrap,
			Nodes:     nodeStore{c.store},
			Seen:      func(node, seen netip.Addr) { c.reach.Heard(reach.DHT, node, seen) },
			Network:   c.net,
			Logger:    c.log,
		})
		if err != nil {
			c.warn([20]byte{}, fmt.Sprintf("going on without DHT: %v", err))
		}
	}
	if !c.cfg.DisableLSD {
		if c.shared.LSD, err = discovery.NewLSD(discovery.LSDConfig{Network: c.net, Listen: c.listenAddrs(), Logger: c.log}); err != nil {
			c.log.Debug("going on without local service discovery", "err", err)
		}
	}
}

// startUTP starts uTP on the UDP socket.
func (c *Client) startUTP() {
	c.utp = utp.New(c.udp.Lend(transport.ClassUTP), utp.Config{Logger: c.log})
	c.shared.DialUTP = func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		if err := c.net.Uses(addr.Addr()); err != nil {
			return nil, err
		}
		return c.utp.DialContext(ctx, addr)
	}
}

// startWeb starts what connects to browsers.
func (c *Client) startWeb() (err error) {
	if c.cfg.DisableWebRTC {
		return nil
	}
	c.shared.RTC, err = webrtcwire.New(webrtcwire.Config{
		PacketConns: []net.PacketConn{
			c.udp.Lend(transport.ClassSTUN), c.udp.Lend(transport.ClassDTLS), c.udp.Lend(transport.ClassTURN),
		},
		ICEServers: slices.Concat(c.cfg.STUN, c.cfg.TURN),
		RelayOnly:  c.cfg.RelayOnly,
		Mirror:     c.mirror,
		TCPPort:    c.tcpPort(),
		Mapped:     c.mappedPorts,
		Network:    c.net,
		Logger:     c.log,
	})
	if err != nil {
		return fmt.Errorf("starting WebRTC: %w", err)
	}
	if !c.cfg.DisableTrackers {
		c.shared.WS = ws.New(ws.Config{Network: c.net, UserAgent: userAgent, Logger: c.log})
	}
	return nil
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

// PeerID returns the id by which peers know the first torrent; each other one has an
// id of its own.
func (c *Client) PeerID() [20]byte { return c.id }

// nextPeerID returns the peer id of another swarm. c.mu is held.
func (c *Client) nextPeerID() [20]byte {
	if !c.given {
		c.given = true
		return c.id
	}
	return swarm.NewPeerID()
}

// TCPAddr returns the address that peers connect to, nil without TCP.
func (c *Client) TCPAddr() net.Addr {
	if c.listener == nil {
		return nil
	}
	return c.listener.Addr()
}

// tcpPort is the port that peers connect to, 0 without TCP.
func (c *Client) tcpPort() int {
	if tcp, ok := c.TCPAddr().(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// UDPAddr returns the address of the UDP socket.
func (c *Client) UDPAddr() net.Addr { return c.udp.LocalAddr() }

// port is where peers reach us.
func (c *Client) port() int { return c.udp.LocalAddr().Port }

// SetLimits changes the rates of the whole client; the other fields of l are not used.
func (c *Client) SetLimits(l Limits) {
	c.down.Set(l.Down)
	c.up.Set(l.Up)
	for _, t := range c.Torrents() {
		t.spawn(func() {
			t.do(func() {
				t.limitsChanged()
				t.wakeUp()
			})
		})
	}
	c.cfg.OnEvent(LimitsEvent{Limits: Limits{Down: l.Down, Up: l.Up}})
}

// Add adds a torrent, and starts it unless told otherwise. Two of one infohash cannot
// be there at a time.
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
	if infoHash := src.InfoHash(); c.swarms[infoHash].torrent != nil {
		return nil, fmt.Errorf("the torrent %x is running already", infoHash)
	}
	t, err := newTorrent(c, src, opts)
	if err != nil {
		return nil, err
	}
	c.torrents = append(c.torrents, t)
	for _, s := range t.swarms {
		c.swarms[s.InfoHash()] = member{t, s}
	}
	go t.run()
	return t, nil
}

// Torrents returns the torrents of the client, in the order in which they were added.
func (c *Client) Torrents() []*Torrent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.torrents)
}

// member returns the swarm of an infohash.
func (c *Client) member(infoHash [20]byte) (member, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.swarms[infoHash]
	return m, ok
}

// infoHashes yields those of all swarms, for encrypted handshakes.
func (c *Client) infoHashes(yield func([]byte) bool) {
	c.mu.Lock()
	hashes := make([][20]byte, 0, len(c.swarms))
	for h := range c.swarms {
		hashes = append(hashes, h)
	}
	c.mu.Unlock()
	for i := range hashes {
		if !yield(hashes[i][:]) {
			return
		}
	}
}

func (c *Client) remove(t *Torrent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range t.swarms {
		delete(c.swarms, s.InfoHash())
	}
	c.torrents = slices.DeleteFunc(c.torrents, func(other *Torrent) bool { return other == t })
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
	torrents := slices.Clone(c.torrents)
	c.mu.Unlock()
	c.cancel()
	var closing sync.WaitGroup
	if c.mapper != nil {
		closing.Go(c.mapper.Close)
	}
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
	c.reach.Close() // it tells the others of changes
	if c.shared.DHT != nil {
		c.shared.DHT.Close()
	}
	if c.shared.LSD != nil {
		c.shared.LSD.Close()
	}
	if c.shared.WS != nil {
		c.shared.WS.Close()
	}
	if c.shared.RTC != nil {
		c.shared.RTC.Close()
	}
	c.mirror.Close()
	c.closeSockets()
	c.wg.Wait()
	c.pool.Close()
	return all
}

func (c *Client) closeSockets() {
	if c.listener != nil {
		c.listener.Close()
	}
	if c.utp != nil {
		c.utp.Close()
	}
	c.udp.Close()
}

func (c *Client) warn(infoHash [20]byte, message string) {
	c.cfg.OnEvent(WarningEvent{infoHash, message})
}

// WithWebTrackers returns tiers of trackers with the default WebSocket trackers added,
// each a tier of its own, if there is no WebSocket tracker among them.
func WithWebTrackers(tiers [][]string) [][]string { return swarm.WithWebTrackers(tiers) }
