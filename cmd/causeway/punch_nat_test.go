package main_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/bench/proc"
)

// startAt runs causeway at a host of a small internet.
func startAt(t *testing.T, h *netns.Host, env []string, arguments ...string) *cli.Run {
	t.Helper()
	run, err := cli.StartSpec(proc.Spec{
		Path: "ip", Args: h.Args(program(t), append(arguments, "--json", "-v")...),
		Env: append([]string{"CAUSEWAY_STATE=" + t.TempDir(), "CAUSEWAY_NO_LSD=true"}, env...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		run.Stop()
		if t.Failed() {
			t.Logf("output of causeway %v at %s:\n%s", arguments, h.Name, run.Output())
		}
	})
	return run
}

// noWeb are the parts of the program that are no matter of a test of the classic swarm.
var noWeb = []string{"CAUSEWAY_NO_PORTMAP=true", "CAUSEWAY_NO_WEBRTC=true"}

// peerPort is the port of peers in namespaces, which are theirs alone.
const peerPort = 6881

func atPeerPort(a netip.Addr) string { return netip.AddrPortFrom(a, peerPort).String() }

// TestPunchThroughNATs: two that are behind NATs, and can be dialled by nobody, find each other by
// a third, which both have dialled and which sends next to nothing of the content itself.
func TestPunchThroughNATs(t *testing.T) {
	world := netns.New(t)
	tor := punched(t)
	relay := world.Public(1)
	seeder, leecher := world.Home(netns.Config{}).Host(), world.Home(netns.Config{}).Host()
	at := atPeerPort(relay.IPv4[0])
	flags := []string{"--no-dht", "--no-trackers", "--port", fmt.Sprint(peerPort)}
	third := startAt(t, relay, noWeb, args([]string{"download", tor.Path, "-o", t.TempDir(), "--up-limit", "1", "--down-limit", "1"}, flags)...)
	if _, err := third.WaitEvent(within(t, patience), "listening"); err != nil {
		t.Fatal(err)
	}
	startAt(t, seeder, noWeb, args([]string{"seed", tor.Path, "--data", tor.Dir, "--peer", at}, flags)...)
	dir := t.TempDir()
	run := startAt(t, leecher, noWeb, args([]string{"download", tor.Path, "-o", dir, "--peer", at}, flags)...)
	finish(t, run, tor, dir)
}

// punched is a torrent that takes a few seconds.
func punched(t *testing.T) *fixture.Torrent {
	t.Helper()
	return mixed(t)
}
