package client

import (
	"net/netip"
	"time"

	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
)

const (
	// pexInterval is the time between two peer exchange messages to a peer. BEP 11
	// allows one a minute, and webtorrent.js hangs up on less.
	pexInterval = 65 * time.Second
	// pexRetry is when it is looked again, if there was nothing to tell.
	pexRetry = 5 * time.Second
	// minPEXInterval is how much time a peer must leave; what comes sooner is not
	// looked at.
	minPEXInterval = 20 * time.Second
)

// mayExchangePeers: private torrents leave peer exchange alone (BEP 27).
func (t *Torrent) mayExchangePeers() bool { return !t.client.cfg.DisablePEX && t.mayDiscover() }

// exchangePeers tells each peer who came and who left since it was last told.
func (t *Torrent) exchangePeers(now time.Time) {
	if !t.mayExchangePeers() {
		return
	}
	for p := range t.loop.peers {
		if number := p.ext.M[wire.ExtPEX]; number != 0 && !now.Before(p.nextPEX) {
			p.nextPEX = now.Add(pexRetry)
			if m, ok := t.pexMessage(p); ok {
				p.w.Send(wire.Message{ID: wire.Extended, Ext: number, Payload: m.Encode()})
				p.nextPEX = now.Add(pexInterval)
			}
		}
	}
}

func (t *Torrent) pexMessage(to *peer) (m wire.PEXMessage, ok bool) {
	here := make(map[netip.AddrPort]wire.PEXFlags)
	for p := range t.loop.peers {
		if p == to || p.swarm != to.swarm || !p.listen.IsValid() {
			continue
		}
		var flags wire.PEXFlags
		if p.isSeed || p.ext.UploadOnly {
			flags |= wire.PEXSeed
		}
		if p.outgoing {
			flags |= wire.PEXOutgoing
		}
		if p.punches() {
			flags |= wire.PEXHolepunch
		}
		if p.kind == swarm.UTP {
			flags |= wire.PEXuTP
		}
		here[p.listen] = flags
	}
	for addr, flags := range here {
		if _, sent := to.pexSent[addr]; !sent && len(m.Added) < wire.MaxPEX/2 {
			m.Added = append(m.Added, wire.PEXPeer{Addr: addr, Flags: flags})
			to.pexSent[addr] = struct{}{}
		}
	}
	for addr := range to.pexSent {
		if _, still := here[addr]; !still && len(m.Dropped) < wire.MaxPEX/2 {
			m.Dropped = append(m.Dropped, addr)
			delete(to.pexSent, addr)
		}
	}
	return m, len(m.Added)+len(m.Dropped) > 0
}

// peersExchanged takes in a peer exchange message.
func (t *Torrent) peersExchanged(p *peer, m wire.PEXMessage) {
	if !t.mayExchangePeers() {
		return
	}
	if t.mayPunch(p.kind) {
		p.name(&m)
	}
	for _, added := range m.Added {
		if c := p.swarm.Add(p.addr.Addr(), added.Addr); c != nil {
			c.Seed = added.Flags&wire.PEXSeed != 0
			c.UTP = added.Flags&(wire.PEXuTP|wire.PEXHolepunch) != 0
		}
	}
	t.wakeUp()
}
