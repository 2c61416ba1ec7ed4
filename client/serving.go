package client

import (
	"net/netip"
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/choker"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
)

const rechokeInterval = choker.Interval

// setSlots tells the choker how many upload slots there are.
func (t *Torrent) setSlots() {
	slots := t.client.slots(t.Limits())
	turn := int64(0)
	if info := t.Info(); info != nil {
		turn = info.PieceLength
	}
	t.loop.choker.Set(slots.All, slots.Web, turn)
}

// limitsChanged has what waits for the limits on what is sent look at them anew.
func (t *Torrent) limitsChanged() {
	for p := range t.loop.peers {
		p.w.LimitsChanged()
	}
}

// slots returns how many upload slots a torrent has, and how many of them are kept for
// browsers: none if they cannot come.
func (c *Client) slots(l Limits) allot.Slots {
	s := allot.Slots{All: c.cfg.Slots, Web: c.cfg.WebSlots}
	if l.Slots > 0 {
		s.All, s.Web = l.Slots, min(c.cfg.WebSlots, l.Slots/2)
	}
	if l.WebSlots > 0 {
		s.Web = min(l.WebSlots, s.All)
	}
	if c.shared.RTC == nil || l.WebSlots < 0 {
		s.Web = 0
	}
	return s
}

const (
	// idleSlot is after how long without requests, and stuckSlot after how long without a
	// block that it would take, an unchoked peer does not use its slot.
	idleSlot  = 3 * time.Second
	stuckSlot = 10 * time.Second
	// maxHosts bounds the hosts whose turns are remembered, mostWasted the number of wasted ones.
	maxHosts   = 4096
	mostWasted = 5
)

// wastes reports whether a peer does not use its slot, or only to take the same again and again.
func (p *peer) wastes(now time.Time) bool {
	if !p.unchoked || !p.interested {
		return false
	}
	if p.greedy.Load() {
		return true
	}
	still := min(now.Sub(p.changed), now.Sub(p.joined)-time.Duration(p.lastSent.Load()))
	if p.w.Queued() == 0 {
		return still > idleSlot
	}
	_, swarmUp := p.swarm.Limits()
	weWait := swarmUp.Limited() || p.t.up.Limited() || p.t.client.up.Limited()
	return still > stuckSlot && !weWait
}

// hurryRechoke shares the slots out anew if one is not used while others wait.
func (t *Torrent) hurryRechoke(now time.Time) {
	wasted, waiting := false, false
	for p := range t.loop.peers {
		wasted = wasted || p.wastes(now)
		waiting = waiting || p.interested && !p.unchoked
	}
	if wasted && waiting && t.isSeed() {
		t.loop.nextRechoke = now
	}
}

// turnEnded remembers whether a host used its turn. One that took less than a piece, and did not waste it, leaves
// what is known as it was.
func (t *Torrent) turnEnded(p *peer, wasted bool) {
	if !wasted && p.sentInTurn() < t.Info().PieceLength {
		return
	}
	l, host := &t.loop, p.host()
	if _, known := l.unused[host]; !known && len(l.unused) >= maxHosts {
		forgetUseful(l.unused)
	}
	if wasted {
		l.unused[host] = min(l.unused[host]+1, mostWasted)
	} else {
		l.unused[host] = max(l.unused[host]-1, 0)
	}
}

// forgetUseful makes room: those that used their turns have the least to lose.
func forgetUseful(unused map[netip.Prefix]int) {
	for host, n := range unused {
		if n == 0 {
			delete(unused, host)
		}
	}
	if len(unused) >= maxHosts {
		clear(unused)
	}
}

func (p *peer) sentInTurn() int64 { return p.sent.Load() - p.sentBefore }

func (t *Torrent) chokerPeers() []choker.Peer {
	now := time.Now()
	list := make([]choker.Peer, 0, len(t.loop.peers))
	for p := range t.loop.peers {
		wasted, known := t.loop.unused[p.host()]
		list = append(list, choker.Peer{
			ID: p.id, Web: p.kind == swarm.WebRTC, Interested: p.interested, Unchoked: p.unchoked, Changed: p.changed,
			Received: p.down.perSecond, Sent: p.up.perSecond, SentInTurn: p.sentInTurn(),
			Idle: p.wastes(now), Host: p.host(), Wasted: wasted, UsedTurns: known && wasted == 0,
		})
	}
	return list
}

// rechoke shares the upload slots out anew.
func (t *Torrent) rechoke(now time.Time) {
	if len(t.loop.peers) == 0 {
		return
	}
	chosen := t.loop.choker.Rechoke(now, t.isSeed(), t.chokerPeers())
	for p := range t.loop.peers {
		t.setUnchoked(p, chosen[p.id])
	}
}

// fillSlots gives free slots to peers that wait for one.
func (t *Torrent) fillSlots() {
	t.loop.fillSoon = false
	if t.loop.phase != phaseLive {
		return
	}
	chosen := t.loop.choker.Fill(t.chokerPeers())
	for p := range t.loop.peers {
		if chosen[p.id] {
			t.setUnchoked(p, true)
		}
	}
}

func (t *Torrent) setUnchoked(p *peer, unchoked bool) {
	wasted := p.wastes(time.Now())
	p.mu.Lock()
	same := p.unchoked == unchoked
	p.unchoked = unchoked
	allowed := p.allowedFast
	p.mu.Unlock()
	if same {
		return
	}
	if !unchoked && t.isSeed() {
		t.turnEnded(p, wasted)
	}
	p.changed, p.sentBefore = time.Now(), p.sent.Load()
	p.turn.Add(1)
	p.greedy.Store(false)
	if unchoked {
		p.w.Send(wire.Message{ID: wire.Unchoke})
		return
	}
	p.w.Send(wire.Message{ID: wire.Choke})
	p.w.StopServing(func(b wire.Block) bool {
		_, ok := allowed[b.Piece]
		return ok
	})
}
