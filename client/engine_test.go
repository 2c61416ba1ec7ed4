package client

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// The only seed silently loses the first requests (as a peer does that chokes and
// unchokes without rejecting, or whose queue overflows). They must be asked again.
func TestLostRequestsAreAskedAgain(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 8*64<<10)
	data := readData(t, dir)
	var mu sync.Mutex
	seen := map[[2]uint32]bool{}
	s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		c.send(wire.Message{ID: wire.HaveAll}, wire.Message{ID: wire.Unchoke})
	}, func(c *scriptedConn, m *wire.Message) {
		if m.ID != wire.Request {
			return
		}
		mu.Lock()
		key := [2]uint32{m.Index, m.Begin}
		lost := !seen[key] && len(seen) < 5 // the first five are lost
		seen[key] = true
		mu.Unlock()
		if !lost {
			c.send(block(data, torrent.Info, m))
		}
	})
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Peers: []string{s.addr()}})
	within(t, 25*time.Second, "the download", leech, leech.Complete())
}

// Peers that hold one piece each begin it and leave. Others, with other pieces, must
// still be of use.
func TestAbandonedPiecesFreeMemory(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 16*64<<10)
	data := readData(t, dir)
	cfg := plain(t)
	cfg.Memory = 64 << 10
	c := newClient(t, cfg)
	leech := add(t, c, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	for i := range uint32(2) { // one within the limit, one in the stretch
		asked := make(chan struct{})
		var once sync.Once
		s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
			c.send(wire.Message{ID: wire.Have, Index: i}, wire.Message{ID: wire.Unchoke})
		}, func(c *scriptedConn, m *wire.Message) {
			if m.ID == wire.Request {
				once.Do(func() { close(asked) })
			}
		})
		leech.AddPeers([]string{s.addr()})
		within(t, 5*time.Second, "a request", leech, asked)
		s.close()
		until(t, 5*time.Second, "gone", func() bool { return leech.Stats().Peers.TCP == 0 })
	}
	var asked atomic.Int64
	s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		for i := uint32(2); i < 16; i++ {
			c.send(wire.Message{ID: wire.Have, Index: i})
		}
		c.send(wire.Message{ID: wire.Unchoke})
	}, func(c *scriptedConn, m *wire.Message) {
		if m.ID == wire.Request {
			asked.Add(1)
			c.send(block(data, torrent.Info, m))
		}
	})
	leech.AddPeers([]string{s.addr()})
	until(t, 10*time.Second, "14 pieces completed", func() bool { return leech.Stats().Completed == 14*64<<10 })
	t.Logf("%d requests; reserved %d of %d", asked.Load(), c.memory.Reserved(), cfg.Memory)
}

// A reader waits for a piece that only a choking peer has. The rest of the torrent
// must go on.
func TestReaderOfAnUnavailablePieceStopsNothingElse(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 16*64<<10)
	data := readData(t, dir)
	choking := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		c.send(wire.Message{ID: wire.HaveAll})
	}, nil)
	most := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		for i := uint32(1); i < 16; i++ {
			c.send(wire.Message{ID: wire.Have, Index: i})
		}
		time.Sleep(time.Second) // the reader is there by now
		c.send(wire.Message{ID: wire.Unchoke})
	}, func(c *scriptedConn, m *wire.Message) {
		if m.ID == wire.Request {
			c.send(block(data, torrent.Info, m))
		}
	})
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Peers: []string{choking.addr(), most.addr()}})
	r := openFile(t, leech)
	defer r.Close()
	go r.Read(make([]byte, 10))
	until(t, 10*time.Second, "15 pieces completed", func() bool { return leech.Stats().Completed >= 15*64<<10 })
	if s := leech.Stats(); s.Wasted > s.Completed/4 {
		t.Errorf("%d bytes were wasted for %d", s.Wasted, s.Completed)
	}
}

// With a cache, what is evicted counts as left again, once.
func TestCacheAccounting(t *testing.T) {
	leech, data := startStream(t, 16<<20, quiet(t), TorrentOptions{Cache: 5 << 20})
	until(t, 5*time.Second, "connected", func() bool { return leech.Stats().Peers.TCP > 0 })
	s := leech.Stats()
	r := openFile(t, leech)
	defer r.Close()
	r.SetWindow(300 << 10)
	if leech.announceStats().Left == 0 || s.State == StateSeeding {
		t.Errorf("before anything is there: %s, left %d (trackers are told %d; upload_only is sent)", s.State, s.Left, leech.announceStats().Left)
	}
	if _, err := io.CopyN(io.Discard, r, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	if s := leech.Stats(); s.Left < 0 || s.Wanted < 0 {
		t.Errorf("left %d, wanted %d, completed %d; trackers are told %d", s.Left, s.Wanted, s.Completed, leech.announceStats().Left)
	}
}

// With a cache, a piece that is evicted while requests for it wait to be served must not
// end the torrent.
func TestCacheEvictsWhatIsQueuedToBeServed(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 200*64<<10)
	seeder := newClient(t, plain(t))
	add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	cfg := plain(t)
	cfg.UpLimit = 20 << 10 // slow: requests wait
	cache := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Cache: 5 << 20, Peers: []string{seeder.TCPAddr().String()}})
	r := openFile(t, cache)
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, 3*64<<10); err != nil {
		t.Fatal(err)
	}
	unchoked := make(chan struct{})
	var once sync.Once
	s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		c.send(wire.Message{ID: wire.HaveNone}, wire.Message{ID: wire.Interested})
	}, func(c *scriptedConn, m *wire.Message) {
		if m.ID != wire.Unchoke {
			return
		}
		for i := range uint32(3) {
			for b := range uint32(4) {
				c.send(wire.Message{ID: wire.Request, Index: i, Begin: b << 14, Length: 1 << 14})
			}
		}
		once.Do(func() { close(unchoked) })
	})
	cache.AddPeers([]string{s.addr()})
	within(t, 15*time.Second, "unchoke", cache, unchoked)
	if _, err := io.CopyN(io.Discard, r, 150*64<<10); err != nil {
		t.Errorf("reading on: %v", err)
	}
	select {
	case <-cache.Failed():
		t.Errorf("the torrent failed: %v", cache.Err())
	case <-time.After(3 * time.Second):
	}
}

