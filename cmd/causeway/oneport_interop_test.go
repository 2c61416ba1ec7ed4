package main_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/wire/transport"
)

// TestOneUDPPort captures what a program sends while it speaks uTP with libtorrent, is a node of the
// DHT, asks a STUN server, has a relay of a TURN server over UDP and a connection of WebRTC, which goes
// directly or by the relay: all of UDP leaves from the one port that it reports.
func TestOneUDPPort(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Libtorrent)
	t.Run("WebRTC directly", func(t *testing.T) { t.Parallel(); onePort(t, 1, transport.ClassDTLS) })
	t.Run("WebRTC by the relay", func(t *testing.T) { t.Parallel(); onePort(t, 126, transport.ClassTURN, "--relay-only") })
}

// onePort has the program at an address from first on, and WebRTC's data as packets of a class.
func onePort(t *testing.T, first int, web transport.Class, flags ...string) {
	own := fmt.Sprintf("127.0.77.%d", first+os.Getpid()%125) // nobody else's
	sent := capture(t, own)

	// The tracker is its TURN server, too.
	point := start(t, "tracker", "--listen", realpeer.Host, "--port", "0", "--turn-user", "causeway:secret", "--turn-allow-private")
	listening, err := point.WaitEvent(within(t, patience), "listening")
	if err != nil {
		t.Fatal(err)
	}
	tor := single(t, 4<<20)
	const slowly = 200_000 // bytes a second: so that all meet before it ends
	classic := realpeer.Start(t, realpeer.Options{
		Program: realpeer.Libtorrent, Torrent: tor.Path, Dir: tor.Dir, Seed: true, UTP: true, NoTCP: true, DHT: true, UpLimit: slowly,
	})
	tracked := []string{"--no-webrtc=false", "--no-web-trackers", "--tracker", "ws://" + listening.TCP + "/announce"}
	start(t, args([]string{"seed", tor.Path, "--data", tor.Dir, "--up-limit", "200K"}, base, []string{"--no-dht", "--no-tcp", "--no-utp"}, tracked)...)
	run := start(t, args([]string{"download", tor.Path, "-o", t.TempDir(), "--peer", classic.Addr, "--dht-bootstrap", classic.Addr}, base, tracked, flags, []string{
		"--listen", own, "--no-tcp", "--stun", "stun:" + listening.UDP, "--turn", "turn:causeway:secret@" + listening.UDP,
	})...)
	if _, err := run.WaitFor(within(t, patience), "peers of both swarms", func(e cli.Event) bool {
		return e.Event == "progress" && e.Peers.UTP > 0 && e.Peers.WebRTC > 0
	}); err != nil {
		t.Fatal(err)
	}
	if !hasRelay(t, listening.TCP) {
		t.Error("the program has no relay")
	}
	wanted := []transport.Class{transport.ClassDHT, transport.ClassSTUN, transport.ClassUTP, web}
	eventually(t, patience, "the capture", func() bool { return sent.has(wanted) })
	reported, err := run.WaitEvent(within(t, patience), "listening")
	if err != nil {
		t.Fatal(err)
	}
	for port, classes := range sent.ports() {
		if want := netip.MustParseAddrPort(reported.UDP).Port(); port != fmt.Sprint(want) {
			t.Errorf("packets left from port %s, too, not only from %d: %v", port, want, classes)
		}
	}
}

// captured is what was sent, by port and class.
type captured struct {
	mu     sync.Mutex
	counts map[string]map[transport.Class]int
}

func (c *captured) has(classes []transport.Class) bool {
	seen := map[transport.Class]bool{}
	for _, counts := range c.ports() {
		for class := range counts {
			seen[class] = true
		}
	}
	for _, class := range classes {
		if !seen[class] {
			return false
		}
	}
	return true
}

func (c *captured) ports() map[string]map[transport.Class]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	ports := map[string]map[transport.Class]int{}
	for port, counts := range c.counts {
		ports[port] = map[transport.Class]int{}
		for class, n := range counts {
			ports[port][class] = n
		}
	}
	return ports
}

// capture has tshark note the UDP packets that come from an address of this machine. It skips the test
// where tshark cannot.
func capture(t *testing.T, from string) *captured {
	t.Helper()
	skip := func(why string) {
		if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" && os.Getuid() == 0 {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	if _, err := exec.LookPath("tshark"); err != nil {
		skip(fmt.Sprintf("tshark is missing (Debian: tshark): %v", err))
	}
	c := &captured{counts: map[string]map[transport.Class]int{}}
	capturing := make(chan struct{})
	var once sync.Once
	tshark, err := proc.Start(proc.Spec{
		Path: "tshark", Args: []string{
			"-i", "lo", "-f", "udp and src host " + from, "-l", "-T", "fields", "-e", "udp.srcport", "-e", "udp.payload",
		},
		OnLine: func(line []byte) {
			port, payload, ok := strings.Cut(string(line), "\t")
			b, err := hex.DecodeString(payload)
			if !ok || err != nil {
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.counts[port] == nil {
				c.counts[port] = map[transport.Class]int{}
			}
			c.counts[port][transport.Classify(b)]++
		},
		OnErrorLine: func(line []byte) {
			if strings.Contains(string(line), "Capturing on") {
				once.Do(func() { close(capturing) })
			}
		},
	})
	if err != nil {
		skip(fmt.Sprintf("tshark cannot capture here: %v", err))
	}
	t.Cleanup(tshark.Stop)
	select {
	case <-capturing:
	case <-tshark.Done():
		skip("tshark cannot capture here: " + tshark.Output())
	case <-within(t, patience).Done():
		t.Fatal("tshark does not begin to capture: " + tshark.Output())
	}
	return c
}

var relaysNow = regexp.MustCompile(`(?m)^causeway_turn_allocations ([1-9][0-9]*)$`)

// hasRelay asks a tracker whether it has an allocation.
func hasRelay(t *testing.T, tracker string) bool {
	t.Helper()
	return relaysNow.MatchString(page(t, "http://"+tracker+"/metrics"))
}
