package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// On demand nothing comes but what readers wait for and have in their windows, and it
// stays: another run has it at once.
func TestOnDemandDownloadsWhatIsRead(t *testing.T) {
	const piece = 64 << 10
	torrent, data := makePair(t, 20, 20)
	seed := newClient(t, quiet(t))
	dir := t.TempDir()
	writePair(t, dir, torrent.Info, data)
	add(t, seed, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	cfg := quiet(t)
	opts := TorrentOptions{Dir: t.TempDir(), OnDemand: true, Peers: []string{seed.TCPAddr().String()}}
	client := newClient(t, cfg)
	leech := add(t, client, &meta.Source{Torrent: torrent}, opts)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := leech.OpenFile(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Several wait at once, neither at the position.
	errs := make(chan error, 2)
	for _, off := range []int64{15 * piece, 3 * piece} {
		go func() { errs <- r.Await(ctx, off+7) }()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 2*piece)
	n, err := r.ReadNow(got, 15*piece+7)
	if want := data[(20+15)*piece+7 : (20+16)*piece]; err != nil || !bytes.Equal(got[:n], want) {
		t.Fatalf("read %d bytes at once (%v), want the %d of the piece", n, err, len(want))
	}
	if n, err := r.ReadNow(got, 10*piece); n != 0 || err != nil {
		t.Errorf("of what was not asked for, %d bytes are there (%v)", n, err)
	}
	if n, err := r.ReadNow(got, 20*piece); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if got := leech.Stats().Completed; got != 2*piece {
		t.Errorf("%d bytes are there, want the two pieces that were waited for", got)
	}
	if got := leech.CompletedOf(1); got != 2*piece {
		t.Errorf("%d bytes of the file are there, want two pieces", got)
	}
	select {
	case <-leech.Complete():
		t.Error("it counts as complete")
	default:
	}
	brief, stop := context.WithCancelCause(ctx)
	why := errors.New("enough")
	stop(why)
	if err := r.Await(brief, 10*piece); !errors.Is(err, why) {
		t.Errorf("waiting ended with %v, want the cause of its context", err)
	}
	for _, file := range []int{0, 1} {
		whole, err := leech.OpenFile(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		whole.SetWindow(20 * piece)
		if _, err := io.Copy(io.Discard, whole); err != nil {
			t.Fatal(err)
		}
		whole.Close()
	}
	select {
	case <-leech.Complete():
	case <-ctx.Done():
		t.Fatal("all of it was read, and it does not count as complete")
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	opts.Peers = nil
	again := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent}, opts)
	select {
	case <-again.Complete():
	case <-ctx.Done():
		t.Fatalf("the next run has %d bytes", again.Stats().Completed)
	}
}

// On demand a peer hears that we are interested for a while after all that readers want
// is there, so that who reads on need not wait for its unchoke; then no longer.
func TestOnDemandInterestLasts(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 20*64<<10)
	peer := newRecorder(t, torrent, serveFrom(readData(t, dir), torrent))
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent},
		TorrentOptions{Dir: t.TempDir(), OnDemand: true, Peers: []string{peer.addr()}})
	r := openFile(t, leech)
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	// age has so much time go by since something was wanted of the peer, and looks again.
	age := func(d time.Duration) (wanted int, interested bool) {
		t.Helper()
		if err := leech.call(func() {
			for p := range leech.loop.peers {
				p.lastWanted = p.lastWanted.Add(-d)
				leech.request(p, time.Now())
				wanted, interested = p.Pick.Wanted(), p.weInterested
			}
		}); err != nil {
			t.Fatal(err)
		}
		return wanted, interested
	}
	until(t, 5*time.Second, "all that is wanted", func() bool { wanted, _ := age(0); return wanted == 0 })
	if _, interested := age(0); !interested {
		t.Error("after a read, it is interested no more")
	}
	if _, interested := age(interestLasts / 2); !interested {
		t.Errorf("after %v, it is interested no more", interestLasts/2)
	}
	if n := len(peer.of(wire.NotInterested)); n != 0 {
		t.Errorf("the peer has heard %d times already that nothing is wanted", n)
	}
	if _, interested := age(interestLasts / 2); interested {
		t.Errorf("after %v, it is interested still", interestLasts)
	}
	until(t, 5*time.Second, "that nothing is wanted", func() bool { return len(peer.of(wire.NotInterested)) == 1 })
	if n := len(peer.of(wire.Interested)); n != 1 {
		t.Errorf("it said %d times that it is interested, want once", n)
	}
}

// writePair writes the files of makePair.
func writePair(t *testing.T, dir string, info *meta.Info, data []byte) {
	t.Helper()
	for i, path := range info.Paths(dir) {
		f := &info.Files[i]
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data[f.Offset:f.Offset+f.Length], 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
