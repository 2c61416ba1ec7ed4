package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// Each test leaves one way to find a peer, starts from a magnet link, and is done in
// both roles.

func TestMagnetWithTracker(t *testing.T) {
	for _, p := range []realpeer.Program{realpeer.Libtorrent, realpeer.Aria2} {
		magnetWithTracker(t, p, "http")
	}
	magnetWithTracker(t, realpeer.Libtorrent, "udp")
}

func TestMagnetWithDHTOnly(t *testing.T) {
	for _, p := range []realpeer.Program{realpeer.Libtorrent, realpeer.Aria2} {
		magnetWithDHT(t, p)
	}
}

func TestMagnetWithPEXOnly(t *testing.T) {
	for _, p := range []realpeer.Program{realpeer.Libtorrent, realpeer.Aria2} {
		magnetWithPEX(t, p)
	}
}

// Transmission takes no loopback address from a tracker or PEX. It looks for nobody in a
// DHT of fewer than nine nodes, and did not always start with sixteen of libtorrent's,
// which is why that is missing here.
func TestMagnetWithTransmission(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Transmission, realpeer.Libtorrent, realpeer.OpenTracker)
	if !offLoopback(t) {
		return
	}
	magnetWithTracker(t, realpeer.Transmission, "http")
	magnetWithPEX(t, realpeer.Transmission)
}

func magnetWithTracker(t *testing.T, p realpeer.Program, kind string) {
	url := func(tr *realpeer.Tracker) string {
		if kind == "udp" {
			return tr.UDP
		}
		return tr.HTTP
	}
	t.Run(fmt.Sprintf("download from %s by %s", p, kind), func(t *testing.T) {
		t.Parallel()
		tor := mixed(t)
		tracker := realpeer.StartTracker(t, tor.InfoHash)
		realpeer.Start(t, realpeer.Options{
			Program: p, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Encryption: realpeer.Prefer, Host: host(2),
			Trackers: []string{tracker.HTTP},
		})
		known(t, tracker, tor)
		dir := t.TempDir()
		run := start(t, args([]string{
			"download", tor.Magnet() + "&tr=" + url(tracker), "-o", dir, "--no-dht",
		}, base)...)
		finish(t, run, tor, dir)
	})
	t.Run(fmt.Sprintf("seed to %s by %s", p, kind), func(t *testing.T) {
		t.Parallel()
		tor := wanted(t, p)
		tracker := realpeer.StartTracker(t, tor.InfoHash)
		seed(t, tor, args([]string{"--tracker", url(tracker), "--no-dht"}, base)...)
		known(t, tracker, tor)
		dir := t.TempDir()
		peer := realpeer.Start(t, realpeer.Options{
			Program: p, Magnet: tor.Magnet(), Dir: dir, Encryption: realpeer.Prefer, Host: host(2),
			Trackers: []string{tracker.HTTP},
		})
		received(t, peer, tor, dir)
	})
}

// host is an address beside that of our own program. To have different ones matters:
// aria2 tells a peer of no other at the same address, Transmission knows one peer at each.
func host(n int) string { return strings.TrimSuffix(realpeer.Host, "1") + strconv.Itoa(n) }

// known waits until the tracker knows the first peer.
func known(t *testing.T, tracker *realpeer.Tracker, tor *fixture.Torrent) {
	t.Helper()
	if err := tracker.WaitPeers(within(t, patience), tor.InfoHash, 1); err != nil {
		t.Fatal(err)
	}
}

// dhtNode starts a node of the DHT that is no peer of the torrent under test.
func dhtNode(t *testing.T) string {
	t.Helper()
	other := makeTorrent(t, []fixture.File{{Size: 1000}}, fixture.Options{Seed: 1})
	return realSeed(t, other, realpeer.Options{DHT: true}).Addr
}

