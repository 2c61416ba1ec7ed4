package main_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/bench/webpage"
)

// TestShareReachesViewersThroughTURN: a browser of another network that cannot send UDP, a case
// harder than any NAT, gets the film over WebRTC all the same from a share whose own TCP port it
// cannot reach, through the TURN server of the share at the page's own TCP port.
func TestShareReachesViewersThroughTURN(t *testing.T) {
	needSharedPage(t)
	film := playable(t, "120")
	middle, outer := twoIslands(t)
	run, link := sharingIn(t, middle, film, outer[0].router, "--no-tcp")
	var found pageFigures
	inPage(t, webpage.Scenario{Name: "plays", URL: link, Command: inNamespace(outer[0].name), Options: map[string]any{
		"tracks": false, "direct": false, "flags": append(noUDP, asIfSecure(link)),
	}}, &found)
	came := found.Figures.Came
	if relayed, _ := sentByShare(t, run, came.Causeway); relayed < came.Causeway/2 {
		t.Errorf("%d bytes were relayed; came: %+v", relayed, came)
	}
}

// TestShareReachesViewersByTCP: a browser whose network lets no UDP out gets the film over WebRTC
// straight from the share's TCP port (RFC 6544).
func TestShareReachesViewersByTCP(t *testing.T) {
	needSharedPage(t)
	film := playable(t, "120")
	middle, outer := twoIslands(t)
	loadRules(t, outer[0].name, noUDPOut)
	run, link := sharingIn(t, middle, film, outer[0].router)
	var found pageFigures
	inPage(t, webpage.Scenario{Name: "plays", URL: link, Command: inNamespace(outer[0].name), Options: map[string]any{
		"tracks": false, "direct": false, "flags": append(noUDP, asIfSecure(link)),
	}}, &found)
	came := found.Figures.Came
	if relayed, direct := sentByShare(t, run, came.Causeway); direct < came.Causeway/2 {
		t.Errorf("%d bytes were relayed, %d sent directly; came: %+v", relayed, direct, came)
	}
}

// TestShareAtHomeReachesViewersByTCP: the same from a share behind a home router, at the TCP port
// that the router maps. By hand only the port of the link is forwarded.
func TestShareAtHomeReachesViewersByTCP(t *testing.T) {
	needSharedPage(t)
	film := playable(t, "120")
	world := netns.New(t)
	home, viewer := world.Home(netns.Config{}), world.Public(1)
	home.UPnP()
	host := home.Host()
	home.Router.Nft(fmt.Sprintf("table ip byhand {\nchain enter {\n type nat hook prerouting priority -100\n iifname \"wide\" tcp dport 8080 dnat to %s\n}\n}\n", host.IPv4[0]))
	viewer.Nft(noUDPOut)
	run, inside := sharingBy(t, args(host.Exec(), []string{"CAUSEWAY_NO_PORTMAP=false", program(t), "share", film,
		"--http", host.IPv4[0].String() + ":8080", "--no-dht"}))
	if _, err := run.WaitFor(within(t, patience), "a mapped port", func(e cli.Event) bool { return e.Event == "portmap" && e.State == "ok" }); err != nil {
		t.Fatal(err)
	}
	link := strings.Replace(inside, host.IPv4[0].String(), home.Router.IPv4[0].String(), 1)
	var found pageFigures
	inPage(t, webpage.Scenario{Name: "plays", URL: link, Command: viewer.Exec(), Options: map[string]any{
		"tracks": false, "direct": false, "flags": append(noUDP, asIfSecure(link)),
	}}, &found)
	came := found.Figures.Came
	if relayed, direct := sentByShare(t, run, came.Causeway); direct < came.Causeway/2 {
		t.Errorf("%d bytes were relayed, %d sent directly; came: %+v", relayed, direct, came)
	}
}

