package realpeer

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/bench/fixture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func makeTorrent(t *testing.T, seed uint64) *fixture.Torrent {
	t.Helper()
	tor, err := fixture.Make(t.TempDir(), "content", []fixture.File{
		{Path: "a", Size: 1_000_003}, {Path: "empty"}, {Path: "d/b", Size: 300_000},
	}, fixture.Options{PieceLength: 64 << 10, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return tor
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Foreign programs among themselves: what is being tested here is that they are set
// up as asked, so that a failure of an interoperability test is ours.
func TestForeignPairs(t *testing.T) {
	cases := []struct {
		name       string
		seed       Program
		encryption Encryption
	}{
		{"libtorrent plain", Libtorrent, Plain},
		{"libtorrent encrypted", Libtorrent, Require},
		{"aria2 plain", Aria2, Plain},
		{"aria2 encrypted", Aria2, Require},
		{"transmission plain", Transmission, Plain},
		{"transmission encrypted", Transmission, Require},
	}
	for _, c := range cases {
		t.Run("libtorrent from "+c.name, func(t *testing.T) {
			t.Parallel()
			tor := makeTorrent(t, 0)
			seed := Start(t, Options{Program: c.seed, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Encryption: c.encryption})
			dir := t.TempDir()
			leech := Start(t, Options{
				Program: Libtorrent, Torrent: tor.Path, Dir: dir,
				Encryption: c.encryption, Peers: []string{seed.Addr},
			})
			if err := leech.WaitComplete(within(t, 30*time.Second)); err != nil {
				t.Fatal(err)
			}
			leech.Stop()
			if err := tor.Compare(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAria2DownloadsFromATracker(t *testing.T) {
	t.Parallel()
	tor := makeTorrent(t, 0)
	tracker := StartTracker(t, tor.InfoHash)
	Start(t, Options{Program: Libtorrent, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Trackers: []string{tracker.HTTP}})
	ctx := within(t, 30*time.Second)
	if err := tracker.WaitPeers(ctx, tor.InfoHash, 1); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	leech := Start(t, Options{Program: Aria2, Magnet: tor.Magnet(), Dir: dir, Trackers: []string{tracker.HTTP}})
	if err := leech.WaitComplete(ctx); err != nil {
		t.Fatal(err)
	}
	if err := tor.Compare(dir); err != nil {
		t.Error(err)
	}
}

func TestTransmissionDownloadsFromAPeerThatDialsIt(t *testing.T) {
	t.Parallel()
	// Without makeTorrent's empty file, which Transmission 3.00 does not create.
	tor, err := fixture.Make(t.TempDir(), "content", []fixture.File{{Size: 1_000_003}}, fixture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	leech := Start(t, Options{Program: Transmission, Torrent: tor.Path, Dir: dir, Encryption: Require})
	Start(t, Options{
		Program: Libtorrent, Torrent: tor.Path, Dir: tor.Dir, Seed: true,
		Encryption: Require, Peers: []string{leech.Addr},
	})
	if err := leech.WaitComplete(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := tor.Compare(dir); err != nil {
		t.Error(err)
	}
}

func TestLibtorrentFindsPeersByDHT(t *testing.T) {
	t.Parallel()
	tor := makeTorrent(t, 0)
	other := makeTorrent(t, 1)
	node := Start(t, Options{Program: Libtorrent, Torrent: other.Path, Dir: other.Dir, Seed: true, DHT: true})
	Start(t, Options{
		Program: Libtorrent, Torrent: tor.Path, Dir: tor.Dir, Seed: true,
		DHT: true, DHTNodes: []string{node.Addr},
	})
	dir := t.TempDir()
	leech := Start(t, Options{Program: Libtorrent, Magnet: tor.Magnet(), Dir: dir, DHT: true, DHTNodes: []string{node.Addr}})
	if err := leech.WaitComplete(within(t, 60*time.Second)); err != nil {
		t.Fatal(err)
	}
}
