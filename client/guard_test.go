package client

import (
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// A panic over what one peer sent ends its connection, and nothing else: neither the
// process, nor the torrent, nor another peer.
func TestPanicOverAPeerEndsItsConnection(t *testing.T) {
	_, content := makeTorrent(t, "data.bin", 64<<10)
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir()})
	other := add(t, newClient(t, plain(t)), &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir()})
	leech.AddPeers([]string{other.client.TCPAddr().String()})
	hasPeers(t, leech, 1, 0)
	var bad *peer
	if err := leech.call(func() {
		for p := range leech.loop.peers {
			bad = p
			bad.swarm = nil // no message is known that makes it panic without that
		}
	}); err != nil || bad == nil {
		t.Fatal("no peer: ", err)
	}
	pex := wire.PEXMessage{Added: []wire.PEXPeer{{Addr: netip.MustParseAddrPort("8.8.8.8:1")}}}
	if err := bad.post(event{message: wire.Message{ID: wire.Extended, Ext: wire.OurPEX}, decoded: pex}, true); err != nil {
		t.Fatal(err)
	}
	until(t, 10*time.Second, "the end of its connection", func() bool {
		gone := false
		_ = leech.call(func() { _, here := leech.loop.peers[bad]; gone = !here })
		return gone
	})
	if leech.Err() != nil {
		t.Errorf("the torrent failed: %v", leech.Err())
	}
}
