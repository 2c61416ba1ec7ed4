package main_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// startAt runs causeway at a host of a small internet.
func startAt(t *testing.T, h *netns.Host, env []string, arguments ...string) *cli.Run {
	t.Helper()
	return launch(t, proc.Spec{
		Command: h.Exec(), Args: args(arguments, []string{"-v"}), Env: args([]string{"CAUSEWAY_NO_LSD=true"}, env),
	})
}

// noWeb leaves out what is no matter of a test of the classic swarm.
var noWeb = []string{"CAUSEWAY_NO_WEBRTC=true"}

// peerPort is the port of peers in namespaces, which are theirs alone.
const peerPort = 6881

func atPeerPort(a netip.Addr) string { return netip.AddrPortFrom(a, peerPort).String() }

// TestPunchThroughNATs: two that are behind NATs, and can be dialled by nobody, find each other by
// a third, which both have dialled and which sends next to nothing of the content itself. Each
// of the three may be a libtorrent.
func TestPunchThroughNATs(t *testing.T) {
	for _, test := range []struct {
		name                   string
		relay, seeder, leecher bool // is libtorrent
	}{
		{name: "ours"},
		{name: "libtorrent introduces", relay: true},
		{name: "libtorrent is introduced to", seeder: true},
		{name: "libtorrent asks", leecher: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			world := netns.New(t)
			tor, dir := mixed(t), t.TempDir()
			p := punching{t: t, tor: tor, relay: world.Public(1), utpOnly: test.relay}
			p.start(p.relay, test.relay, t.TempDir(), true)
			home := world.Home(netns.Config{})
			p.start(home.Host(), test.seeder, tor.Dir, false)
			if test.relay { // libtorrent exchanges no peers in the first minute
				p.named = []string{"--peer", atPeerPort(home.Router.IPv4[0])}
			}
			ended := p.start(world.Home(netns.Config{}).Host(), test.leecher, dir, false)
			if err := ended(within(t, patience)); err != nil {
				t.Fatal(err)
			}
			if err := tor.Compare(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// punching are three programs that share a torrent.
type punching struct {
	t     *testing.T
	tor   *fixture.Torrent
	relay *netns.Host
	// libtorrent as relay knows peers by the port that it sees, which is theirs over uTP alone.
	utpOnly bool
	named   []string // flags of the leecher
}

// start runs a program, which seeds if its folder is that of the content, and returns what waits for
// the content to be there. As relay it is slow.
func (p *punching) start(h *netns.Host, libtorrent bool, dir string, relay bool) (ended func(context.Context) error) {
	p.t.Helper()
	at := atPeerPort(p.relay.IPv4[0])
	seeds := dir == p.tor.Dir
	if libtorrent {
		o := realpeer.Options{
			Program: realpeer.Libtorrent, Torrent: p.tor.Path, Dir: dir, Seed: seeds, PEX: true, UTP: true,
			Host: h.IPv4[0].String(), Port: peerPort, Command: h.Exec(),
		}
		if relay {
			o.UpLimit, o.DownLimit = 4000, 4000 // of which it takes handshakes, too
		} else {
			o.Peers = []string{at}
		}
		return realpeer.Start(p.t, o).WaitComplete
	}
	command := []string{"download", p.tor.Path, "-o", dir}
	switch {
	case relay:
		command = append(command, "--up-limit", "1", "--down-limit", "1")
	case seeds:
		command = []string{"seed", p.tor.Path, "--data", dir, "--peer", at}
	default:
		command = append(append(command, "--peer", at), p.named...)
	}
	if p.utpOnly {
		command = append(command, "--no-tcp")
	}
	run := startAt(p.t, h, noWeb, args(command, []string{"--no-dht", "--no-trackers", "--port", fmt.Sprint(peerPort)})...)
	if _, err := run.WaitEvent(within(p.t, patience), "listening"); err != nil {
		p.t.Fatal(err)
	}
	return func(ctx context.Context) error {
		_, err := run.WaitEvent(ctx, "complete")
		return err
	}
}
