package client

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

// A cache that is too small to play the largest of the files is made larger, which the
// user is told.
func TestCacheHoldsHeadTailAndWindow(t *testing.T) {
	_, torrent := makeTorrent(t, "data.bin", 10<<20)
	for _, c := range []struct {
		asked int64
		slots int
		told  bool
	}{{1, 70, true}, {70*64<<10 - 1, 70, true}, {70 * 64 << 10, 70, false}, {5 << 20, 80, false}, {1 << 40, 160, false}} {
		cfg, warnings := plain(t), make(chan string, 10)
		cfg.OnEvent = func(e Event) {
			if w, ok := e.(WarningEvent); ok {
				warnings <- w.Message
			}
		}
		leech := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir(), Cache: c.asked})
		until(t, 5*time.Second, "the files open", func() bool { return leech.content.Load() != nil })
		if got := leech.content.Load().Slots(); got != c.slots {
			t.Errorf("%d bytes: %d pieces are cached, want %d", c.asked, got, c.slots)
		}
		leech.Close()
		if told := len(warnings) > 0 && strings.Contains(<-warnings, "4.4 MiB"); told != c.told {
			t.Errorf("%d bytes: the user is told %v, want %v", c.asked, told, c.told)
		}
	}
}

// With a cache, readers that stand still, and more of them than it has places for
// pieces, must not keep another from its bytes.
func TestCacheOfIdleReadersServesAnother(t *testing.T) {
	leech, data := startStream(t, 200*64<<10, plain(t), TorrentOptions{Cache: 1})
	for i := range 90 {
		idle := openFile(t, leech)
		defer idle.Close()
		idle.SetWindow(128 << 10)
		if _, err := idle.Seek(int64(2*i+1)*64<<10, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := idle.Read(make([]byte, 1)); err != nil {
			t.Fatalf("idle reader %d: %v", i, err)
		}
	}
	if slots := leech.content.Load().Slots(); slots >= 90 {
		t.Fatalf("%d places for pieces are too many for this test", slots)
	}
	r := openFile(t, leech)
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes (%v), which differ from the file", len(got), err)
	}
	if room := r.SetWindow(int64(len(data))); room >= int64(len(data)) {
		t.Errorf("room for a window of %d bytes in a cache of %d places", room, leech.content.Load().Slots())
	}
}

// With a cache, more readers than it has places for pieces take turns.
func TestCacheOfFewerPiecesThanReaders(t *testing.T) {
	leech, data := startStream(t, 200*64<<10, plain(t), TorrentOptions{Cache: 1})
	var readers sync.WaitGroup
	for i := range 100 {
		r, at := openFile(t, leech), i*2*64<<10
		readers.Go(func() {
			defer r.Close()
			r.SetWindow(1 << 20)
			r.Seek(int64(at), io.SeekStart)
			got := make([]byte, 2*64<<10)
			if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, data[at:at+len(got)]) {
				t.Errorf("at %d: wrong bytes (%v)", at, err)
			}
		})
	}
	readers.Wait()
}
