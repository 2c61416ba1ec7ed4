package webrtcwire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/mdns/v2"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// mdnsTimeout bounds one look-up; an answer on a local network takes
	// milliseconds, and a name that is not there never answers.
	mdnsTimeout = 5 * time.Second

	// mdnsInterval is how often a question is repeated.
	mdnsInterval = 250 * time.Millisecond

	// maxMDNSQueries bounds look-ups at the same time, process-wide. Each
	// repeats a multicast question four times a second.
	maxMDNSQueries = 32
)

var errMDNSBusy = errors.New("too many mDNS look-ups at once")

// resolver looks up the names behind which browsers hide their local addresses.
// One multicast socket per address family serves all connections; pion would
// open two sockets and five goroutines for each. They are opened at the first
// name, since most peers need none.
type resolver struct {
	loopback bool
	network  Network
	logger   *slog.Logger
	slots    chan struct{}

	mu     sync.Mutex
	conn   *mdns.Conn
	closed bool
}

func newResolver(loopback bool, network Network, logger *slog.Logger) *resolver {
	return &resolver{loopback: loopback, network: network, logger: logger, slots: make(chan struct{}, maxMDNSQueries)}
}

// resolve returns the address of a .local name.
func (r *resolver) resolve(ctx context.Context, name string) (netip.Addr, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return netip.Addr{}, errMDNSBusy
	}
	conn, err := r.open()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("mDNS: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, mdnsTimeout)
	defer cancel()
	_, addr, err := conn.QueryAddr(ctx, name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("mDNS: %s: %w", name, err)
	}
	return addr.Unmap(), nil
}

func (r *resolver) open() (*mdns.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, net.ErrClosed
	}
	if r.conn == nil {
		conn, err := openMDNS(r.loopback, r.network, r.logger)
		if err != nil {
			return nil, err // the network may come yet: the next name tries again
		}
		r.conn = conn
	}
	return r.conn, nil
}

func openMDNS(loopback bool, network Network, logger *slog.Logger) (*mdns.Conn, error) {
	var v4 *ipv4.PacketConn
	var v6 *ipv6.PacketConn
	udp4, err4 := listenUDP(network, "udp4", mdns.DefaultAddressIPv4)
	if err4 == nil {
		v4 = ipv4.NewPacketConn(udp4)
	}
	udp6, err6 := listenUDP(network, "udp6", mdns.DefaultAddressIPv6)
	if err6 == nil {
		v6 = ipv6.NewPacketConn(udp6)
	}
	if err4 != nil && err6 != nil {
		return nil, errors.Join(err4, err6)
	}
	interfaces, err := network.Interfaces()
	if err != nil {
		return nil, errors.Join(err, closeAll(udp4, udp6))
	}
	conn, err := mdns.Server(v4, v6, &mdns.Config{
		Interfaces:      interfaces,
		QueryInterval:   mdnsInterval,
		IncludeLoopback: loopback,
		LoggerFactory:   pionLog{logger: logger},
	})
	if err != nil {
		return nil, errors.Join(err, closeAll(udp4, udp6))
	}
	return conn, nil
}

func closeAll(sockets ...*net.UDPConn) (err error) {
	for _, udp := range sockets {
		if udp != nil {
			err = errors.Join(err, udp.Close())
		}
	}
	return err
}

func (r *resolver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.conn != nil {
		if err := r.conn.Close(); err != nil {
			r.logger.Debug("closing the mDNS socket failed", "error", err)
		}
	}
}
