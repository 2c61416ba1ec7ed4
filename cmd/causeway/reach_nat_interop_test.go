package main_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/bench/proc"
)

// runAt runs causeway at a host of a small internet.
func runAt(t *testing.T, host *netns.Host, arguments ...string) *cli.Run {
	t.Helper()
	run, err := cli.StartSpec(proc.Spec{
		Path: "ip", Args: host.Args(program(t), append(arguments, "--json")...),
		Env: append([]string{"CAUSEWAY_STATE=" + t.TempDir()}, cli.Isolated...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		run.Stop()
		if t.Failed() {
			t.Logf("output of causeway %v:\n%s", arguments, run.Output())
		}
	})
	return run
}

// TestPortThatTheWorldSees: behind a NAT that gives our port another number, and the same to
// everybody, that number is what trackers and the DHT hear, and a third peer comes in there by
// uTP. Without a second STUN server, which alone shows that it is the same to everybody, our
// own port is what they hear.
func TestPortThatTheWorldSees(t *testing.T) {
	const inside, outside = 6881, 41881
	for _, test := range []struct {
		name  string
		stun  int // servers
		heard int
	}{{"two STUN servers", 2, outside}, {"one", 1, inside}} {
		t.Run(test.name, func(t *testing.T) {
			world := netns.New(t)
			server, other := world.Public(2), world.Public(1)
			home := world.Home(netns.Config{NAT: netns.FullCone, Inside: inside, Outside: outside})
			tor := single(t, 1<<20)
			trackers := trackersAt(t, server)
			empty := single(t, 1<<10)
			node := runAt(t, other, "seed", empty.Path, "--data", empty.Dir, "--no-trackers", "--port", "7000", "--dht-bootstrap", "203.0.113.1:1")
			if _, err := node.WaitEvent(within(t, patience), "listening"); err != nil {
				t.Fatal(err)
			}
			dht := []string{"--dht-bootstrap", netip.AddrPortFrom(other.IPv4[0], 7000).String()}
			seed := []string{"seed", tor.Path, "--data", tor.Dir, "--port", fmt.Sprint(inside), "--tracker", "http://" + trackers[0] + "/announce"}
			for _, stun := range trackers[:test.stun] {
				seed = append(seed, "--stun", "stun:"+stun)
			}
			runAt(t, home.Host(), args(seed, dht)...)
			want := netip.AddrPortFrom(home.Router.IPv4[0], uint16(test.heard))
			eventuallyHears(t, server, trackers[0], tor, want)
			if test.heard == inside {
				return
			}
			for name, flags := range map[string][]string{
				"by the tracker": {"--no-dht", "--tracker", "http://" + trackers[0] + "/announce"},
				"by the DHT":     args([]string{"--no-trackers"}, dht),
			} {
				dir := t.TempDir()
				leech := runAt(t, world.Public(1), args([]string{"download", tor.Path, "-o", dir}, flags)...)
				finish(t, leech, tor, dir)
				if p, _ := leech.Last("progress"); p.Peers.TCP != 0 {
					t.Errorf("%s: %+v", name, p.Peers)
				}
			}
		})
	}
}

// trackersAt runs a tracker, which is a STUN server as well, at each address of a host, and
// returns where.
func trackersAt(t *testing.T, host *netns.Host) (at []string) {
	t.Helper()
	for _, ip := range host.IPv4 {
		run := runAt(t, host, "tracker", "--listen", ip.String(), "--port", "8000")
		listening, err := run.WaitEvent(within(t, patience), "listening")
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, listening.UDP)
	}
	return at
}

// eventuallyHears waits until a tracker names a peer.
func eventuallyHears(t *testing.T, host *netns.Host, tracker string, tor *fixture.Torrent, want netip.AddrPort) {
	t.Helper()
	var last []netip.AddrPort
	for ctx := within(t, patience); ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		var err error
		host.Do(func() { last, err = askTracker(ctx, tracker, tor) })
		if err != nil {
			t.Fatal(err)
		}
		for _, peer := range last {
			if peer == want {
				return
			}
		}
	}
	t.Fatalf("the tracker names %v, not %v", last, want)
}

// askTracker announces as another peer to a tracker, over a connection that the caller's
// thread opens.
func askTracker(ctx context.Context, tracker string, tor *fixture.Torrent) (peers []netip.AddrPort, err error) {
	hash, err := hex.DecodeString(tor.HexHash())
	if err != nil {
		return nil, err
	}
	query := url.Values{
		"info_hash": {string(hash)}, "peer_id": {"-XX0000-abcdefghijkl"}, "port": {"1"},
		"uploaded": {"0"}, "downloaded": {"0"}, "left": {"1"}, "compact": {"1"}, "numwant": {"50"},
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp4", tracker)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+tracker+"/announce?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Failure string `bencode:"failure reason"`
		Peers   string `bencode:"peers"`
	}
	if err := bencode.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Failure != "" {
		return nil, errors.New(answer.Failure)
	}
	for p := []byte(answer.Peers); len(p) >= 6; p = p[6:] {
		peers = append(peers, netip.AddrPortFrom(netip.AddrFrom4([4]byte(p)), uint16(p[4])<<8|uint16(p[5])))
	}
	return peers, nil
}

