package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anacrolix/log"
)

const (
	// queryTimeout is how long a node has to answer a query. Round trips above it
	// are rare; a longer one makes each dead node hold up a lookup.
	queryTimeout = 1500 * time.Millisecond
	// sendRate and sendBurst bound the packets per second that are sent, answers
	// included; about 10 kB/s, as in libtorrent.
	sendRate  = 100
	sendBurst = 200
	// maxPendingPings bounds the addresses of each family (of PORT messages, of the last
	// run, of bootstrap nodes) that wait to be tried, by as many workers; more are dropped.
	maxPendingPings = 256
	pingWorkers     = 4
	// enoughNodes is the size of the routing table from which on addresses from
	// PORT messages are not needed.
	enoughNodes = 300
	// maxNamedNodes bounds the nodes tried of one torrent, maxPendingNames the torrents whose
	// nodes wait to be looked up; more are dropped.
	maxNamedNodes   = 32
	maxPendingNames = 64
	// maxSavedNodes bounds what is kept of each family between runs.
	maxSavedNodes = 300
	// saveInterval is how often nodes are saved, so that a crash loses little.
	saveInterval = 10 * time.Minute
	// tableInterval is how often the routing table's growth is looked at.
	tableInterval = 250 * time.Millisecond
)

// DefaultBootstrap lists public nodes that introduce newcomers to the DHT.
var DefaultBootstrap = []string{
	"dht.libtorrent.org:25401",
	"router.bittorrent.com:6881",
	"dht.transmissionbt.com:6881",
	"router.utorrent.com:6881",
	"dht.aelitis.com:6881",
}

// NodeStore keeps the DHT's nodes between runs, as bytes of no further meaning.
type NodeStore interface {
	// Load returns what was saved last, nil if nothing.
	Load() []byte
	Save([]byte) error
}

// DHTConfig is what a DHT needs. Only Conn must be set.
type DHTConfig struct {
	// Conn sends and receives DHT packets, IPv4 and IPv6 alike if it can. The DHT
	// closes it.
	Conn net.PacketConn
	// Bootstrap lists nodes to start from, as host:port. Names are looked up in the
	// background, again and again until a node has answered; that there is no
	// network is no error.
	Bootstrap []string
	// Nodes keeps nodes between runs; nil keeps none.
	Nodes NodeStore
	// Seen is told which address a node sees us at (BEP 42); nil: nobody is. It must not
	// block.
	Seen func(node, seen netip.Addr)
	// Network looks names up, and says which addresses a node may name; nil: see Network.
	Network Network
	// Logger receives debug messages, and panics; nil means none.
	Logger *slog.Logger
}

// DHT is a node of the BitTorrent DHT (BEP 5), or rather of two: IPv6 has one of its own (BEP
// 32). It answers the queries of others
// from the start, and looks for peers when asked to.
type DHT struct {
	cfg    DHTConfig
	log    *slog.Logger
	guard  guard
	net    Network
	halves [2]*half // of IPv4 and IPv6
	peers  *peerStore

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	named  chan namedNodes // nodes by name that wait to be looked up
	turns  turns

	mu      sync.Mutex
	closed  bool
	started []netip.AddrPort // bootstrap nodes whose address is known
	grown   chan struct{}    // closed, and replaced, when the routing table has grown
	again   chan struct{}    // closed, and replaced, when all is to be announced again
}

