package discovery

import (
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/log"
	"golang.org/x/time/rate"
)

// half is the DHT of one address family (BEP 32): its nodes have a routing table of their own,
// since those that are responsible for a torrent are other ones in each. Of the same
// socket, half gets the packets that come from its family.
type half struct {
	v4     bool
	conn   *nodeConn
	server *dht.Server
	in     chan nodePacket
	pings  chan netip.AddrPort // addresses to be tried
}

type nodePacket struct {
	data []byte
	from netip.AddrPort
}

const (
	// packetQueue is how many packets wait for one half; more are lost, as packets are.
	packetQueue = 256
	// enoughToJoin is the size of a half's routing table from which on nodes that the
	// other one's tell of are not needed.
	enoughToJoin = 32
)

// of returns the half of an address.
func (d *DHT) of(addr netip.Addr) *half {
	if addr.Unmap().Is4() {
		return d.halves[0]
	}
	return d.halves[1]
}

// open makes both halves, which have one id.
func (d *DHT) open(logger log.Logger) error {
	var id krpc.ID
	rand.Read(id[:])
	sending := rate.NewLimiter(sendRate, sendBurst)
	for i := range d.halves {
		h := &half{v4: i == 0, in: make(chan nodePacket, packetQueue), pings: make(chan netip.AddrPort, maxPendingPings)}
		h.conn = newNodeConn(familyConn{d.cfg.Conn, h.in}, h.v4, d.net.MayName, d.guard)
		h.conn.heard, h.conn.seen = d.hearsay, d.cfg.Seen
		var err error
		h.server, err = dht.NewServer(&dht.ServerConfig{
			NodeId:        id,
			Conn:          h.conn,
			StartingNodes: func() ([]dht.Addr, error) { return d.startingNodes(h), nil },
			// BEP 42 would refuse nodes on loopback and private networks, and few
			// clients enforce it.
			NoSecurity:       true,
			PeerStore:        d.peers,
			QueryResendDelay: func() time.Duration { return queryTimeout },
			DefaultWant:      []krpc.Want{krpc.WantNodes, krpc.WantNodes6},
			SendLimiter:      sending,
			Logger:           logger,
		})
		if err != nil {
			if i > 0 {
				d.halves[0].server.Close()
			}
			return err
		}
		d.halves[i] = h
	}
	return nil
}

// network is what names are looked up in.
func (h *half) network() string {
	if h.v4 {
		return "ip4"
	}
	return "ip6"
}

// startingNodes is asked by a server when its routing table is empty.
func (d *DHT) startingNodes(h *half) (addrs []dht.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.started {
		if a.Addr().Is4() == h.v4 {
			addrs = append(addrs, dht.NewAddr(net.UDPAddrFromAddrPort(a)))
		}
	}
	return addrs
}

// hearsay takes in a node of the family that the node which named it is not of.
func (d *DHT) hearsay(node netip.AddrPort) {
	if h := d.of(node.Addr()); h != nil && h.server.NumNodes() < enoughToJoin {
		d.ping(node)
	}
}

// distribute reads the socket and hands packets to the half that they are for, until the DHT is
// closed.
func (d *DHT) distribute() {
	b := make([]byte, maxMessage+1)
	for d.ctx.Err() == nil {
		n, from, err := d.cfg.Conn.ReadFrom(b)
		if err != nil {
			d.pause(err)
			continue
		}
		addr, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		ap := plainAddr(addr.AddrPort())
		if !sendable(ap) {
			continue
		}
		select {
		case d.of(ap.Addr()).in <- nodePacket{append([]byte(nil), b[:n]...), ap}:
		default:
		}
	}
}

// pause waits after a failed read: a moment, or until Close if the socket is gone.
func (d *DHT) pause(err error) {
	var wait <-chan time.Time
	if !errors.Is(err, net.ErrClosed) {
		timer := time.NewTimer(readErrorPause)
		defer timer.Stop()
		wait = timer.C
	}
	select {
	case <-d.ctx.Done():
	case <-wait:
	}
}

// familyConn is the shared socket with the packets of one family.
type familyConn struct {
	net.PacketConn
	in <-chan nodePacket
}
