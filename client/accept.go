package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// handshakeTimeout bounds the exchange of handshakes of a connection, in both
// directions.
const handshakeTimeout = 20 * time.Second

// acceptsAtOnce bounds incoming connections whose handshake is not finished.
const acceptsAtOnce = 200

// accept takes the connections of a transport until its listener is closed.
func (c *Client) accept(listener net.Listener, kind swarm.Transport) {
	for {
		conn, err := listener.Accept()
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
		place := c.gate.Enter(swarm.AddrPort(conn.RemoteAddr()).Addr(), time.Now(), func() { conn.Close() })
		if place == nil {
			conn.Close()
			continue
		}
		c.wg.Go(func() {
			err := c.welcome(conn, kind)
			place.Leave(err == nil, time.Now())
			if err != nil {
				c.log.Debug("incoming connection", "from", conn.RemoteAddr(), "err", err)
				conn.Close()
			}
		})
	}
}

// welcome finds out which swarm an incoming connection is for.
func (c *Client) welcome(raw net.Conn, kind swarm.Transport) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("panic in a handshake; please report this", "panic", r, "stack", stack())
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	ctx, cancel := context.WithTimeout(c.ctx, handshakeTimeout)
	defer cancel()
	conn, err := transport.Accept(ctx, raw, c.infoHashes, c.cfg.Encryption)
	if err != nil {
		return err
	}
	if conn.ICE() {
		if c.shared.RTC == nil {
			return errors.New("a browser has connected, and WebRTC is off")
		}
		return c.shared.RTC.TakeTCP(conn)
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	theirs, err := wire.ReadHandshake(conn)
	if err != nil {
		return err
	}
	m, here := c.member(theirs.InfoHash)
	if !here {
		return fmt.Errorf("it wants the torrent %x, which is not here", theirs.InfoHash)
	}
	c.cameFrom(raw, kind)
	if err := wire.WriteHandshake(conn, m.swarm.Handshake()); err != nil {
		return err
	}
	return swarmHost{m.torrent}.Attach(ctx, swarm.Conn{
		Conn: conn, Swarm: m.swarm, Kind: kind, Addr: swarm.AddrPort(conn.RemoteAddr()), Handshake: theirs,
	})
}
