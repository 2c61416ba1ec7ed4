package main_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/netns"
)

// TestPortOfATunnel: a seed at home that listens at the address of a VPN's tunnel gets its port of
// the tunnel's gateway, which is asked again before the minute is over and told at the end, and
// tells others that port; peers come through it. The home's own router is not asked.
func TestPortOfATunnel(t *testing.T) {
	for _, test := range []struct {
		name   string
		at     string
		routes []string // %s: the gateway
	}{
		{"routes by the gateway beside the default", "10.8.0.2/24", []string{
			"route add 0.0.0.0/1 via %s dev tun0", "route add 128.0.0.0/1 via %s dev tun0",
		}},
		{"an address alone, and a rule for it", "10.2.0.2/32", []string{
			"route add default dev tun0 table 51", "rule add from 10.2.0.2 table 51",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			portOfATunnel(t, netip.MustParsePrefix(test.at), test.routes)
		})
	}
}

// portOfATunnel is the test with an address of the tunnel's and routes of the host's.
func portOfATunnel(t *testing.T, at netip.Prefix, routes []string) {
	const mapped = 40123
	world := netns.New(t)
	home, vpn, server, stranger := world.Home(netns.Config{}), world.Public(1), world.Public(1), world.Public(1)
	host := home.Host()
	gateway := world.VPN(host, at, vpn)
	for _, route := range routes {
		host.IP(strings.ReplaceAll(route, "%s", gateway.String()))
	}
	atHome := startNATPMP(t, home.Router, netip.MustParseAddr("192.168.7.1"), 40666)
	tunnel := startNATPMP(t, vpn, gateway, mapped)
	passOn(t, vpn, mapped, at.Addr())
	tracker, tor, dir := trackersAt(t, server)[0], single(t, 1<<20), t.TempDir()
	byTracker := []string{"--no-dht", "--tracker", "http://" + tracker + "/announce"}
	run := behindGateway(t, host, args([]string{"seed", tor.Path, "--data", tor.Dir, "--listen", at.Addr().String(), "--port", fmt.Sprint(peerPort)}, byTracker)...)
	want := fmt.Sprintf("%s:%d", natpmpExternal, mapped)
	ok := func(e cli.Event) bool { return e.Event == "portmap" && e.State == "ok" && e.External == want }
	if _, err := run.WaitFor(within(t, patience), "a mapped port", ok); err != nil {
		t.Fatal(err)
	}
	eventuallyHears(t, server, tracker, tor, netip.AddrPortFrom(vpn.IPv4[0], mapped))
	finish(t, runAt(t, stranger, args([]string{"download", tor.Path, "-o", dir, "--port", "0"}, byTracker)...), tor, dir)
	awaitRenewal(t, tunnel)
	run.Stop()
	for _, tcp := range []bool{true, false} {
		all := tunnel.of(tcp)
		if last, want := all[len(all)-1], (natpmpRequest{tcp: tcp, internal: peerPort}); last != want {
			t.Errorf("asked at the end: %+v, want %+v", last, want)
		}
	}
	if n := atHome.heard(); n != 0 {
		t.Errorf("the home's router was asked %d times", n)
	}
}

// passOn has what comes to a port of a host's public side passed on to the port of a peer.
func passOn(t *testing.T, h *netns.Host, port uint16, to netip.Addr) {
	t.Helper()
	rules := "table ip mapped {\nchain enter {\n type nat hook prerouting priority -100\n"
	for _, protocol := range []string{"tcp", "udp"} {
		rules += fmt.Sprintf(" iifname \"eth0\" %s dport %d dnat to %s:%d\n", protocol, port, to, peerPort)
	}
	h.Nft(rules + "}\n}\n")
}

// awaitRenewal waits until both protocols have been renewed, and checks how the server was asked: for
// our own port, then for the one that it gives, and always for a minute.
func awaitRenewal(t *testing.T, s *natpmpServer) {
	t.Helper()
	for ctx := within(t, patience); len(s.of(true)) < 2 || len(s.of(false)) < 2; time.Sleep(50 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("not renewed: %+v, %+v", s.of(true), s.of(false))
		}
	}
	for _, tcp := range []bool{true, false} {
		for i, got := range s.of(tcp) {
			want := natpmpRequest{tcp, peerPort, s.port, 60}
			if tcp && i == 0 {
				want.suggested = peerPort
			}
			if got != want {
				t.Errorf("request %d was %+v, want %+v", i, got, want)
			}
		}
	}
}
