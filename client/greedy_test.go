package client

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// Who takes the same again and again is served on, but gives way as soon as somebody else
// wants the slot, long before its turn ends.
func TestGreedyPeerGivesWay(t *testing.T) {
	dir, content := makeTorrent(t, "data.bin", 4<<20) // more than is given to those who are choked
	cfg := plain(t)
	cfg.Slots, cfg.WebSlots = 1, 0
	seed := add(t, newClient(t, cfg), &meta.Source{Torrent: content}, TorrentOptions{Dir: dir})
	var unchoked, received atomic.Int64
	ask := wire.Message{ID: wire.Request, Length: wire.BlockSize}
	greedy := newScripted(t, content.Info.InfoHash, func(c *scriptedConn) {
		c.send(wire.Message{ID: wire.HaveNone}, wire.Message{ID: wire.Interested})
	}, func(c *scriptedConn, m *wire.Message) {
		switch m.ID {
		case wire.Unchoke:
			unchoked.Add(1)
			c.send(ask, ask, ask, ask)
		case wire.Piece:
			received.Add(1)
			c.send(ask)
		}
	})
	seed.AddPeers([]string{greedy.addr()})
	const tooMuch = maxServed * (64<<10/wire.BlockSize + 1)
	until(t, 20*time.Second, "the greedy peer to have too much", func() bool { return received.Load() > 2*tooMuch })
	if n := unchoked.Load(); n != 1 {
		t.Errorf("it was unchoked %d times while nobody else wanted the slot", n)
	}
	began := time.Now()
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir(), Peers: []string{seed.client.TCPAddr().String()}})
	within(t, 15*time.Second, "the content", leech, leech.Complete())
	t.Logf("it was there after %v", time.Since(began))
	// It is not shut out either: it has a turn once the other has what it wanted.
	before := received.Load()
	until(t, 20*time.Second, "the greedy peer to be served again", func() bool { return received.Load() > before })
}
