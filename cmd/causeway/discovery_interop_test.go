package main_test

import (
	"testing"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// Each test leaves one way to find a peer, starts from a magnet link, and is done in
// both roles.

func TestMagnetWithTracker(t *testing.T) {
	for _, kind := range []string{"http", "udp"} {
		url := func(tr *realpeer.Tracker) string {
			if kind == "udp" {
				return tr.UDP
			}
			return tr.HTTP
		}
		t.Run("download by "+kind, func(t *testing.T) {
			t.Parallel()
			tor := mixed(t)
			tracker := realpeer.StartTracker(t, tor.InfoHash)
			realSeed(t, tor, realpeer.Options{Trackers: []string{tracker.HTTP}})
			if err := tracker.WaitPeers(within(t, patience), tor.InfoHash, 1); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			run := start(t, args([]string{
				"download", tor.Magnet() + "&tr=" + url(tracker), "-o", dir, "--no-dht",
			}, base)...)
			finish(t, run, tor, dir)
		})
		t.Run("seed by "+kind, func(t *testing.T) {
			t.Parallel()
			tor := mixed(t)
			tracker := realpeer.StartTracker(t, tor.InfoHash)
			seed(t, tor, args([]string{"--tracker", url(tracker), "--no-dht"}, base)...)
			if err := tracker.WaitPeers(within(t, patience), tor.InfoHash, 1); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			peer := realpeer.Start(t, realpeer.Options{
				Program: realpeer.Libtorrent, Magnet: tor.Magnet(), Dir: dir, Trackers: []string{tracker.HTTP},
			})
			received(t, peer, tor, dir)
		})
	}
}

// dhtNode starts a node of the DHT that is no peer of the torrent under test.
func dhtNode(t *testing.T) string {
	t.Helper()
	other := makeTorrent(t, []fixture.File{{Size: 1000}}, fixture.Options{Seed: 1})
	return realSeed(t, other, realpeer.Options{DHT: true}).Addr
}

func TestMagnetWithDHTOnly(t *testing.T) {
	t.Run("download", func(t *testing.T) {
		t.Parallel()
		realpeer.Need(t, realpeer.Libtorrent)
		tor, node := mixed(t), dhtNode(t)
		realSeed(t, tor, realpeer.Options{DHT: true, DHTNodes: []string{node}})
		dir := t.TempDir()
		run := start(t, args([]string{
			"download", tor.Magnet(), "-o", dir, "--dht-bootstrap", node, "--no-trackers", "--no-pex",
		}, base)...)
		finish(t, run, tor, dir)
	})
	t.Run("seed", func(t *testing.T) {
		t.Parallel()
		realpeer.Need(t, realpeer.Libtorrent)
		tor, node := mixed(t), dhtNode(t)
		seed(t, tor, args([]string{"--dht-bootstrap", node, "--no-trackers", "--no-pex"}, base)...)
		dir := t.TempDir()
		peer := realpeer.Start(t, realpeer.Options{
			Program: realpeer.Libtorrent, Magnet: tor.Magnet(), Dir: dir, DHT: true, DHTNodes: []string{node},
		})
		received(t, peer, tor, dir)
	})
}

// hint is a rate, in bytes per second, at which the peer in the middle could give a
// mebibyte in a minute and a half: whoever is done before was told of the other one.
const hint = 12_000

// supply is the rate of the one who has it all: slow enough that the peer in the
// middle is still its leecher, and so connected, when it passes its address on.
const supply = 150_000

// A knows B, B knows C: A learns of C from B.
func TestMagnetWithPEXOnly(t *testing.T) {
	t.Run("told by libtorrent", func(t *testing.T) {
		t.Parallel()
		tor := mixed(t)
		c := realSeed(t, tor, realpeer.Options{PEX: true, UpLimit: supply})
		middle := realpeer.Start(t, realpeer.Options{
			Program: realpeer.Libtorrent, Torrent: tor.Path, Dir: t.TempDir(), PEX: true, UpLimit: hint,
			Peers: []string{c.Addr},
		})
		dir := t.TempDir()
		run := start(t, args([]string{"download", tor.Magnet(), "-o", dir, "--peer", middle.Addr}, alone)...)
		finish(t, run, tor, dir)
		for _, s := range middle.Status.All() {
			if s.Uploaded > tor.Size/2 {
				t.Fatalf("the peer in the middle gave %d of %d bytes itself: the test proved nothing", s.Uploaded, tor.Size)
			}
		}
	})
	t.Run("told by causeway", func(t *testing.T) {
		t.Parallel()
		tor := mixed(t)
		c := realSeed(t, tor, realpeer.Options{PEX: true, UpLimit: supply})
		middle := start(t, args([]string{
			"download", tor.Path, "-o", t.TempDir(), "--seed", "--up-limit", "12K", "--peer", c.Addr,
		}, alone)...)
		l, err := middle.WaitEvent(within(t, patience), "listening")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		peer := realpeer.Start(t, realpeer.Options{
			Program: realpeer.Libtorrent, Magnet: tor.Magnet(), Dir: dir, PEX: true,
			Peers: []string{loopbackAddr(t, l.TCP)},
		})
		received(t, peer, tor, dir)
		if e, _ := middle.Last("progress"); e.Uploaded > tor.Size/2 {
			t.Errorf("the peer in the middle gave %d of %d bytes itself: the test proved nothing", e.Uploaded, tor.Size)
		}
	})
}
