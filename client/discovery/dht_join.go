package discovery

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
)

const (
	// joinRetry is how long to wait before trying again to find a first node; it
	// doubles up to maxJoinRetry.
	joinRetry    = 2 * time.Second
	maxJoinRetry = time.Minute
	// otherJoinRetry is the wait of a family without nodes while the other one has some.
	otherJoinRetry = 15 * time.Minute
	// nameTimeout bounds the lookup of one bootstrap node's name.
	nameTimeout = 10 * time.Second
)

// join fills the routing table of a half and then keeps it in order until the DHT is closed.
func (d *DHT) join(h *half) {
	for _, addr := range d.savedNodes() {
		if addr.Addr().Is4() == h.v4 {
			d.ping(addr)
		}
	}
	for retry := joinRetry; h.server.NumNodes() == 0; retry = min(2*retry, maxJoinRetry) {
		grown, again := d.tableGrown(), d.toAnnounceAgain()
		wait := retry
		if retry > joinRetry && d.NumNodes() > 0 { // not the first time: the other family may be faster
			wait = otherJoinRetry // its nodes tell of ours, if there are any
		} else {
			d.askBootstrapNodes(h)
		}
		select {
		case <-d.ctx.Done():
			return
		case <-grown:
		case <-again:
		case <-time.After(wait):
		}
	}
	// It bootstraps when it starts and every half hour, and returns on Close. It must
	// not run with an empty table: it would leave a goroutine behind.
	h.server.TableMaintainer()
}

// askBootstrapNodes looks up their addresses of a half's family, and pings all of them at once.
func (d *DHT) askBootstrapNodes(h *half) {
	var wg sync.WaitGroup
	for _, hostPort := range d.cfg.Bootstrap {
		wg.Go(func() {
			for _, addr := range d.resolve(h.network(), hostPort) {
				if addr.Addr().Is4() == h.v4 {
					d.addStarted(addr)
					d.ping(addr)
				}
			}
		})
	}
	wg.Wait()
}

// namedNodes are nodes, host:port each, that somebody named.
type namedNodes struct {
	speaker netip.Addr
	nodes   []string
}

// resolveNamed looks up, one after the other, the nodes that torrents name.
func (d *DHT) resolveNamed() {
	for {
		select {
		case <-d.ctx.Done():
			return
		case named := <-d.named:
			for _, hostPort := range named.nodes {
				for _, addr := range d.resolve("ip", hostPort) {
					if d.net.MayName(named.speaker, addr.Addr()) {
						d.ping(addr)
					}
				}
			}
		}
	}
}

// resolve looks up a node, host:port; network is as in Network.LookupNetIP.
func (d *DHT) resolve(network, hostPort string) []netip.AddrPort {
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		d.log.Warn("a DHT node is not host:port", "node", hostPort)
		return nil
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		d.log.Warn("a DHT node has no valid port", "node", hostPort)
		return nil
	}
	ctx, cancel := context.WithTimeout(d.ctx, nameTimeout)
	defer cancel()
	ips, err := d.lookupNetIP(ctx, network, host)
	if err != nil {
		d.log.Debug("cannot look up a DHT node", "node", hostPort, "err", err)
		return nil
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return addrs
}

// lookupNetIP looks a name up; an address is its own.
func (d *DHT) lookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	return d.net.LookupNetIP(ctx, network, host)
}

// ping has an address tried soon; a node that answers enters the routing table.
func (d *DHT) ping(addr netip.AddrPort) {
	if !sendable(addr) {
		return
	}
	select {
	case d.of(addr.Addr()).pings <- addr:
	default:
	}
}

// pingPending tries addresses of a half, one after the other.
func (d *DHT) pingPending(h *half) {
	for {
		select {
		case <-d.ctx.Done():
			return
		case addr := <-h.pings:
			to := dht.NewAddr(net.UDPAddrFromAddrPort(addr))
			if res := h.server.Query(d.ctx, to, "ping", dht.QueryInput{}); res.Err != nil {
				d.log.Debug("a DHT node did not answer", "node", addr, "err", res.Err)
			}
		}
	}
}

// save hands the nodes to the store, as addresses in 18 bytes each. Their ids are
// left out: nodes of an earlier run are not trusted until they have answered.
func (d *DHT) save() {
	if d.cfg.Nodes == nil {
		return
	}
	var nodes []netip.AddrPort
	for _, h := range d.halves {
		all := h.server.Nodes()
		for _, n := range all[:min(len(all), maxSavedNodes)] {
			if addr, ok := addrPort(n.Addr); ok {
				nodes = append(nodes, addr)
			}
		}
	}
	if len(nodes) == 0 {
		return // keep those of the last run: there may be no network today
	}
	if err := d.cfg.Nodes.Save(encodeNodes(nodes)); err != nil {
		d.log.Warn("cannot save the DHT's nodes", "err", err)
	}
}

func (d *DHT) savedNodes() []netip.AddrPort {
	if d.cfg.Nodes == nil {
		return nil
	}
	return decodeNodes(d.cfg.Nodes.Load())
}

const savedNodeLen = 18

func encodeNodes(nodes []netip.AddrPort) []byte {
	var b []byte
	for _, n := range nodes {
		ip := n.Addr().As16()
		b = append(b, ip[:]...)
		b = append(b, byte(n.Port()>>8), byte(n.Port()))
	}
	return b
}

func decodeNodes(b []byte) (nodes []netip.AddrPort) {
	for ; len(b) >= savedNodeLen && len(nodes) < 2*maxSavedNodes; b = b[savedNodeLen:] {
		ip := netip.AddrFrom16([16]byte(b)).Unmap()
		nodes = append(nodes, netip.AddrPortFrom(ip, uint16(b[16])<<8|uint16(b[17])))
	}
	return nodes
}

// addrPort converts an address of the library's, which may be of any length.
func addrPort(a krpc.NodeAddr) (netip.AddrPort, bool) {
	ip, ok := netip.AddrFromSlice(a.IP)
	if !ok || a.Port <= 0 || a.Port > 65535 {
		return netip.AddrPort{}, false
	}
	addr := netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
	return addr, sendable(addr)
}

// sendable says whether a single host can be meant by addr.
func sendable(addr netip.AddrPort) bool {
	ip := addr.Addr()
	return addr.Port() != 0 && ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
