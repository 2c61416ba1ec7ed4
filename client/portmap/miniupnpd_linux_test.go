package portmap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/client/network"
)

// insideHome has this test binary, started in the network namespace of a home, be a Mapper:
// it prints what it is told, and ends with its standard input.
const insideHome = "TEST_PORTMAP_INSIDE"

// shortLease is about the shortest that miniupnpd gives.
const shortLease = 2 * time.Second

// TestInsideHome is no test of its own: see TestMiniupnpd.
func TestInsideHome(t *testing.T) {
	bind := os.Getenv(insideHome)
	if bind == "" {
		t.Skip("run by TestMiniupnpd")
	}
	var cfg network.Config
	if bind != "any" {
		cfg.Bind = []netip.Addr{netip.MustParseAddr(bind)}
	}
	n, err := network.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := prepare(Config{Network: n, Port: ourPort, TCP: true, OnChange: func(s Status) {
		fmt.Println("told", s.State, s.Protocol, s.External, s.UDPPort, s.Lease, s.Err)
	}})
	m.timing = quick
	m.timing.minRenew, m.timing.check, m.timing.checkUPnP = 500*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	m.timing.retry, m.timing.maxRetry = 300*time.Millisecond, 300*time.Millisecond
	m.timing.lease = shortLease
	m.start()
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	m.Close()
}

// awaitMapped waits until both protocols are passed on.
func awaitMapped(t *testing.T, router *netns.UPnP, when string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); len(router.Rules()) != 2; {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %q", when, router.Rules())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// mapperAt starts a Mapper at a host. until returns the first line of its that has a text; end
// has it end.
func mapperAt(t *testing.T, host *netns.Host, bind string) (until func(text string) string, end func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	words := append(host.Exec(), os.Args[0], "-test.run", "^TestInsideHome$")
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), insideHome+"="+bind)
	stdin, err := cmd.StdinPipe()
	stdout, outErr := cmd.StdoutPipe()
	if err := errors.Join(err, outErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	var all []string
	until = func(text string) string {
		t.Helper()
		for lines.Scan() {
			all = append(all, lines.Text())
			if strings.Contains(lines.Text(), text) {
				return lines.Text()
			}
		}
		t.Fatalf("not told: %q; but %q", text, all)
		return ""
	}
	return until, func() {
		t.Helper()
		stdin.Close()
		for lines.Scan() {
			all = append(all, lines.Text())
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the end: %v: %q", err, all)
		}
	}
}

// TestMiniupnpd: a home router's own program maps, renews, is asked again after it has
// forgotten, and unmaps, by each protocol.
func TestMiniupnpd(t *testing.T) {
	for _, test := range []struct {
		protocol Protocol
		config   []string
		guard    string // rule of nft for what comes in
		bind     string
	}{
		{PCP, []string{"enable_natpmp=yes", "enable_upnp=no"}, "", "any"},
		{NATPMP, []string{"enable_natpmp=yes", "enable_upnp=no"}, "udp dport 5351 @th,64,8 2 drop", "192.168.7.2"},
		{UPnP, []string{"enable_natpmp=no", "enable_upnp=yes"}, "", "any"},
		{UPnP, []string{"enable_natpmp=no", "enable_upnp=yes", "force_igd_desc_v1=yes"}, "", "192.168.7.2"},
	} {
		name := fmt.Sprint(test.protocol, len(test.config))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := netns.New(t).Home(netns.Config{})
			if test.guard != "" {
				home.Router.Nft("table inet guard {\nchain in {\n type filter hook input priority 0\n " + test.guard + "\n}\n}\n")
			}
			router := home.UPnP(append(test.config, "min_lifetime=2", "max_lifetime=86400")...)
			until, end := mapperAt(t, home.Host(), test.bind)
			ok := fmt.Sprintf("told ok %s %s:%d %d", test.protocol, netns.UPnPAddr, ourPort, ourPort)
			until(ok)
			if rules := router.Rules(); len(rules) != 2 {
				t.Errorf("mapped: %q", rules)
			}
			time.Sleep(shortLease + time.Second)
			awaitMapped(t, router, "when the first lease was over") // on a busy machine it may have run out, for a moment
			router.Crash()
			router.Boot()
			awaitMapped(t, router, "after it had forgotten")
			end()
			if rules := router.Rules(); len(rules) != 0 {
				t.Errorf("left behind: %q", rules)
			}
		})
	}
}
