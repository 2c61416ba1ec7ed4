package client

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// seeds starts n scripted seeds of a torrent, and returns where they are.
func seeds(t *testing.T, torrent *meta.Torrent, data []byte, n int) (addrs []string) {
	t.Helper()
	for range n {
		s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
			c.send(wire.Message{ID: wire.HaveAll}, wire.Message{ID: wire.Unchoke})
		}, func(c *scriptedConn, m *wire.Message) {
			if m.ID == wire.Request {
				c.send(block(data, torrent.Info, m))
			}
		})
		addrs = append(addrs, s.addr())
	}
	return addrs
}

// sample reads a counter, and when it said so: on a busy machine a goroutine may have to
// wait between the two.
func sample(count func() int64) (now time.Time, n int64) {
	for {
		now, n = time.Now(), count()
		if time.Since(now) < time.Millisecond {
			return now, n
		}
	}
}

// measured is a counter watched for a while: how fast it grew, between two moments at
// which it did, so that the size of the steps does not matter.
func measured(count func() int64, ramp, d time.Duration) (perSecond float64) {
	start, last := sample(count)
	var first, end time.Time
	var from, to int64
	for now := start; now.Sub(start) < ramp+d; time.Sleep(2 * time.Millisecond) {
		var n int64
		if now, n = sample(count); n == last {
			continue
		}
		last = n
		switch {
		case now.Sub(start) < ramp:
		case first.IsZero():
			first, from = now, n
		default:
			end, to = now, n
		}
	}
	if end.IsZero() {
		return 0
	}
	return float64(to-from) / end.Sub(first).Seconds()
}

// tries is how often a rate is measured until it is right: on a machine that is busy for a
// moment, one that is right looks wrong, but one that is wrong does not look right.
const tries = 3

// within5 checks that a counter grows as fast as it should.
func within5(t *testing.T, what string, want float64, count func() int64, ramp, d time.Duration) {
	t.Helper()
	var got float64
	for range tries {
		got = measured(count, ramp, d)
		t.Logf("%s: %.1f KiB/s, %+.1f %%", what, got/1024, 100*(got/want-1))
		if isNear(got, want, 0.05) {
			return
		}
	}
	t.Errorf("%s: %.0f bytes/s, want %.0f within 5 %%", what, got, want)
}

func isNear(got, want, by float64) bool { return math.Abs(got/want-1) <= by }

// A download limit is kept, and nothing is fetched twice because of it. `make bench` has the
// whole matrix.
func TestDownloadLimitIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit, seeds int
		d            time.Duration
	}{
		{30 << 10, 60, 12 * time.Second}, {100 << 10, 30, 8 * time.Second}, {1 << 20, 5, 5 * time.Second}, {4 << 20, 1, 4 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d KiB from %d", c.limit>>10, c.seeds), func(t *testing.T) {
			t.Parallel()
			const ramp = 2 * time.Second
			dir, torrent := makeTorrent(t, "data.bin", int(float64(c.limit)*(c.d+ramp).Seconds()*(tries+1)))
			cfg := plain(t)
			cfg.DownLimit = int64(c.limit)
			leech := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent},
				TorrentOptions{Dir: t.TempDir(), Peers: seeds(t, torrent, readData(t, dir), c.seeds)})
			within5(t, "the download", float64(c.limit), leech.downloaded.Load, ramp, c.d)
			if s := leech.Stats(); float64(s.Wasted) > 0.03*float64(s.Downloaded) {
				t.Errorf("%d of %d bytes came in vain", s.Wasted, s.Downloaded)
			}
		})
	}
}

// The end of a limited download does not wait long for a seed that has stopped sending, and
// still nothing comes twice from those that send.
func TestLimitedDownloadEnds(t *testing.T) {
	t.Parallel()
	dir, torrent := makeTorrent(t, "data.bin", 16*64<<10)
	data := readData(t, dir)
	cfg := plain(t)
	cfg.DownLimit = 200 << 10
	silent := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		c.send(wire.Message{ID: wire.HaveAll}, wire.Message{ID: wire.Unchoke})
	}, nil)
	leech := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Peers: append(seeds(t, torrent, data, 3), silent.addr())})
	start := time.Now()
	await(t, "the download", leech, leech.Complete())
	least := time.Duration(float64(len(data)) / float64(cfg.DownLimit) * float64(time.Second))
	if d := time.Since(start); d > 2*least+8*time.Second {
		t.Errorf("it took %v; the limit asks for %v", d, least)
	}
	if s := leech.Stats(); float64(s.Wasted) > 0.03*float64(s.Downloaded) {
		t.Errorf("%d of %d bytes came in vain", s.Wasted, s.Downloaded)
	}
}

