package client

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/wire"
)

// A torrent whose peer sends nothing holds all memory. Another must still go on.
func TestOneTorrentStarvesNoOther(t *testing.T) {
	_, stuck := makeTorrent(t, "data.bin", 4*64<<10)
	dir, torrent := makeTorrent(t, "data.bin", 4*64<<10)
	cfg := plain(t)
	cfg.Memory = 64 << 10
	c := newClient(t, cfg)
	silent := newScripted(t, stuck.Info.InfoHash, func(c *scriptedConn) {
		c.send(wire.Message{ID: wire.HaveAll}, wire.Message{ID: wire.Unchoke})
	}, nil)
	add(t, c, &meta.Source{Torrent: stuck}, TorrentOptions{Dir: t.TempDir(), Peers: []string{silent.addr()}})
	until(t, 5*time.Second, "memory is held", func() bool { return c.memory.Reserved() > 0 })
	seeder := newClient(t, plain(t))
	add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	leech := add(t, c, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir(), Peers: []string{seeder.TCPAddr().String()}})
	within(t, 10*time.Second, "the other torrent", leech, leech.Complete())
	t.Logf("reserved %d", c.memory.Reserved())
}

// The event loop must not wait for a WebRTC connection to be torn down.
func TestDropOfBrowserHoldsNothingUp(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 4<<20)
	cfg := func() Config {
		cfg := quiet(t)
		cfg.UpLimit = 200 << 10
		cfg.STUN, cfg.DisableTCP = []string{}, true
		return cfg
	}
	seeder, leecher := newClient(t, cfg()), newClient(t, cfg())
	seed := add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	leech := add(t, leecher, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	ctx := context.Background()
	until(t, 5*time.Second, "the seed lives", func() bool { return seed.content.Load() != nil })
	for _, o := range offersOf(t, leech) {
		answer, err := seed.swarms[0].Web().Answer(ctx, ws.ID(leech.swarms[0].PeerID()), o.ID, o.SDP)
		if err != nil {
			t.Fatal(err)
		}
		leech.swarms[0].Web().Answered(ws.ID(seed.swarms[0].PeerID()), o.ID, answer)
	}
	until(t, 10*time.Second, "connected", func() bool { return leech.Stats().Downloaded > 0 })
	took := make(chan time.Duration, 1)
	leech.do(func() {
		start := time.Now()
		for p := range leech.loop.peers {
			leech.drop(p, errors.New("review"))
		}
		took <- time.Since(start)
	})
	if d := <-took; d > 20*time.Millisecond {
		t.Errorf("the event loop stood still for %v", d)
	} else {
		t.Logf("%v", d)
	}
}

// A peer that turned out to be in a private torrent, found by a magnet link, must not
// keep the public trackers that were added of our own accord.
func TestPrivateMagnetLeavesDefaultTrackers(t *testing.T) {
	dir, torrent := makePrivate(t)
	seeder := newClient(t, plain(t))
	add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	cfg := plain(t)
	cfg.DisableWebRTC, cfg.DisableTrackers = false, false
	cfg.STUN = []string{}
	saved := swarm.DefaultWebTrackers
	swarm.DefaultWebTrackers = []string{"ws://127.0.0.1:1"}
	t.Cleanup(func() { swarm.DefaultWebTrackers = saved })
	magnet := torrent.Magnet()
	magnet.Peers = []string{seeder.TCPAddr().String()}
	magnet.Trackers = nil
	leech := add(t, newClient(t, cfg), &meta.Source{Magnet: magnet}, TorrentOptions{Dir: t.TempDir()})
	within(t, 10*time.Second, "the download", leech, leech.Complete())
	n := make(chan int, 1)
	leech.do(func() { n <- len(leech.swarms[0].Trackers()) })
	if got := <-n; got != 0 {
		t.Errorf("a private torrent is announced to %d public trackers that its owner did not name", got)
	}
}

func makePrivate(t *testing.T) (dir string, torrent *meta.Torrent) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data.bin"), make([]byte, 100<<10), 0o666); err != nil {
		t.Fatal(err)
	}
	raw, err := meta.Create(context.Background(), filepath.Join(dir, "data.bin"),
		meta.CreateOptions{PieceLength: 64 << 10, Private: true, Trackers: [][]string{{"http://127.0.0.1:1/announce"}}})
	if err != nil {
		t.Fatal(err)
	}
	if torrent, err = meta.ParseTorrent(raw); err != nil {
		t.Fatal(err)
	}
	return dir, torrent
}

// With a cache, what was fetched ahead of time is not to be fetched again and again.
func TestCachePrefetchesOnce(t *testing.T) {
	leech, data := startStream(t, 16<<20, quiet(t), TorrentOptions{Cache: 5 << 20})
	leech.Prefetch(0)
	r := openFile(t, leech)
	defer r.Close()
	r.SetWindow(300 << 10)
	if _, err := io.CopyN(io.Discard, r, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	if s := leech.Stats(); s.Downloaded > int64(len(data))*12/10 {
		t.Errorf("%d bytes were downloaded to read %d", s.Downloaded, len(data))
	}
}

// With a cache, a reader that stands still must not keep another from its bytes.
func TestCacheSecondReaderDoesNotStarve(t *testing.T) {
	leech, _ := startStream(t, 16<<20, quiet(t), TorrentOptions{Cache: 5 << 20})
	paused := openFile(t, leech)
	defer paused.Close()
	paused.SetWindow(12 << 20)
	until(t, 5*time.Second, "full", func() bool { return leech.Stats().Completed >= 77*64<<10 })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := leech.OpenFile(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Seek(15<<20, io.SeekStart)
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Errorf("the second reader: %v; %+v", err, leech.Stats())
	}
}