// The nodes that a .torrent names (BEP 5) are all that a download knows of the DHT.
func TestTorrentNamesDHTNodes(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Libtorrent)
	tor, node := mixed(t), dhtNode(t)
	realpeer.Start(t, realpeer.Options{
		Program: realpeer.Libtorrent, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Host: host(2), DHT: true, DHTNodes: []string{node},
	})
	torrent, err := os.ReadFile(tor.Path)
	if err != nil {
		t.Fatal(err)
	}
	at, port, err := net.SplitHostPort(node)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nodes.torrent")
	torrent = fmt.Appendf(torrent[:len(torrent)-1], "5:nodesll%d:%si%seeee", len(at), at, port)
	if err := os.WriteFile(path, torrent, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	finish(t, start(t, args([]string{
		"download", path, "-o", dir, "--dht-bootstrap", "127.0.0.1:9", "--no-trackers", "--no-pex",
	}, base)...), tor, dir)
}

func magnetWithDHT(t *testing.T, p realpeer.Program) {
	t.Run("download from "+string(p), func(t *testing.T) {
		t.Parallel()
		realpeer.Need(t, realpeer.Libtorrent)
		tor, node := mixed(t), dhtNode(t)
		realpeer.Start(t, realpeer.Options{
			Program: p, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Encryption: realpeer.Prefer, Host: host(2),
			DHT: true, DHTNodes: []string{node},
		})
		dir := t.TempDir()
		run := start(t, args([]string{
			"download", tor.Magnet(), "-o", dir, "--dht-bootstrap", node, "--no-trackers", "--no-pex",
		}, base)...)
		finish(t, run, tor, dir)
	})
	t.Run("seed to "+string(p), func(t *testing.T) {
		t.Parallel()
		realpeer.Need(t, realpeer.Libtorrent)
		tor, node := wanted(t, p), dhtNode(t)
		seed(t, tor, args([]string{"--dht-bootstrap", node, "--no-trackers", "--no-pex"}, base)...)
		dir := t.TempDir()
		peer := realpeer.Start(t, realpeer.Options{
			Program: p, Magnet: tor.Magnet(), Dir: dir, Encryption: realpeer.Prefer, Host: host(2),
			DHT: true, DHTNodes: []string{node},
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
func magnetWithPEX(t *testing.T, p realpeer.Program) {
	t.Run("told by "+string(p), func(t *testing.T) {
		t.Parallel()
		tor := wanted(t, p)
		tracker := realpeer.StartTracker(t, tor.InfoHash)
		realSeed(t, tor, realpeer.Options{
			PEX: true, UpLimit: supply, Trackers: []string{tracker.HTTP}, Host: host(3),
		})
		known(t, tracker, tor)
		middle := realpeer.Start(t, realpeer.Options{
			Program: p, Torrent: tor.Path, Dir: t.TempDir(), Encryption: realpeer.Prefer, Host: host(2),
			PEX: true, UpLimit: hint, Trackers: []string{tracker.HTTP},
		})
		dir := t.TempDir()
		run := start(t, args([]string{"download", tor.Magnet(), "-o", dir, "--peer", middle.Addr}, alone)...)
		finish(t, run, tor, dir)
	})
	t.Run(string(p)+" told by causeway", func(t *testing.T) {
		t.Parallel()
		tor := wanted(t, p)
		c := realSeed(t, tor, realpeer.Options{PEX: true, UpLimit: supply, Host: host(3)})
		dir := t.TempDir()
		peer := realpeer.Start(t, realpeer.Options{
			Program: p, Magnet: tor.Magnet(), Dir: dir, Encryption: realpeer.Prefer, Host: host(2), PEX: true,
		})
		middle := start(t, args([]string{
			"download", tor.Path, "-o", t.TempDir(), "--seed", "--up-limit", "12K", "--peer", c.Addr, "--peer", peer.Addr,
		}, alone)...)
		received(t, peer, tor, dir)
		if e, _ := middle.Last("progress"); e.Uploaded > tor.Size/2 {
			t.Errorf("the peer in the middle gave %d of %d bytes itself: the test proved nothing", e.Uploaded, tor.Size)
		}
	})
}
