package client

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
)

// Hole punching (BEP 55): two peers of which neither can be dialled, since each is behind a
// NAT or a firewall, dial each other by uTP at the same time. A third peer, the relay, that
// both are connected to tells them when. Here are all three roles. A stranger's word makes
// us send packets to an address, so everything has a bound, and nothing is sent to an address
// that is not connected but the few packets of a dial.

// As initiator: whom we could not dial, we ask a relay for.
const (
	// maxNamed bounds the addresses remembered of a peer, which it can introduce us to since it
	// told us of them.
	maxNamed = 200
	// maxRelays is how many relays are asked, one after the other, each time that a
	// candidate could not be dialled.
	maxRelays = 2
	// maxPunches bounds what relays were asked for and have not answered.
	maxPunches = 16
	// guessBurst and guessInterval bound how often a peer is asked that has not told us of the
	// address: peer exchange comes late, and where there are few peers it may know it all the same.
	guessBurst    = 4
	guessInterval = 5 * time.Second
	// punchPatience is how long a relay has to answer.
	punchPatience = 10 * time.Second
)

// As relay, for each of the two peers: 10 introductions at once, and 10 in a minute.
const (
	introductionBurst    = 10
	introductionInterval = 6 * time.Second
)

// As target: how many addresses we did not ask for a relay may have us dial at once, and how
// often another one.
const (
	strangerBurst    = 5
	strangerInterval = 10 * time.Second
)

// punching is what is known of a peer for hole punching.
type punching struct {
	named      map[netip.AddrPort]struct{} // whom it can introduce us to
	introduced *rate.Limiter               // it was introduced to somebody
	strangers  *rate.Limiter               // it had us dial somebody
}

func newPunching() punching {
	return punching{
		introduced: rate.NewLimiter(rate.Every(introductionInterval), introductionBurst),
		strangers:  rate.NewLimiter(rate.Every(strangerInterval), strangerBurst),
	}
}

// punch is a candidate that relays are asked for.
type punch struct {
	swarm *swarm.Swarm
	relay *peer
	asked map[*peer]struct{} // with those before
	until time.Time
}

// mayPunch reports whether hole punching is for a connection: not for one of a browser, nor
// in a private torrent, whose peers the trackers alone name (BEP 27).
func (t *Torrent) mayPunch(kind swarm.Transport) bool {
	return kind.Classic() && t.client.shared.DialUTP != nil && t.mayDiscover()
}

// punches reports whether a peer knows the extension. A browser that says so is no relay: it is
// connected to nobody who can be dialled.
func (p *peer) punches() bool { return p.kind.Classic() && p.ext.M[wire.ExtHolepunch] != 0 }

// name remembers whom a peer can introduce us to.
func (p *peer) name(m *wire.PEXMessage) {
	for _, addr := range m.Dropped {
		delete(p.punch.named, addr)
	}
	for _, added := range m.Added {
		if len(p.punch.named) >= maxNamed || !p.punches() {
			return
		}
		if p.punch.named == nil {
			p.punch.named = make(map[netip.AddrPort]struct{})
		}
		p.punch.named[added.Addr] = struct{}{}
	}
}

// unreached asks a relay for a candidate that could not be dialled.
func (t *Torrent) unreached(s *swarm.Swarm, addr netip.AddrPort) {
	if !t.mayPunch(swarm.TCP) || t.loop.run == nil || t.loop.punches[addr] != nil {
		return
	}
	t.askRelay(addr, &punch{swarm: s, asked: make(map[*peer]struct{})}, time.Now())
}

// askRelay asks the next of the peers that can introduce us to addr, or may be able to.
func (t *Torrent) askRelay(addr netip.AddrPort, u *punch, now time.Time) {
	l := &t.loop
	delete(l.punches, addr)
	if len(u.asked) >= maxRelays || len(l.punches) >= maxPunches {
		return
	}
	var relay *peer
	sure := false
	for p := range l.peers {
		if _, asked := u.asked[p]; asked || p.swarm != u.swarm || !p.punches() {
			continue
		}
		if _, named := p.punch.named[addr]; relay == nil || named && !sure {
			relay, sure = p, named
		}
	}
	if relay == nil || !sure && !l.guesses.AllowN(now, 1) {
		return
	}
	u.relay, u.until = relay, now.Add(punchPatience)
	u.asked[relay] = struct{}{}
	l.punches[addr] = u
	relay.sendHolepunch(wire.HolepunchMessage{Type: wire.HolepunchRendezvous, Addr: addr})
	t.log.Debug("asked for an introduction", "to", addr, "relay", relay.addr, "named", sure)
}