// noUDPOut is a firewall that lets no UDP out.
const noUDPOut = "table inet firewall {\nchain out {\n type filter hook output priority 0\n oifname != \"lo\" meta l4proto udp drop\n}\n}\n"

// loadRules gives rules to the nft of a namespace, or skips the test where that cannot be.
func loadRules(t *testing.T, namespace, rules string) {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", namespace, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no firewall can be made here: nft: %v: %s", err, out)
	}
}

// shareFirewall lets in what comes to the share's --http port.
const shareFirewall = `table ip firewall {
	chain guard {
		type filter hook input priority 0; policy drop
		iifname "lo" accept
		ct state established,related accept
		tcp dport 8080 accept
		udp dport 8080 accept
	}
}
`

// TestShareReachesViewersBehindNATs: the share's firewall lets in its --http port only, the viewer
// is behind a NAT. Where the NAT keeps a socket's port for all addresses, both find a way
// through; where each address sees another port, it goes through the share's TURN server.
func TestShareReachesViewersBehindNATs(t *testing.T) {
	needSharedPage(t)
	film := playable(t, "120")
	for _, test := range []struct {
		name   string
		nat    netns.NAT
		direct bool
	}{{"plain", netns.PortRestricted, true}, {"symmetric", netns.Symmetric, false}} {
		t.Run(test.name, func(t *testing.T) {
			world := netns.New(t)
			share, viewer := world.Public(1), world.Home(netns.Config{NAT: test.nat}).Host()
			share.Nft(shareFirewall)
			run, link := sharingIn(t, share.Name, film, share.IPv4[0].String())
			var found pageFigures
			inPage(t, webpage.Scenario{Name: "plays", URL: link, Command: viewer.Exec(), Options: map[string]any{
				"tracks": false, "flags": []string{asIfSecure(link)},
			}}, &found)
			came := found.Figures.Came
			relayed, direct := sentByShare(t, run, came.Causeway)
			if test.direct && direct < came.Causeway/2 || !test.direct && relayed < came.Causeway/2 {
				t.Errorf("%d bytes were relayed, %d sent directly; came: %+v", relayed, direct, came)
			}
		})
	}
}

func inNamespace(name string) []string { return []string{"ip", "netns", "exec", name} }

// sharingIn shares a film from a network namespace, and returns its link at host.
func sharingIn(t *testing.T, namespace, film, host string, flags ...string) (*cli.Run, string) {
	t.Helper()
	return sharingBy(t, args(inNamespace(namespace), []string{program(t), "share", film, "--http", host + ":8080", "--port", "0", "--no-dht"}, flags))
}

// asIfSecure is a flag by which Chromium allows a page WebRTC that comes without TLS.
func asIfSecure(link string) string {
	return "--unsafely-treat-insecure-origin-as-secure=" + strings.TrimSuffix(link, "/")
}

// sentByShare is what the share's TURN server has relayed, and what the share has sent beside that second by second, when it tells that it has sent what came to a page. A browser may begin by the relay, for the second that
// it needs to find the direct way.
func sentByShare(t *testing.T, run *cli.Run, came int64) (relayed, direct int64) {
	t.Helper()
	if came == 0 {
		t.Error("nothing came from the share over WebRTC")
	}
	for ctx := within(t, patience); ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		var sent int64
		relayed, direct = 0, 0
		for line := range strings.Lines(run.Output()) {
			var viewers struct {
				Event   string
				Sent    struct{ WebRTC int64 }
				Relayed int64
			}
			if json.Unmarshal([]byte(line), &viewers) != nil || viewers.Event != "viewers" {
				continue
			}
			direct += max(viewers.Sent.WebRTC-sent-(viewers.Relayed-relayed), 0)
			if sent, relayed = viewers.Sent.WebRTC, viewers.Relayed; sent >= came {
				return relayed, direct
			}
		}
	}
	t.Fatalf("the share never told that it has sent %d bytes\n%s", came, run.Output())
	return 0, 0
}
