package client

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// recorder is a scripted peer with all pieces that remembers what it was sent.
type recorder struct {
	*scripted
	mu   sync.Mutex
	sent []wire.Message
}

// newRecorder starts one that answers requests with answer, which may be nil.
func newRecorder(t *testing.T, torrent *meta.Torrent, answer func(*scriptedConn, *wire.Message)) *recorder {
	r := &recorder{}
	r.scripted = newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		h := wire.ExtHandshake{M: map[string]byte{wire.ExtDontHave: dontHaveOfRecorder}}
		c.send(wire.Message{ID: wire.HaveAll}, wire.Message{ID: wire.Extended, Payload: h.Encode()}, wire.Message{ID: wire.Unchoke})
	}, func(c *scriptedConn, m *wire.Message) {
		kept := *m
		kept.Payload = bytes.Clone(m.Payload)
		r.mu.Lock()
		r.sent = append(r.sent, kept)
		r.mu.Unlock()
		if m.ID == wire.Request && answer != nil {
			answer(c, m)
		}
	})
	return r
}

// dontHaveOfRecorder is its number for lt_donthave.
const dontHaveOfRecorder = 77

// of returns what it was sent of a kind.
func (r *recorder) of(id wire.ID) (ms []wire.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.sent {
		if m.ID == id {
			ms = append(ms, m)
		}
	}
	return ms
}

// pieces returns the pieces of messages, each once, in their order.
func pieces(ms []wire.Message) (list []int) {
	for _, m := range ms {
		if !slices.Contains(list, int(m.Index)) {
			list = append(list, int(m.Index))
		}
	}
	return list
}

func serveFrom(data []byte, torrent *meta.Torrent) func(*scriptedConn, *wire.Message) {
	return func(c *scriptedConn, m *wire.Message) { c.send(block(data, torrent.Info, m)) }
}

// What leaves the cache is taken back from peers that know how.
func TestEvictedPiecesAreToldOf(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 150*64<<10)
	peer := newRecorder(t, torrent, serveFrom(readData(t, dir), torrent))
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Cache: 1, Peers: []string{peer.addr()}})
	r := openFile(t, leech)
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	gone := 150 - leech.content.Load().Slots()
	until(t, 5*time.Second, "told of all that was evicted", func() bool {
		n := 0
		for _, m := range peer.of(wire.Extended) {
			if m.Ext != dontHaveOfRecorder {
				continue
			}
			n++
			piece, ok := wire.DecodeDontHave(m.Payload)
			if !ok || leech.content.Load().Verified().Has(int(piece)) {
				t.Errorf("told of piece %d (%v), which is there", piece, ok)
			}
		}
		return n == gone
	})
}

// With a cache, pieces come and go: not even with all of them do we call ourselves a
// seed.
func TestCacheIsNeverHaveAll(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 10*64<<10)
	seeder := newRecorder(t, torrent, serveFrom(readData(t, dir), torrent))
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), Cache: 1 << 20, Peers: []string{seeder.addr()}})
	r := openFile(t, leech)
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	late := newRecorder(t, torrent, nil)
	leech.AddPeers([]string{late.addr()})
	until(t, 5*time.Second, "told of all pieces in a bitfield", func() bool {
		if len(late.of(wire.HaveAll)) > 0 {
			t.Fatal("the peer was told have-all")
		}
		bitfields := late.of(wire.BitfieldID)
		return len(bitfields) == 1 && wire.Bitfield(bitfields[0].Payload).Count() == 10
	})
}

// Two readers that are ahead of their players get the same of a slow peer.
func TestReadersShareFairly(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 200*64<<10)
	data := readData(t, dir)
	peer := newRecorder(t, torrent, func(c *scriptedConn, m *wire.Message) {
		time.Sleep(2 * time.Millisecond)
		c.send(block(data, torrent.Info, m))
	})
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	a, b := openFile(t, leech), openFile(t, leech)
	defer a.Close()
	defer b.Close()
	b.Seek(100*64<<10, io.SeekStart)
	a.SetWindow(90 * 64 << 10)
	b.SetWindow(90 * 64 << 10)
	leech.AddPeers([]string{peer.addr()})
	until(t, 15*time.Second, "30 pieces there", func() bool { return a.Buffered()+b.Buffered() >= 30*64<<10 })
	if x, y := a.Buffered(), b.Buffered(); min(x, y)*2 < max(x, y) {
		t.Errorf("one reader has %d bytes and the other %d", x, y)
	}
}