// The limit of a client is shared fairly among its torrents, however many peers each has;
// what one does not want the others get.
func TestLimitIsSharedFairly(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: not with -short")
	}
	t.Parallel()
	const limit = 600 << 10
	cfg := plain(t)
	cfg.DownLimit = limit
	c := newClient(t, cfg)
	var torrents []*Torrent
	for _, n := range []int{1, 5, 30} {
		dir, torrent := makeTorrent(t, "data.bin", 24<<20)
		torrents = append(torrents, add(t, c, &meta.Source{Torrent: torrent},
			TorrentOptions{Dir: t.TempDir(), Peers: seeds(t, torrent, readData(t, dir), n)}))
	}
	const ramp, d = 2 * time.Second, 6 * time.Second
	for try := range tries {
		rates := make([]float64, len(torrents))
		var measuring sync.WaitGroup
		for i, torrent := range torrents {
			measuring.Go(func() { rates[i] = measured(torrent.downloaded.Load, ramp, d) })
		}
		measuring.Wait()
		t.Logf("they have %.0f bytes/s", rates)
		if !slices.ContainsFunc(rates, func(r float64) bool { return !isNear(r, limit/3, 0.08) }) {
			break
		}
		if try == tries-1 {
			t.Errorf("they have %.0f bytes/s, want a third of %d each", rates, limit)
		}
	}
	// One is stopped, one has a limit of its own: the third gets the rest.
	if err := torrents[2].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := torrents[1].SetLimits(Limits{Down: 100 << 10}); err != nil {
		t.Fatal(err)
	}
	within5(t, "who has no limit of its own", 500<<10, torrents[0].downloaded.Load, ramp, d)
	within5(t, "who has", 100<<10, torrents[1].downloaded.Load, ramp, d)
}

// Limits change at any time, up, down, to none and back, and hold at once.
func TestLimitsChangeAtRunTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: not with -short")
	}
	t.Parallel()
	dir, torrent := makeTorrentOf(t, 256<<10, "data.bin", 100<<20)
	c := newClient(t, plain(t))
	leech := add(t, c, &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Limits: Limits{Down: 300 << 10}, Peers: seeds(t, torrent, readData(t, dir), 5)})
	for i, limit := range []int64{300 << 10, 2 << 20, 100 << 10, 1 << 20, 0, 200 << 10} {
		if i%2 == 0 {
			c.SetLimits(Limits{})
			if err := leech.SetLimits(Limits{Down: limit}); err != nil {
				t.Fatal(err)
			}
		} else {
			if err := leech.SetLimits(Limits{}); err != nil {
				t.Fatal(err)
			}
			c.SetLimits(Limits{Down: limit})
		}
		if limit == 0 {
			before := leech.downloaded.Load()
			until(t, 10*time.Second, "faster than any limit", func() bool { return leech.downloaded.Load()-before > 12<<20 })
			continue
		}
		within5(t, fmt.Sprintf("limit %d", i), float64(limit), leech.downloaded.Load, time.Second, 4*time.Second)
	}
	if s := leech.Stats(); float64(s.Wasted) > 0.03*float64(s.Downloaded) {
		t.Errorf("%d of %d bytes came in vain", s.Wasted, s.Downloaded)
	}
}

func TestSwarmLimitsChangeAtRunTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: not with -short")
	}
	t.Parallel()
	dir, torrent := makeTorrentOf(t, 256<<10, "data.bin", 100<<20)
	seed := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Peers: []string{seed.client.TCPAddr().String()}, Limits: Limits{Down: 300 << 10}})
	set := func(torrent *Torrent, down, up int64) {
		t.Helper()
		if err := torrent.SetSwarmLimits(torrent.InfoHash(), down, up); err != nil {
			t.Fatal(err)
		}
	}
	set(leech, 150<<10, 0)
	within5(t, "down", 150<<10, leech.downloaded.Load, time.Second, 4*time.Second)
	set(leech, 0, 0)
	within5(t, "the torrent's", 300<<10, leech.downloaded.Load, time.Second, 4*time.Second)
	set(seed, 0, 150<<10)
	within5(t, "up", 150<<10, seed.uploaded.Load, time.Second, 4*time.Second)
	if err := seed.SetSwarmLimits([20]byte{1}, 1, 1); err == nil {
		t.Error("the limits of a swarm that is not there were set")
	}
}

// What a reader waits for comes first under a limit, too. Beside other tests peers would seem slow, and be
// asked twice.
func TestLimitAndReaders(t *testing.T) {
	const limit = 400 << 10
	dir, torrent := makeTorrent(t, "data.bin", 16<<20)
	cfg := plain(t)
	cfg.DownLimit = limit
	leech := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Peers: seeds(t, torrent, readData(t, dir), 10)})
	until(t, 10*time.Second, "some pieces", func() bool { return leech.Stats().Completed > 0 })
	r := openFile(t, leech)
	defer r.Close()
	r.SetWindow(128 << 10)
	if _, err := r.Seek(10<<20, 0); err != nil {
		t.Fatal(err)
	}
	start, n := time.Now(), 0
	buf := make([]byte, 64<<10)
	for time.Since(start) < 6*time.Second {
		k, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	got := float64(n) / time.Since(start).Seconds()
	t.Logf("read %.0f KiB/s of %d", got/1024, limit>>10)
	if got < 0.6*limit { // without its deadlines it would get next to nothing
		t.Errorf("a reader got %.0f bytes/s of %d", got, limit)
	}
	if s := leech.Stats(); float64(s.Wasted) > 0.03*float64(s.Downloaded) {
		t.Errorf("%d of %d bytes came in vain", s.Wasted, s.Downloaded)
	}
}

// leeches starts n scripted peers that want blocks and have none.
func leeches(t *testing.T, torrent *meta.Torrent, n int) (addrs []string) {
	t.Helper()
	blocks := uint32(torrent.Info.Length / wire.BlockSize)
	perPiece := uint32(torrent.Info.PieceLength / wire.BlockSize)
	for range n {
		next := make(map[*scriptedConn]uint32)
		ask := func(c *scriptedConn) {
			b := next[c] % blocks
			next[c]++
			c.send(wire.Message{ID: wire.Request, Index: b / perPiece, Begin: b % perPiece * wire.BlockSize, Length: wire.BlockSize})
		}
		s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
			c.send(wire.Message{ID: wire.HaveNone}, wire.Message{ID: wire.Interested})
		}, func(c *scriptedConn, m *wire.Message) {
			switch m.ID {
			case wire.Unchoke:
				for range 64 {
					ask(c)
				}
			case wire.Piece:
				ask(c)
			}
		})
		addrs = append(addrs, s.addr())
	}
	return addrs
}

// An upload limit is kept, whoever comes and goes meanwhile, and when it changes.
func TestUploadLimitIsKept(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: not with -short")
	}
	t.Parallel()
	for _, c := range []struct {
		limit, leeches int
		d              time.Duration
	}{
		{30 << 10, 60, 18 * time.Second}, {100 << 10, 30, 10 * time.Second}, {1 << 20, 5, 5 * time.Second}, {4 << 20, 1, 4 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d KiB to %d", c.limit>>10, c.leeches), func(t *testing.T) {
			t.Parallel()
			// So much that nobody takes a piece again and again, which would be held against it.
			dir, torrent := makeTorrent(t, "data.bin", 16<<20)
			cfg := plain(t)
			cfg.UpLimit = int64(c.limit)
			seeder := newClient(t, cfg)
			seed := add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir, Peers: leeches(t, torrent, c.leeches)})
			within5(t, "the upload", float64(c.limit), seed.uploaded.Load, 5*time.Second, c.d)
			for _, limit := range []int64{2 << 20, 200 << 10} {
				seeder.SetLimits(Limits{Up: limit})
				within5(t, "the upload, changed", float64(limit), seed.uploaded.Load, time.Second, 5*time.Second)
			}
		})
	}
}