// tickPunches asks other relays where one has not answered.
func (t *Torrent) tickPunches(now time.Time) {
	for addr, u := range t.loop.punches {
		if now.After(u.until) {
			t.askRelay(addr, u, now)
		}
	}
}

func (p *peer) sendHolepunch(m wire.HolepunchMessage) {
	p.w.Send(wire.Message{ID: wire.Extended, Ext: p.ext.M[wire.ExtHolepunch], Payload: m.Encode()})
}

// holepunched handles a ut_holepunch message.
func (t *Torrent) holepunched(p *peer, m wire.HolepunchMessage, now time.Time) {
	if !t.mayPunch(p.kind) || !p.punches() {
		return
	}
	switch m.Type {
	case wire.HolepunchRendezvous:
		t.introduce(p, m.Addr, now)
	case wire.HolepunchConnect:
		t.punchThrough(p, m.Addr, now)
	case wire.HolepunchFailed:
		if u := t.loop.punches[m.Addr]; u != nil && u.relay == p {
			t.log.Debug("no introduction", "to", m.Addr, "relay", p.addr, "err", m.Error)
			t.askRelay(m.Addr, u, now)
		}
	}
}

// introduce is what a relay does: it has both sides dial each other.
func (t *Torrent) introduce(p *peer, to netip.AddrPort, now time.Time) {
	if !p.punch.introduced.AllowN(now, 1) {
		return
	}
	target, err := t.introducible(p, to)
	if err != 0 {
		p.sendHolepunch(wire.HolepunchMessage{Type: wire.HolepunchFailed, Addr: to, Error: err})
		return
	}
	if !target.punch.introduced.AllowN(now, 1) {
		return
	}
	t.log.Debug("introduced", "peer", p.addr, "to", target.addr)
	target.sendHolepunch(wire.HolepunchMessage{Type: wire.HolepunchConnect, Addr: p.punchAddr()})
	p.sendHolepunch(wire.HolepunchMessage{Type: wire.HolepunchConnect, Addr: target.punchAddr()})
}

// introducible finds the peer at an address, which may be the one that we see or the one
// where it says that it accepts connections.
func (t *Torrent) introducible(p *peer, to netip.AddrPort) (*peer, wire.HolepunchError) {
	if !to.IsValid() || to.Port() == 0 || to.Addr().IsUnspecified() || to.Addr().IsMulticast() {
		return nil, wire.HolepunchNoSuchPeer
	}
	if to == p.addr || to == p.listen || p.swarm.IsSelf(to) {
		return nil, wire.HolepunchNoSelf
	}
	var found *peer
	for q := range t.loop.peers {
		if q.swarm == p.swarm && q != p && (q.addr == to || q.listen == to) && (found == nil || !found.punches()) {
			found = q
		}
	}
	switch {
	case found == nil || !p.punchAddr().IsValid():
		return nil, wire.HolepunchNotConnected
	case !found.punches() || !found.punchAddr().IsValid():
		return nil, wire.HolepunchNoSupport
	}
	return found, 0
}

// punchAddr is where a peer's uTP packets come from: the address that we see, if they come
// to us. Else its NAT, if it has one, most likely leaves the port that it listens on as it is.
func (p *peer) punchAddr() netip.AddrPort {
	if p.kind == swarm.UTP {
		return p.addr
	}
	return p.listen
}

// punchThrough dials whom a relay has introduced us to: whom we asked for, or somebody who
// asked for us.
func (t *Torrent) punchThrough(p *peer, addr netip.AddrPort, now time.Time) {
	if t.loop.run == nil || !t.answered(p, addr) && !p.punch.strangers.AllowN(now, 1) {
		return
	}
	for q := range t.loop.peers {
		if q.addr == addr || q.listen == addr {
			return // it came through meanwhile
		}
	}
	if t.roomFor(now) && p.swarm.Punch(p.addr.Addr(), addr) {
		t.log.Debug("punching through", "to", addr, "relay", p.addr)
	}
}

// answered reports whether addr is whom we asked a relay for. The port may be another than
// the one asked for: the relay knows better where its packets come from.
func (t *Torrent) answered(relay *peer, addr netip.AddrPort) bool {
	for asked, u := range t.loop.punches {
		if u.relay == relay && asked.Addr() == addr.Addr() {
			delete(t.loop.punches, asked)
			return true
		}
	}
	return false
}

// forgetPunches asks other relays for what a peer that has gone was asked for.
func (t *Torrent) forgetPunches(relay *peer, now time.Time) {
	for addr, u := range t.loop.punches {
		if u.relay == relay {
			t.askRelay(addr, u, now)
		}
	}
}
