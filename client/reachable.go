package client

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/client/portmap"
	"github.com/causeway-bt/causeway/client/reach"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/webrtcwire"
	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// startReach starts to find out where the world reaches us; asked are STUN servers.
func (c *Client) startReach(asked []string) {
	cfg := reach.Config{
		Port: uint16(c.port()), TCP: c.listener != nil, UTP: c.utp != nil,
		Interfaces: c.net.Interfaces, OnNetwork: c.networkChanged, Logger: c.log,
	}
	lent := c.udp.Lend(transport.ClassSTUN)
	c.mirror = webrtcwire.NewMirror(webrtcwire.MirrorConfig{
		Write: lent.WriteToUDPAddrPort, Servers: asked, Network: c.net, Logger: c.log,
		OnRound: func(round []webrtcwire.Reflection) {
			c.reach.Reflected(trusted(round, asked))
		},
	})
	lent.Handle(c.mirror.Receive)
	if len(asked) > 0 {
		cfg.Ask = c.mirror.Ask
	}
	c.reach = reach.New(cfg)
	c.shared.Reach = c.reach
	c.mirror.Ask()
}

// trusted are the answers of the servers that the user has chosen: those that a tracker names
// are strangers.
func trusted(round []webrtcwire.Reflection, chosen []string) (answers []reach.Reflection) {
	for _, r := range round {
		if slices.Contains(chosen, r.Name) {
			answers = append(answers, reach.Reflection{Server: r.Server, Mapped: r.Mapped})
		}
	}
	return answers
}

// movesInterval is the least time between two moves that everybody is told of. Trackers and the
// DHT have longer ones of their own.
const movesInterval = time.Second

// tellMoves returns what calls moved when we are reached elsewhere than when tellMoves was
// called, and so on, until ctx ends.
func tellMoves(ctx context.Context, r *reach.Reach, moved func()) func() {
	var told told
	announced, changed := r.Announced()
	told.take(announced)
	return func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			announced, changed = r.Announced()
			if !told.take(announced) {
				continue
			}
			moved()
			select {
			case <-ctx.Done():
				return
			case <-time.After(movesInterval):
			}
		}
	}
}

// told is where others were told last that they reach us, by IPv4 and by IPv6.
type told struct {
	ports [2]uint16
	addrs [2]netip.Addr // the last that was known
}

// take takes in where we are reached now, and reports whether others have to be told: not that
// our address is known now, or not agreed on for a while.
func (t *told) take(now reach.Announced) (moved bool) {
	for i, v4 := range [2]bool{true, false} {
		port, addr := now.Port(v4), now.Addr(v4)
		moved = moved || port != t.ports[i]
		t.ports[i] = port
		if addr.IsValid() {
			moved = moved || t.addrs[i].IsValid() && addr != t.addrs[i]
			t.addrs[i] = addr
		}
	}
	return moved
}

// followMapping passes on what the gateway maps, until the client is closed.
func (c *Client) followMapping() {
	for {
		status, changed := c.mapper.Status()
		var m reach.Mapping
		if status.State == portmap.OK {
			m = reach.Mapping{Addr: status.External.Addr(), UDP: status.UDPPort}
			if c.listener != nil {
				m.TCP = status.External.Port()
			}
		}
		c.reach.Mapped(true, m)
		select {
		case <-c.ctx.Done():
			return
		case <-changed:
		}
	}
}

// mappedPorts are where browsers get in to our port through NATs.
func (c *Client) mappedPorts() (ports []webrtcwire.Mapped) {
	for _, e := range c.reach.Entries() {
		m := webrtcwire.Mapped{TCP: e.TCP, External: e.At}
		if local, err := c.net.Outgoing(e.At.Addr().Is4()); err == nil {
			m.Internal = netip.AddrPortFrom(local, uint16(c.port()))
		}
		ports = append(ports, m)
	}
	return ports
}

// networkChanged looks for peers anew after addresses of this machine came or went.
func (c *Client) networkChanged() {
	if c.shared.LSD != nil {
		c.shared.LSD.Rejoin()
	}
	if c.shared.RTC != nil {
		c.shared.RTC.NetworkChanged()
	}
	c.moved()
}

func (c *Client) moved() {
	if c.shared.DHT != nil {
		c.shared.DHT.Moved()
	}
	for _, t := range c.Torrents() {
		t.spawn(func() { t.do(t.tellWhere) })
	}
}

// tellWhere tells trackers and peers where we are reached now.
func (t *Torrent) tellWhere() {
	for _, s := range t.swarms {
		s.Moved()
	}
	for p := range t.loop.peers {
		if port := t.client.portFor(p.addr.Addr()); p.reserved.Extended() && p.kind != swarm.WebRTC && port != p.toldPort {
			p.w.Send(t.extHandshake(p))
		}
	}
}

// portFor is where a peer reaches us: one of the local network at our own port, others where the
// world does.
func (c *Client) portFor(peer netip.Addr) uint16 {
	if !network.IsGlobal(peer) {
		return uint16(c.port())
	}
	announced, _ := c.reach.Announced()
	return announced.Port(peer.Unmap().Is4())
}

// Announced is where others are told to reach us.
func (c *Client) Announced() reach.Announced {
	announced, _ := c.reach.Announced()
	return announced
}

// heardOfUs takes in how a peer sees us. Only one that we have dialled tells: who dials
// us chooses how often.
func (c *Client) heardOfUs(p *peer, h wire.ExtHandshake) {
	if p.outgoing && p.kind != swarm.WebRTC && h.YourIP.IsValid() {
		c.reach.Heard(reach.Peer, p.addr.Addr(), h.YourIP)
	}
}

// cameFrom takes in that somebody connected to us. By uTP they come through NATs that we have
// opened ourselves, which says nothing of our port.
func (c *Client) cameFrom(conn net.Conn, kind swarm.Transport) {
	if kind != swarm.TCP {
		return
	}
	from := swarm.AddrPort(conn.RemoteAddr()).Addr()
	if network.IsGlobal(from) {
		c.cameIn.Add(1)
	}
	c.reach.Came(from)
}
