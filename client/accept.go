package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// handshakeTimeout bounds the exchange of handshakes of a connection, in both
// directions.
const handshakeTimeout = 20 * time.Second

// acceptsAtOnce bounds incoming connections whose handshake is not finished.
const acceptsAtOnce = 200

// accept takes connections until the listener is closed.
func (c *Client) accept() {
	slots := make(chan struct{}, acceptsAtOnce)
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			if c.ctx.Err() != nil {
				return
			}
			// Out of descriptors, most likely: others are freed in a while.
			c.log.Warn("cannot accept a connection", "err", err)
			select {
			case <-time.After(time.Second):
				continue
			case <-c.ctx.Done():
				return
			}
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		c.wg.Go(func() {
			defer func() { <-slots }()
			if err := c.welcome(conn); err != nil {
				c.log.Debug("incoming connection", "from", conn.RemoteAddr(), "err", err)
				conn.Close()
			}
		})
	}
}

// welcome finds out which torrent an incoming connection is for.
func (c *Client) welcome(raw net.Conn) error {
	ctx, cancel := context.WithTimeout(c.ctx, handshakeTimeout)
	defer cancel()
	conn, err := transport.Accept(ctx, raw, c.infoHashes, c.cfg.Encryption)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	theirs, err := wire.ReadHandshake(conn)
	if err != nil {
		return err
	}
	t := c.torrent(theirs.InfoHash)
	if t == nil {
		return fmt.Errorf("it wants the torrent %x, which is not here", theirs.InfoHash)
	}
	if err := wire.WriteHandshake(conn, c.handshake(theirs.InfoHash)); err != nil {
		return err
	}
	return t.attach(ctx, newConn{
		Conn: conn, kind: TCP, addr: addrPort(conn.RemoteAddr()), handshake: theirs,
	})
}

// infoHashes yields those of all torrents, for encrypted handshakes.
func (c *Client) infoHashes(yield func([]byte) bool) {
	for _, t := range c.Torrents() {
		if !yield(t.infoHash[:]) {
			return
		}
	}
}

func (c *Client) handshake(infoHash [20]byte) wire.Handshake {
	return wire.Handshake{Reserved: wire.OurReserved(c.dht != nil), InfoHash: infoHash, PeerID: c.id}
}

// dial connects to a peer of a torrent.
func (c *Client) dial(t *Torrent, addr netip.AddrPort) (newConn, error) {
	select {
	case c.dials <- struct{}{}:
		defer func() { <-c.dials }()
	case <-t.ctx.Done():
		return newConn{}, t.ctx.Err()
	}
	conn, err := transport.Dial(t.ctx, addr, t.infoHash, transport.DialOptions{Encryption: c.cfg.Encryption})
	if err != nil {
		return newConn{}, err
	}
	theirs, err := c.greet(t, conn)
	if err != nil {
		conn.Close()
		return newConn{}, err
	}
	return newConn{Conn: conn, kind: TCP, addr: addr, outgoing: true, handshake: theirs}, nil
}

// greet exchanges handshakes on a connection that we opened.
func (c *Client) greet(t *Torrent, conn net.Conn) (theirs wire.Handshake, err error) {
	ctx, cancel := context.WithTimeout(t.ctx, handshakeTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if err := wire.WriteHandshake(conn, c.handshake(t.infoHash)); err != nil {
		return theirs, err
	}
	theirs, err = wire.ReadHandshake(conn)
	if err == nil && theirs.InfoHash != t.infoHash {
		err = fmt.Errorf("it answered for the torrent %x", theirs.InfoHash)
	}
	return theirs, err
}

// addrPort returns the address of a connection, or the zero one if it has none of
// the kind.
func addrPort(a net.Addr) netip.AddrPort {
	has, ok := a.(interface{ AddrPort() netip.AddrPort }) // net.TCPAddr, net.UDPAddr
	if !ok {
		return netip.AddrPort{}
	}
	ap := has.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
