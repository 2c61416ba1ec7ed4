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
	return launch(t, proc.Spec{Command: host.Exec(), Args: arguments, Env: cli.Isolated})
}

// TestPortThatTheWorldSees: behind a NAT that gives our port another number, and the same to
// everybody, that number is what trackers and the DHT hear, and a third peer comes in there by
// uTP.
func TestPortThatTheWorldSees(t *testing.T) {
	const inside, outside = 6881, 41881
	world := netns.New(t)
	t.Parallel()
	server, other := world.Public(2), world.Public(1)
	home := world.Home(netns.Config{NAT: netns.FullCone, Inside: inside, Outside: outside})
	tor, alone := single(t, 1<<20), single(t, 1<<10)
	trackers := trackersAt(t, server)
	node := runAt(t, other, "seed", alone.Path, "--data", alone.Dir, "--no-trackers", "--port", "7000", "--dht-bootstrap", "203.0.113.1:1")
	if _, err := node.WaitEvent(within(t, patience), "listening"); err != nil {
		t.Fatal(err)
	}
	byDHT := []string{"--dht-bootstrap", netip.AddrPortFrom(other.IPv4[0], 7000).String()}
	byTracker := []string{"--tracker", "http://" + trackers[0] + "/announce"}
	runAt(t, home.Host(), args([]string{"seed", tor.Path, "--data", tor.Dir, "--port", fmt.Sprint(inside),
		"--stun", "stun:" + trackers[0], "--stun", "stun:" + trackers[1]}, byDHT, byTracker)...)
	eventuallyHears(t, server, trackers[0], tor, netip.AddrPortFrom(home.Router.IPv4[0], outside))
	for name, flags := range map[string][]string{
		"by the tracker": args([]string{"--no-dht"}, byTracker),
		"by the DHT":     args([]string{"--no-trackers"}, byDHT),
	} {
		dir := t.TempDir()
		finish(t, runAt(t, world.Public(1), args([]string{"download", tor.Path, "-o", dir}, flags)...), tor, dir)
		t.Log("came in ", name)
	}
}

// TestAddressesThatChange: trackers hear it soon when this machine has another address.
func TestAddressesThatChange(t *testing.T) {
	world := netns.New(t)
	t.Parallel()
	server, moving := world.Public(1), world.Public(2)
	tor := single(t, 1<<10)
	tracker := trackersAt(t, server)[0]
	runAt(t, moving, "seed", tor.Path, "--data", tor.Dir, "--no-dht", "--port", "6881", "--tracker", "http://"+tracker+"/announce")
	eventuallyHears(t, server, tracker, tor, netip.AddrPortFrom(moving.IPv4[0], 6881))
	moving.IP(
		fmt.Sprintf("address del %s/32 dev eth0", moving.IPv4[0]),
		fmt.Sprintf("route replace default via 203.0.113.1 dev eth0 onlink src %s", moving.IPv4[1]),
	)
	eventuallyHears(t, server, tracker, tor, netip.AddrPortFrom(moving.IPv4[1], 6881))
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