// Three peers that send the same metadata piece again and again must not keep the
// honest one from being asked.
func TestMetadataSlowLoris(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 64<<10)
	var bad []string
	var sending sync.WaitGroup
	t.Cleanup(sending.Wait)
	for range 3 {
		s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
			h := wire.ExtHandshake{M: map[string]byte{wire.ExtMetadata: 1}, MetadataSize: 1 << 20}
			c.send(wire.Message{ID: wire.HaveNone}, wire.Message{ID: wire.Extended, Payload: h.Encode()})
		}, func(c *scriptedConn, m *wire.Message) {
			if m.ID != wire.Extended || m.Ext != 1 {
				return
			}
			msg, ok := wire.DecodeMetadataMessage(m.Payload)
			if !ok || msg.Type != wire.MetadataRequest || msg.Piece != 0 {
				return
			}
			reply := wire.MetadataMessage{Type: wire.MetadataData, Piece: 0, TotalSize: 1 << 20, Data: make([]byte, 16<<10)}
			sending.Go(func() {
				for t.Context().Err() == nil {
					c.send(wire.Message{ID: wire.Extended, Ext: wire.OurMetadata, Payload: reply.Encode()})
					select {
					case <-time.After(2 * time.Second):
					case <-t.Context().Done():
					}
				}
			})
		})
		bad = append(bad, s.addr())
	}
	magnet := torrent.Magnet()
	magnet.Peers = bad
	leech := add(t, newClient(t, plain(t)), &meta.Source{Magnet: magnet}, TorrentOptions{Dir: t.TempDir()})
	until(t, 5*time.Second, "three peers", func() bool { return leech.Stats().Peers.TCP == 3 })
	time.Sleep(500 * time.Millisecond)
	seeder := newClient(t, plain(t))
	add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	leech.AddPeers([]string{seeder.TCPAddr().String()})
	within(t, 20*time.Second, "the metadata", leech, leech.GotInfo())
}

// Blocks that a reader made us cancel are rejected, as BEP 6 asks. That is no reason
// to hang up.
func TestRejectsOfCancelledRequestsAreNotHeldAgainstAPeer(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 32*64<<10)
	data := readData(t, dir)
	var conns, cancels atomic.Int64
	s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		conns.Add(1)
		c.send(wire.Message{ID: wire.HaveAll}, wire.Message{ID: wire.Unchoke})
	}, func(c *scriptedConn, m *wire.Message) {
		switch m.ID {
		case wire.Cancel: // in our queue still: rejected, as BEP 6 has it
			cancels.Add(1)
			c.send(wire.Message{ID: wire.Reject, Index: m.Index, Begin: m.Begin, Length: m.Length})
		case wire.Request:
			_ = data
		}
	})
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Peers: []string{s.addr()}})
	for i := range 2000 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
		r, err := leech.OpenFile(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.SetWindow(4 * 64 << 10)
		r.Seek(int64(i%8)*4*64<<10, io.SeekStart)
		r.Read(make([]byte, 10))
		r.Close()
		cancel()
		if conns.Load() > 1 {
			break
		}
	}
	t.Logf("%d cancels, %d connections", cancels.Load(), conns.Load())
	if conns.Load() > 1 {
		t.Error("hung up on a peer that rejected what was cancelled")
	}
}

// A failed torrent must give its memory back: others of the client need it.
func TestFailedTorrentFreesMemory(t *testing.T) {
	_, torrent := makeTorrent(t, "data.bin", 16*64<<10)
	s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		c.send(wire.Message{ID: wire.HaveAll}, wire.Message{ID: wire.Unchoke})
	}, nil)
	c := newClient(t, plain(t))
	leech := add(t, c, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir(), Peers: []string{s.addr()}})
	until(t, 5*time.Second, "pieces begun", func() bool { return c.memory.Reserved() > 0 })
	leech.do(func() { leech.fail(io.ErrShortWrite) })
	<-leech.Failed()
	until(t, 3*time.Second, "memory given back", func() bool { return c.memory.Reserved() == 0 })
	t.Logf("reserved: %d", c.memory.Reserved())
}

// Adding a torrent that runs already must leave nothing behind.
func TestAddTwiceLeaksNothing(t *testing.T) {
	_, torrent := makeTorrent(t, "data.bin", 64<<10)
	c := newClient(t, plain(t))
	add(t, c, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	var peers []string
	for range 30 {
		peers = append(peers, "127.0.0.1:1")
	}
	before := runtime.NumGoroutine()
	for range 20 {
		if _, err := c.Add(&meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir(), Peers: peers}); err == nil {
			t.Fatal("added twice")
		}
	}
	time.Sleep(time.Second)
	if n := runtime.NumGoroutine() - before; n > 5 {
		t.Errorf("%d goroutines were left behind", n)
	}
}
