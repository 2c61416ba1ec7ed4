package client

import (
	"time"

	"github.com/causeway-bt/causeway/client/choker"
	"github.com/causeway-bt/causeway/wire"
)

const rechokeInterval = choker.Interval

// webSlots is how many slots are kept for browsers: none if they cannot come.
func (c *Client) webSlots() int {
	if c.rtc == nil {
		return 0
	}
	return c.cfg.WebSlots
}

func (t *Torrent) chokerPeers() []choker.Peer {
	list := make([]choker.Peer, 0, len(t.loop.peers))
	for p := range t.loop.peers {
		list = append(list, choker.Peer{
			ID: p.id, Web: p.kind == WebRTC, Interested: p.interested, Unchoked: p.unchoked, Changed: p.changed,
			Received: p.down.perSecond, Sent: p.up.perSecond,
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
	p.mu.Lock()
	same := p.unchoked == unchoked
	p.unchoked = unchoked
	allowed := p.allowedFast
	p.mu.Unlock()
	if same {
		return
	}
	p.changed = time.Now()
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
