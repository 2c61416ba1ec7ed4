package main_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// utpOnly has a run speak nothing but uTP.
var utpOnly = []string{"--no-tcp", "--no-webrtc"}

// utpSetups are ways for two programs to meet over uTP.
var utpSetups = []struct {
	name       string
	host       string
	encryption realpeer.Encryption
	ours       string
	magnet     bool
}{
	{"plain over IPv4", "127.0.0.1", realpeer.Plain, "off", false},
	{"encrypted by magnet over IPv4", "127.0.0.1", realpeer.Require, "require", true},
	{"preferred by magnet over IPv6", "::1", realpeer.Prefer, "prefer", true},
	{"encrypted over IPv6", "::1", realpeer.Require, "require", false},
}

// overUTP runs f for every program that speaks uTP and every setup. TCP is off on both sides,
// but for Transmission, which cannot switch it off and listens on IPv4 only when told to.
func overUTP(t *testing.T, f func(t *testing.T, p realpeer.Program, o realpeer.Options, flags []string, magnet bool)) {
	for _, p := range []realpeer.Program{realpeer.Libtorrent, realpeer.Transmission, realpeer.QBittorrent} {
		for _, s := range utpSetups {
			if s.host == "::1" && p == realpeer.Transmission {
				continue // its uTP is bound to another address there
			}
			t.Run(fmt.Sprintf("%s %s", p, s.name), func(t *testing.T) {
				t.Parallel()
				realpeer.Need(t, p)
				needIPv6(t, s.host)
				o := realpeer.Options{Program: p, Host: s.host, Encryption: s.encryption, UTP: true, NoTCP: p != realpeer.Transmission}
				f(t, p, o, args(alone, utpOnly, []string{"--listen", s.host, "--encryption", s.ours}), s.magnet)
			})
		}
	}
}

func needIPv6(t *testing.T, host string) {
	t.Helper()
	l, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("this machine has no %s: %v", host, err)
	}
	l.Close()
}

func TestDownloadOverUTP(t *testing.T) {
	overUTP(t, func(t *testing.T, _ realpeer.Program, o realpeer.Options, flags []string, magnet bool) {
		tor := mixed(t)
		o.Torrent, o.Dir, o.Seed = tor.Path, tor.Dir, true
		peer := realpeer.Start(t, o)
		what, dir := tor.Path, t.TempDir()
		if magnet {
			what = tor.Magnet()
		}
		run := start(t, args([]string{"download", what, "-o", dir, "--peer", peer.Addr}, flags)...)
		finish(t, run, tor, dir)
	})
}

func TestSeedOverUTP(t *testing.T) {
	overUTP(t, func(t *testing.T, p realpeer.Program, o realpeer.Options, flags []string, magnet bool) {
		tor, dir := wanted(t, p), t.TempDir()
		o.Torrent, o.Dir = tor.Path, dir
		if magnet {
			o.Torrent, o.Magnet = "", tor.Magnet()
		}
		if p == realpeer.Transmission { // cannot be told of a peer: the seed dials it
			peer := realpeer.Start(t, o)
			seedUTP(t, tor, args([]string{"--peer", peer.Addr}, flags)...)
			received(t, peer, tor, dir)
			return
		}
		_, addr := seedUTP(t, tor, flags...)
		o.Peers = []string{addr}
		received(t, realpeer.Start(t, o), tor, dir)
	})
}

// seedUTP starts a seed, and returns the address of its UDP socket.
func seedUTP(t *testing.T, tor *fixture.Torrent, flags ...string) (*cli.Run, string) {
	t.Helper()
	run, listening := seeding(t, tor, flags...)
	return run, listening.UDP
}

// TestTwoCausewaysMeetOverUTP has one that dials TCP first, and both count the peer as what it is.
func TestTwoCausewaysMeetOverUTP(t *testing.T) {
	t.Parallel()
	realpeer.Need(t)
	tor, dir := single(t, 3_000_000), t.TempDir()
	seeder, addr := seedUTP(t, tor, args(alone, utpOnly)...)
	run := start(t, args([]string{"download", tor.Magnet(), "-o", dir, "--peer", addr, "--down-limit", "1M"}, alone)...)
	for name, run := range map[string]*cli.Run{"seeder": seeder, "downloader": run} {
		if _, err := run.WaitFor(within(t, patience), "the "+name+" to count a peer of uTP", func(e cli.Event) bool {
			return e.Event == "progress" && e.Peers.UTP == 1 && e.Peers.TCP == 0
		}); err != nil {
			t.Error(err)
		}
	}
	finish(t, run, tor, dir)
}