// NewDHT starts a node.
func NewDHT(cfg DHTConfig) (*DHT, error) {
	if cfg.Conn == nil {
		return nil, errors.New("the DHT needs a UDP socket")
	}
	d := &DHT{
		cfg:   cfg,
		log:   cfg.Logger,
		net:   orPlain(cfg.Network),
		peers: newPeerStore(),
		named: make(chan namedNodes, maxPendingNames),
		grown: make(chan struct{}),
		again: make(chan struct{}),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.guard = guard{d.log}
	logger := log.NewLogger("dht")
	logger.SetHandlers(logHandler{d.log})
	d.ctx, d.cancel = context.WithCancel(context.Background())
	for _, hostPort := range cfg.Bootstrap {
		// Known at once where no name must be looked up, so that the first lookup finds them.
		if addr, err := netip.ParseAddrPort(hostPort); err == nil {
			d.addStarted(addr)
		}
	}
	if err := d.open(logger); err != nil {
		d.cancel()
		return nil, fmt.Errorf("starting the DHT: %w", err)
	}
	d.wg.Go(d.distribute)
	d.wg.Go(d.resolveNamed)
	for _, h := range d.halves {
		for range pingWorkers {
			d.wg.Go(func() { d.pingPending(h) })
		}
		d.wg.Go(func() { d.join(h) })
	}
	d.wg.Go(d.watchTable)
	return d, nil
}

// AddNode tries an address that a peer gave in a PORT message (BEP 5). It never
// blocks; when there are nodes enough, or many addresses are waiting, it is dropped.
func (d *DHT) AddNode(addr netip.AddrPort) {
	if d.NumNodes() < enoughNodes {
		d.ping(addr)
	}
}

// AddNodes tries nodes that a torrent names (BEP 5), host:port each, on the word of speaker: the zero
// Addr if that is not known. Names are looked up in the background. Like AddNode it never blocks;
// of one torrent's nodes, the first few are tried.
func (d *DHT) AddNodes(speaker netip.Addr, nodes []string) {
	if d.NumNodes() >= enoughNodes || len(nodes) == 0 {
		return
	}
	named := namedNodes{speaker, slices.Clone(nodes[:min(len(nodes), maxNamedNodes)])}
	select {
	case d.named <- named:
	default:
	}
}

// NumNodes returns the size of the routing tables of both families together.
func (d *DHT) NumNodes() (n int) {
	for _, h := range d.halves {
		n += h.server.NumNodes()
	}
	return n
}

// Moved has all torrents announced again soon, each no more often than each minute because
// of this: our port has changed, or the network, of which nodes may be reached anew.
func (d *DHT) Moved() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.again)
	d.again = make(chan struct{})
}

// Close saves the nodes, ends all announces, closes the socket it was given and
// waits for its goroutines.
func (d *DHT) Close() {
	d.mu.Lock()
	already := d.closed
	d.closed = true
	d.mu.Unlock()
	if already {
		return
	}
	d.cancel()
	d.save()
	for _, h := range d.halves {
		h.server.Close()
	}
	d.cfg.Conn.Close()
	d.wg.Wait()
	for _, h := range d.halves {
		h.conn.waitClosed()
	}
}

// enter makes Close wait for a d.wg.Done, unless the DHT is closed already.
func (d *DHT) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.wg.Add(1)
	return true
}

func (d *DHT) addStarted(addr netip.AddrPort) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.started, addr) {
		d.started = append(d.started, addr)
	}
}

// watchTable tells the announces when a routing table has grown, or a second family has nodes
// enough for a lookup, and saves the nodes now and then. The servers have no event for that.
func (d *DHT) watchTable() {
	ticker := time.NewTicker(tableInterval)
	defer ticker.Stop()
	saved := time.Now()
	var known [2]int
	var served [2]bool // the family has had nodes enough
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-ticker.C:
		}
		grown := false
		for i, h := range d.halves {
			n := h.server.NumNodes()
			grown = grown || n > known[i]
			known[i] = n
			if n >= fullReach && !served[i] {
				served[i] = true
				if served[1-i] {
					d.Moved()
				}
			}
		}
		if grown {
			d.mu.Lock()
			close(d.grown)
			d.grown = make(chan struct{})
			d.mu.Unlock()
		}
		if time.Since(saved) >= saveInterval {
			d.save()
			saved = time.Now()
		}
	}
}

// tableGrown returns a channel that is closed when the routing table next grows.
func (d *DHT) tableGrown() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.grown
}

// toAnnounceAgain returns a channel that is closed with the next Moved.
func (d *DHT) toAnnounceAgain() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.again
}

// logHandler passes the library's messages to slog. All are debug messages: none
// is about something that a user could change.
type logHandler struct{ log *slog.Logger }

func (h logHandler) Handle(r log.Record) {
	if h.log.Enabled(context.Background(), slog.LevelDebug) {
		h.log.Debug(r.Text(), "from", r.Names)
	}
}
