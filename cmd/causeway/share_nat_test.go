package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
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

// TestShareReachesViewersBehindNATs: the share's firewall lets in its --http port only, the viewer
// is behind a NAT. Where the NAT keeps a socket's port for all addresses, both find a way
// through; where each address sees another port, it goes through the share's TURN server.
func TestShareReachesViewersBehindNATs(t *testing.T) {
	needSharedPage(t)
	film := playable(t, "30")
	for _, test := range []struct {
		name, nat string
		direct    bool
	}{{"plain", "masquerade", true}, {"symmetric", "masquerade fully-random", false}} {
		t.Run(test.name, func(t *testing.T) {
			share, viewer := behindNAT(t, test.nat)
			run, link := sharingIn(t, share, film, natShare)
			var found pageFigures
			inPage(t, webpage.Scenario{Name: "plays", URL: link, Command: inNamespace(viewer), Options: map[string]any{
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

// natShare is the address of the share in behindNAT.
const natShare = "203.0.113.1"

// behindNAT makes three network namespaces: that of a share, with a firewall; a router; and
// that of a viewer behind it, whose packets leave as the statement nat of nft says. It skips
// the test where that cannot be.
func behindNAT(t *testing.T, nat string) (share, viewer string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs ip: not with -short")
	}
	id := fmt.Sprint("cn", os.Getpid()%100000)
	share, router, viewer := id+"s", id+"r", id+"v"
	run := func(stdin, name string, arguments ...string) {
		t.Helper()
		cmd := exec.Command(name, arguments...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			why := fmt.Sprintf("no NAT can be made here: %s %s: %v: %s", name, strings.Join(arguments, " "), err, out)
			if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" && os.Getuid() == 0 {
				t.Fatal(why)
			}
			t.Skip(why)
		}
	}
	for _, name := range []string{share, router, viewer} {
		run("", "ip", "netns", "add", name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
		run("", "ip", "-n", name, "link", "set", "lo", "up")
	}
	link := func(from, fromAddress, to, toAddress, inner string) {
		run("", "ip", "-n", from, "link", "add", inner+"a", "type", "veth", "peer", "name", inner+"b", "netns", to)
		run("", "ip", "-n", from, "address", "add", fromAddress, "dev", inner+"a")
		run("", "ip", "-n", to, "address", "add", toAddress, "dev", inner+"b")
		run("", "ip", "-n", from, "link", "set", inner+"a", "up")
		run("", "ip", "-n", to, "link", "set", inner+"b", "up")
	}
	link(router, "203.0.113.2/24", share, natShare+"/24", "wide")
	link(router, "192.168.7.1/24", viewer, "192.168.7.2/24", "home")
	run("", "ip", "-n", viewer, "route", "add", "default", "via", "192.168.7.1")
	run("", "ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	run(`table ip router {
	chain out {
		type nat hook postrouting priority 100
		oifname "widea" `+nat+`
	}
	chain own {
		type filter hook input priority 0; policy drop
		iifname "homea" accept
	}
	chain guard {
		type filter hook forward priority 0; policy drop
		iifname "homea" accept
		ct state established,related accept
	}
}
`, "ip", "netns", "exec", router, "nft", "-f", "-")
	run(`table ip firewall {
	chain guard {
		type filter hook input priority 0; policy drop
		iifname "lo" accept
		ct state established,related accept
		tcp dport 8080 accept
		udp dport 8080 accept
	}
}
`, "ip", "netns", "exec", share, "nft", "-f", "-")
	return share, viewer
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