// What a player looks at first to find out what a file is comes first.
func TestPrefetchAsksForHeadAndTailFirst(t *testing.T) {
	_, torrent := makeTorrent(t, "data.bin", 80*64<<10)
	peer := newRecorder(t, torrent, nil)
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	leech.Prefetch(0)
	leech.AddPeers([]string{peer.addr()})
	until(t, 5*time.Second, "asked", func() bool { return len(peer.of(wire.Request)) >= 8 })
	if got := pieces(peer.of(wire.Request)[:8]); !slices.Equal(got, []int{0, 79}) {
		t.Errorf("pieces %v were asked for first, want the first and the last", got)
	}
}

// A seek takes back what was asked for before, so that it does not come before what
// the reader waits for.
func TestSeekCancelsWhatWasAskedBefore(t *testing.T) {
	_, torrent := makeTorrent(t, "data.bin", 80*64<<10)
	peer := newRecorder(t, torrent, nil)
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(context.Background())
	r, err := leech.OpenFile(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.SetWindow(8 * 64 << 10)
	leech.AddPeers([]string{peer.addr()})
	until(t, 5*time.Second, "asked", func() bool { return len(peer.of(wire.Request)) > 0 })
	r.Seek(40*64<<10, io.SeekStart)
	var reading sync.WaitGroup
	reading.Go(func() { r.Read(make([]byte, 1)) })
	defer reading.Wait()
	defer cancel()
	key := func(m wire.Message) [2]uint32 { return [2]uint32{m.Index, m.Begin} }
	until(t, 5*time.Second, "all cancelled that was asked before the seek, and piece 40 asked for", func() bool {
		open := make(map[[2]uint32]bool)
		for _, m := range peer.of(wire.Request) {
			open[key(m)] = true
		}
		for _, m := range peer.of(wire.Cancel) {
			delete(open, key(m))
		}
		for k := range open {
			if k[0] < 40 {
				return false
			}
		}
		return open[[2]uint32{40, 0}]
	})
}

// A reader that was closed has nothing come first any more.
func TestClosedReaderIsForgotten(t *testing.T) {
	_, torrent := makeTorrent(t, "data.bin", 80*64<<10)
	peer := newRecorder(t, torrent, nil)
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir(), Sequential: true})
	urgent := func() (n int) {
		counted := make(chan int, 1)
		leech.do(func() {
			n := 0
			if c := leech.loop.content; c != nil {
				n = c.Deadlines()
			}
			counted <- n
		})
		return <-counted
	}
	r := openFile(t, leech)
	r.Seek(40*64<<10, io.SeekStart)
	r.SetWindow(8 * 64 << 10)
	until(t, 5*time.Second, "urgent", func() bool { return urgent() == 8 })
	r.Close()
	until(t, 5*time.Second, "forgotten", func() bool { return urgent() == 0 })
	leech.AddPeers([]string{peer.addr()})
	until(t, 5*time.Second, "asked", func() bool { return len(peer.of(wire.Request)) > 0 })
	if first := peer.of(wire.Request)[0].Index; first != 0 {
		t.Errorf("piece %d was asked for first", first)
	}
}

// The kernel can send what is on disk.
func TestSectionOfAFinishedFile(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 100_000)
	data := readData(t, dir)
	seed := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	within(t, 10*time.Second, "the file checked", seed, seed.Complete())
	r := openFile(t, seed)
	defer r.Close()
	f, off, n, ok := r.Section(70_000, 50_000)
	if !ok || n != 30_000 {
		t.Fatalf("%v, %d bytes of the 30000 that are left", ok, n)
	}
	got := make([]byte, n)
	if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, data[70_000:]) {
		t.Errorf("wrong bytes (%v)", err)
	}
}

// The blocks of the piece that a player waits for are asked of several peers, each of
// which sends a part.
func TestUrgentPieceIsSharedAmongPeers(t *testing.T) {
	_, torrent := makeTorrentOf(t, 512<<10, "data.bin", 2<<20)
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(context.Background())
	r, err := leech.OpenFile(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var reading sync.WaitGroup
	reading.Go(func() { r.Read(make([]byte, 1)) })
	defer reading.Wait()
	defer cancel()
	var mu sync.Mutex
	first := make(map[uint32]int) // who was the first to be asked for a block
	for i := range 3 {
		peer := newRecorder(t, torrent, func(_ *scriptedConn, m *wire.Message) {
			mu.Lock()
			defer mu.Unlock()
			if _, asked := first[m.Begin]; !asked && m.Index == 0 {
				first[m.Begin] = i
			}
		})
		leech.AddPeers([]string{peer.addr()})
	}
	until(t, 5*time.Second, "three peers asked for parts of the piece", func() bool {
		mu.Lock()
		defer mu.Unlock()
		var blocks [3]int
		for _, i := range first {
			blocks[i]++
		}
		return min(blocks[0], blocks[1], blocks[2]) >= 4
	})
}
