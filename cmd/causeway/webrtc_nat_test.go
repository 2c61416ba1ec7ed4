package main_test

import (
	"strconv"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/netns"
)

// TestWebRTCThroughNATs: two Causeways that are behind NATs and speak WebRTC alone meet by a tracker
// with a STUN and a TURN server: straight where the NATs keep a socket's port, and relayed where
// each address sees another one.
func TestWebRTCThroughNATs(t *testing.T) {
	for _, test := range []struct {
		name    string
		nat     netns.NAT
		relayed bool
	}{{"port restricted", netns.PortRestricted, false}, {"symmetric", netns.Symmetric, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			world := netns.New(t)
			tor, dir := mixed(t), t.TempDir()
			host := world.Public(1)
			const port = "8000"
			at := host.IPv4[0].String() + ":" + port
			tracker := startAt(t, host, nil, "tracker", "--port", port, "--turn-open")
			if _, err := tracker.WaitEvent(within(t, patience), "listening"); err != nil {
				t.Fatal(err)
			}
			webOnly := []string{
				"--no-tcp", "--no-utp", "--no-dht", "--no-web-trackers", "--port", strconv.Itoa(peerPort),
				"--stun", "stun:" + at, "--tracker", "ws://" + at + "/announce",
			}
			startAt(t, world.Home(netns.Config{NAT: test.nat}).Host(), nil, args([]string{"seed", tor.Path, "--data", tor.Dir}, webOnly)...)
			run := startAt(t, world.Home(netns.Config{NAT: test.nat}).Host(), nil, args([]string{"download", tor.Path, "-o", dir}, webOnly)...)
			finish(t, run, tor, dir)
			if got := relayed(t, host.Name, "ws", port); test.relayed && got < 2e6 || !test.relayed && got > 2e5 {
				t.Errorf("%v bytes went through the relay", got)
			}
		})
	}
}

// TestWebRTCThroughTheMappedPort: without any STUN or TURN server, one behind a NAT that shows each
// address another port reaches over WebRTC one whose router maps its port.
func TestWebRTCThroughTheMappedPort(t *testing.T) {
	t.Parallel()
	world := netns.New(t)
	tor, dir := mixed(t), t.TempDir()
	server := world.Public(1)
	const port = "8000"
	tracker := startAt(t, server, nil, "tracker", "--port", port)
	if _, err := tracker.WaitEvent(within(t, patience), "listening"); err != nil {
		t.Fatal(err)
	}
	webOnly := []string{
		"--no-tcp", "--no-utp", "--no-dht", "--no-web-trackers", "--port", strconv.Itoa(peerPort),
		"--stun", "stun:203.0.113.1:9", "--tracker", "ws://" + server.IPv4[0].String() + ":" + port + "/announce",
	}
	home := world.Home(netns.Config{})
	home.UPnP()
	seed := startAt(t, home.Host(), []string{"CAUSEWAY_NO_PORTMAP=false"}, args([]string{"seed", tor.Path, "--data", tor.Dir}, webOnly)...)
	mapped := func(e cli.Event) bool { return e.Event == "portmap" && e.State == "ok" }
	if _, err := seed.WaitFor(within(t, patience), "a mapped port", mapped); err != nil {
		t.Fatal(err)
	}
	run := startAt(t, world.Home(netns.Config{NAT: netns.Symmetric}).Host(), nil, args([]string{"download", tor.Path, "-o", dir}, webOnly)...)
	finish(t, run, tor, dir)
}
