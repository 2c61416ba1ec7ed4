package main_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/bench/webpage"
)

// TestShareReachesViewersThroughTURN: a browser of another network that cannot send UDP, a case
// harder than any NAT, gets the film over WebRTC all the same from a share whose own TCP port it
// cannot reach, through the TURN server of the share at the page's own TCP port.
func TestShareReachesViewersThroughTURN(t *testing.T) {
	needSharedPage(t)
	film := playable(t, "20")
	middle, outer := twoIslands(t)
	run, link := sharingIn(t, middle, film, outer[0].router, "--no-tcp")
	var found pageFigures
	inPage(t, webpage.Scenario{Name: "plays", URL: link, Command: inNamespace(outer[0].name), Options: map[string]any{
		"tracks": false, "direct": false, "flags": append(noUDP, asIfSecure(link)),
	}}, &found)
	if relayed := relayedByShare(run); found.Figures.Came.Causeway == 0 || relayed < found.Figures.Came.Causeway/2 {
		t.Errorf("%d bytes were relayed; came: %+v", relayed, found.Figures.Came)
	}
}

// TestShareReachesViewersByTCP: a browser whose network lets no UDP out gets the film over WebRTC
// straight from the share's TCP port (RFC 6544).
func TestShareReachesViewersByTCP(t *testing.T) {
	needSharedPage(t)
	film := playable(t, "20")
	middle, outer := twoIslands(t)
	loadRules(t, outer[0].name, "table inet firewall {\nchain out {\n type filter hook output priority 0\n oifname != \"lo\" meta l4proto udp drop\n}\n}\n")
	run, link := sharingIn(t, middle, film, outer[0].router)
	var found pageFigures
	inPage(t, webpage.Scenario{Name: "plays", URL: link, Command: inNamespace(outer[0].name), Options: map[string]any{
		"tracks": false, "direct": false, "flags": append(noUDP, asIfSecure(link)),
	}}, &found)
	if relayed := relayedByShare(run); found.Figures.Came.Causeway == 0 || relayed > found.Figures.Came.Causeway/10 {
		t.Errorf("%d bytes were relayed; came: %+v", relayed, found.Figures.Came)
	}
}

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
	film := playable(t, "30")
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
			relayed, came := relayedByShare(run), found.Figures.Came
			if came.Causeway == 0 || test.direct && relayed > came.Causeway/10 || !test.direct && relayed < came.Causeway/2 {
				t.Errorf("%d bytes were relayed; came: %+v", relayed, came)
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

// relayedByShare is what the share's TURN server relayed, by the last event that says so.
func relayedByShare(run *cli.Run) (relayed int64) {
	for line := range strings.Lines(run.Output()) {
		var viewers struct {
			Event   string
			Relayed int64
		}
		if json.Unmarshal([]byte(line), &viewers) == nil && viewers.Event == "viewers" {
			relayed = max(relayed, viewers.Relayed)
		}
	}
	return relayed
}
