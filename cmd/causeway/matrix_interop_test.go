package main_test

import (
	"fmt"
	"testing"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// Every program that we know, in both roles, with and without encryption.
var (
	programs    = []realpeer.Program{realpeer.Libtorrent, realpeer.Aria2, realpeer.Transmission}
	encryptions = []struct {
		name   string
		theirs realpeer.Encryption
		ours   string
	}{
		{"plain", realpeer.Plain, "off"},
		{"encrypted", realpeer.Require, "require"},
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
				dir := t.TempDir()
				run := start(t, args([]string{
					"download", tor.Path, "-o", dir, "--peer", peer.Addr, "--encryption", e.ours,
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
				switch p {
				case realpeer.Libtorrent:
					seedToLibtorrent(t, e.theirs, e.ours)
				case realpeer.Aria2:
					seedToAria2(t, e.theirs, e.ours)
				case realpeer.Transmission:
					seedToTransmission(t, e.theirs, e.ours)
				}
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

func seedToLibtorrent(t *testing.T, theirs realpeer.Encryption, ours string) {
	tor := mixed(t)
	_, addr := seed(t, tor, args([]string{"--encryption", ours}, alone)...)
	dir := t.TempDir()
	peer := realpeer.Start(t, realpeer.Options{
		Program: realpeer.Libtorrent, Torrent: tor.Path, Dir: dir, Encryption: theirs, Peers: []string{addr},
	})
	received(t, peer, tor, dir)
}

// aria2 cannot be told of a peer but by a tracker.
func seedToAria2(t *testing.T, theirs realpeer.Encryption, ours string) {
	tor := mixed(t)
	tracker := realpeer.StartTracker(t, tor.InfoHash)
	seed(t, tor, args([]string{"--tracker", tracker.HTTP, "--no-dht", "--encryption", ours}, base)...)
	if err := tracker.WaitPeers(within(t, patience), tor.InfoHash, 1); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	peer := realpeer.Start(t, realpeer.Options{
		Program: realpeer.Aria2, Torrent: tor.Path, Dir: dir, Encryption: theirs, Trackers: []string{tracker.HTTP},
	})
	received(t, peer, tor, dir)
}

// Transmission dials no loopback address: the seed has to. And version 3.00 does not
// create files without a byte, so there is one file only.
func seedToTransmission(t *testing.T, theirs realpeer.Encryption, ours string) {
	tor := single(t, 2_000_003)
	dir := t.TempDir()
	peer := realpeer.Start(t, realpeer.Options{
		Program: realpeer.Transmission, Torrent: tor.Path, Dir: dir, Encryption: theirs,
	})
	seed(t, tor, args([]string{"--peer", peer.Addr, "--encryption", ours}, alone)...)
	received(t, peer, tor, dir)
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
