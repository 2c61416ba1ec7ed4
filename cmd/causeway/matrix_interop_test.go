package main_test

import (
	"fmt"
	"testing"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// Every program that we know, in both roles, with and without encryption. By magnet link,
// the peer gives or gets the metadata, too.
var (
	programs    = []realpeer.Program{realpeer.Libtorrent, realpeer.Aria2, realpeer.Transmission}
	encryptions = []struct {
		name   string
		theirs realpeer.Encryption
		ours   string
		magnet bool
	}{
		{"plain", realpeer.Plain, "off", false},
		{"encrypted", realpeer.Require, "require", false},
		{"preferred", realpeer.Prefer, "prefer", false},
		{"preferred by magnet", realpeer.Prefer, "prefer", true},
	}
)

func TestDownloadFromRealPeers(t *testing.T) {
	for _, p := range programs {
		for _, e := range encryptions {
			t.Run(fmt.Sprintf("%s %s", p, e.name), func(t *testing.T) {
				t.Parallel()
				tor := mixed(t)
				peer := realpeer.Start(t, realpeer.Options{
					Program: p, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Encryption: e.theirs,
				})
				what, dir := tor.Path, t.TempDir()
				if e.magnet {
					what = tor.Magnet()
				}
				run := start(t, args([]string{
					"download", what, "-o", dir, "--peer", peer.Addr, "--encryption", e.ours,
				}, alone)...)
				finish(t, run, tor, dir)
			})
		}
	}
}

func TestSeedToRealPeers(t *testing.T) {
	for _, p := range programs {
		for _, e := range encryptions {
			t.Run(fmt.Sprintf("%s %s", p, e.name), func(t *testing.T) {
				t.Parallel()
				tor, dir := wanted(t, p), t.TempDir()
				o := realpeer.Options{Program: p, Torrent: tor.Path, Dir: dir, Encryption: e.theirs}
				if e.magnet {
					o.Torrent, o.Magnet = "", tor.Magnet()
				}
				encryption := []string{"--encryption", e.ours}
				var peer *realpeer.Peer
				switch {
				case p == realpeer.Libtorrent:
					_, addr := seed(t, tor, args(encryption, alone)...)
					o.Peers = []string{addr}
					peer = realpeer.Start(t, o)
				case p == realpeer.Aria2 && !e.magnet: // finds the seed and dials it
					tracker := realpeer.StartTracker(t, tor.InfoHash)
					seed(t, tor, args([]string{"--tracker", tracker.HTTP, "--no-dht"}, encryption, base)...)
					known(t, tracker, tor)
					o.Trackers = []string{tracker.HTTP}
					peer = realpeer.Start(t, o)
				default: // cannot be told of a peer, or dials no loopback address: the seed does
					peer = realpeer.Start(t, o)
					seed(t, tor, args([]string{"--peer", peer.Addr}, encryption, alone)...)
				}
				received(t, peer, tor, dir)
			})
		}
	}
}

// received waits until a foreign peer has everything, and compares it.
func received(t *testing.T, p *realpeer.Peer, tor *fixture.Torrent, dir string) {
	t.Helper()
	if err := p.WaitComplete(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	p.Stop() // so that everything is on disk
	if err := tor.Compare(dir); err != nil {
		t.Error(err)
	}
}

// A program that requires encryption and one that refuses it do not come together.
func TestEncryptionRequiredMeansRequired(t *testing.T) {
	t.Parallel()
	tor := single(t, 300_000)
	plain := scripted(t, tor, hostile.Honest()) // speaks no encryption
	run := start(t, args([]string{
		"download", tor.Path, "-o", t.TempDir(), "--peer", plain.Addr(), "--encryption", "require",
	}, alone)...)
	// Two attempts: the second would be the fallback to plaintext.
	eventually(t, patience, "two attempts to connect", func() bool { return plain.Report().Attempts > 1 })
	if n := plain.Report().Connections; n != 0 {
		t.Errorf("%d plaintext handshakes although encryption is required, want none", n)
	}
	if _, ok := run.Last("complete"); ok {
		t.Error("the download completed without an encrypted peer")
	}
}
