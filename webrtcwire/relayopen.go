package webrtcwire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v4"

	"github.com/causeway-bt/causeway/webrtcwire/turnclient"
)

var errRelayed = errors.New("an allocation at this address is there already")

// open makes an allocation at a server's address of a family, and of that family if there is one.
func (r *relays) open(ctx context.Context, uri *stun.URI, family string) (*relay, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	network := "tcp" + family
	if uri.Proto == stun.ProtoTypeUDP {
		network = "udp" + family
	}
	server, err := resolve(ctx, r.t.config.Network, network, net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)))
	if err != nil {
		return nil, err
	}
	relay, err := r.openAt(ctx, uri, network, server, family == "6")
	if isRefusal(err, stun.CodeAddrFamilyNotSupported) && (family == "4" || r.alone(ctx, uri)) {
		return r.openAt(ctx, uri, network, server, family == "4")
	}
	return relay, err
}

// alone reports whether a server has no allocation by IPv4.
func (r *relays) alone(ctx context.Context, uri *stun.URI) bool {
	for {
		r.mu.Lock()
		s, changed := r.servers[uri.String()+" 4"], r.changed
		settled := s == nil || s.isSettled()
		none := s == nil || s.relay == nil
		r.mu.Unlock()
		if settled || ctx.Err() != nil {
			return none
		}
		wait(ctx, changed, 0)
	}
}

func isRefusal(err error, code stun.ErrorCode) bool {
	var refusal *turnclient.ResponseError
	return errors.As(err, &refusal) && refusal.Code == code
}

func (r *relays) openAt(ctx context.Context, uri *stun.URI, network string, server netip.AddrPort, ipv6 bool) (*relay, error) {
	if uri.Scheme == stun.SchemeTypeTURN && uri.Proto == stun.ProtoTypeUDP {
		relay, err := r.allocate(ctx, uri, ipv6, func(c *relayedConn) error { return r.goShared(c, server) })
		if !isRefusal(err, stun.CodeAllocMismatch) {
			return relay, err
		}
		// An allocation of another user's is left over at our port, and another port has none.
	}
	return r.allocate(ctx, uri, ipv6, func(c *relayedConn) error { return r.goOwn(ctx, c, uri, network, server) })
}

// allocate makes an allocation by the way that find finds.
func (r *relays) allocate(ctx context.Context, uri *stun.URI, ipv6 bool, find func(*relayedConn) error) (*relay, error) {
	conn := &relayedConn{}
	conn.allocation = turnclient.New(turnclient.Config{
		Username: uri.Username, Password: uri.Password, IPv6: ipv6,
		Stream: uri.Proto == stun.ProtoTypeTCP, Logger: r.t.config.Logger,
		Write:         func(b []byte) error { return conn.write(b) },
		WriteSegments: func(b []byte, size int) { conn.segments(b, size) },
		Received:      conn.received,
	})
	if err := find(conn); err != nil {
		return nil, err
	}
	if err := conn.allocation.Allocate(ctx); err != nil {
		_ = conn.allocation.Close() // never fails
		conn.leave()
		return nil, err
	}
	return &relay{
		allocation: conn.allocation, shared: conn.shared, leave: conn.leave,
		mux: newMux([]net.PacketConn{conn}, r.t.hosts, nil, r.t.config.Logger),
	}, nil
}

// goShared has an allocation's packets go by the shared socket.
func (r *relays) goShared(c *relayedConn, server netip.AddrPort) error {
	if !r.socket.serve(server, c) {
		return errRelayed
	}
	c.shared = true
	c.write = func(b []byte) error { _, err := r.socket.write(b, server); return err }
	c.segments = func(b []byte, size int) { r.socket.send(b, size, server) }
	c.leave = func() { r.socket.unserve(server) }
	return nil
}

// goOwn has them go by a connection of its own: TCP, TLS, DTLS or UDP.
func (r *relays) goOwn(ctx context.Context, c *relayedConn, uri *stun.URI, network string, server netip.AddrPort) error {
	conn, err := r.dial(ctx, uri, network, server)
	if err != nil {
		return err
	}
	stream := uri.Proto == stun.ProtoTypeTCP
	out := newDetour(func(b []byte) (int, error) {
		_ = conn.SetWriteDeadline(time.Now().Add(tcpWriteTimeout)) // fails with the connection
		n, err := conn.Write(b)
		if err != nil && stream {
			_ = conn.Close() // half a message may have gone
		}
		return n, err
	})
	var reading sync.WaitGroup
	reading.Go(func() { c.allocation.Fail(c.read(conn, stream)) })
	c.write = func(b []byte) error { out.send(b); return nil }
	c.segments = func(b []byte, size int) {
		for len(b) > 0 {
			n := min(size, len(b))
			out.send(b[:n])
			b = b[n:]
		}
	}
	c.leave = func() {
		out.close()
		_ = conn.Close()
		reading.Wait()
	}
	return nil
}

func (r *relays) dial(ctx context.Context, uri *stun.URI, network string, server netip.AddrPort) (net.Conn, error) {
	conn, err := r.t.config.Network.DialContext(ctx, network, server.String())
	if err != nil || uri.Scheme == stun.SchemeTypeTURN {
		return conn, err
	}
	if uri.Proto == stun.ProtoTypeTCP {
		secure := tls.Client(conn, &tls.Config{ServerName: uri.Host, MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return secure, nil
	}
	packets, ok := conn.(net.PacketConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("want a net.PacketConn, not a %T", conn), conn.Close())
	}
	secure, err := dtls.ClientWithOptions(connected{packets, conn}, conn.RemoteAddr(),
		dtls.WithServerName(uri.Host), dtls.WithLoggerFactory(pionLog{logger: r.t.config.Logger}))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, secure.Close())
	}
	return secure, nil
}

// connected is a UDP socket that sends to one address only.
type connected struct {
	net.PacketConn
	conn net.Conn
}

func (c connected) WriteTo(b []byte, _ net.Addr) (int, error) { return c.conn.Write(b) }
