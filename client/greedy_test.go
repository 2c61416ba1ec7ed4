package client

import (
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

// Whoever takes the same again and again is let go, also while the loop is busy with that
// very peer and commands wait for it.
func TestGreedyPeerIsLetGo(t *testing.T) {
	_, content := makeTorrent(t, "data.bin", 64<<10)
	seed := add(t, newClient(t, plain(t)), &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir()})
	other := add(t, newClient(t, plain(t)), &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir()})
	seed.AddPeers([]string{other.client.TCPAddr().String()})
	hasPeers(t, seed, 1, 0)
	var greedy *peer
	busy, enough := make(chan struct{}), make(chan struct{})
	seed.do(func() {
		for p := range seed.loop.peers {
			greedy = p
		}
		close(busy)
		<-enough
		greedy.takeInbox(nil) // with its lock
	})
	<-busy
	for range commandQueue {
		seed.do(func() {})
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		greedy.served(0, 1<<30)
	}()
	// The queue of commands is full, so that served waits for the loop.
	until(t, 10*time.Second, "the greedy peer to wait", func() bool { return seed.pending.Load() > commandQueue+1 })
	close(enough)
	until(t, 10*time.Second, "the end of its connection", func() bool {
		gone := make(chan bool, 1)
		if !seed.do(func() { _, here := seed.loop.peers[greedy]; gone <- !here }) {
			return false
		}
		return <-gone
	})
	<-sent
}
