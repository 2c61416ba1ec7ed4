package portmap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// router is a home router in network namespaces: the home is behind it.
type router struct {
	home, outside string // namespaces
	config        string // of miniupnpd
	daemon        *exec.Cmd
}

const routerAddr = "6.6.6.2" // miniupnpd maps nothing if this is one of those for documentation

// newRouter skips the test where namespaces, nft or miniupnpd are missing.
func newRouter(t *testing.T, name string, config ...string) *router {
	t.Helper()
	if testing.Short() {
		t.Skip("runs miniupnpd: not with -short")
	}
	id := fmt.Sprintf("cm%d%s", os.Getpid()%100000, name)
	r := &router{home: id + "h", outside: id + "o"}
	must := func(stdin, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			why := fmt.Sprintf("no router can be made here: %s %s: %v: %s", name, strings.Join(args, " "), err, out)
			if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" && os.Getuid() == 0 {
				t.Fatal(why)
			}
			t.Skip(why)
		}
	}
	must("", "miniupnpd", "--version")
	for _, ns := range []string{r.home, r.outside} {
		must("", "ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", ns).Run() })
		must("", "ip", "-n", ns, "link", "set", "lo", "up")
	}
	must("", "ip", "-n", r.outside, "link", "add", "homea", "type", "veth", "peer", "name", "homeb", "netns", r.home)
	must("", "ip", "-n", r.outside, "link", "add", "wide", "type", "veth", "peer", "name", "far")
	must("", "ip", "-n", r.outside, "link", "set", "far", "up")
	for _, a := range [][3]string{{r.outside, "192.168.7.1/24", "homea"}, {r.outside, routerAddr + "/24", "wide"}, {r.home, "192.168.7.2/24", "homeb"}} {
		must("", "ip", "-n", a[0], "address", "add", a[1], "dev", a[2])
		must("", "ip", "-n", a[0], "link", "set", a[2], "up")
	}
	must("", "ip", "-n", r.home, "route", "add", "default", "via", "192.168.7.1")
	must(`table inet upnp {
	chain forwarding {}
	chain prerouting {}
	chain postrouting {}
	chain guard { type filter hook input priority 0; }
}
`, "ip", "netns", "exec", r.outside, "nft", "-f", "-")
	r.config = filepath.Join(t.TempDir(), "miniupnpd.conf")
	text := strings.Join(append(config,
		"ext_ifname=wide", "listening_ip=homea", "secure_mode=yes", "system_uptime=no", "min_lifetime=2", "max_lifetime=86400",
		"upnp_table_name=upnp", "upnp_nat_table_name=upnp", "upnp_forward_chain=forwarding", "upnp_nat_chain=prerouting", "upnp_nat_postrouting_chain=postrouting",
		"uuid=00000000-0000-0000-0000-000000000001", "lease_file="+r.config+".leases", "allow 1024-65535 192.168.7.0/24 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535", ""), "\n")
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.boot(t)
	t.Cleanup(r.crash)
	return r
}

// boot starts miniupnpd.
func (r *router) boot(t *testing.T) {
	t.Helper()
	r.daemon = exec.Command("ip", "netns", "exec", r.outside, "miniupnpd", "-d", "-f", r.config, "-P", r.config+".pid")
	if err := r.daemon.Start(); err != nil {
		t.Fatal(err)
	}
}

// crash has it forget everything.
func (r *router) crash() {
	_ = r.daemon.Process.Kill()
	_ = r.daemon.Wait()
	_ = os.Remove(r.config + ".leases")
	for _, chain := range []string{"forwarding", "prerouting", "postrouting"} {
		_ = exec.Command("ip", "netns", "exec", r.outside, "nft", "flush", "chain", "inet", "upnp", chain).Run()
	}
}

// mapped lists what is passed on.
func (r *router) mapped(t *testing.T) (rules []string) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", r.outside, "nft", "list", "chain", "inet", "upnp", "prerouting").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "dnat") {
			rules = append(rules, strings.TrimSpace(line))
		}
	}
	return rules
}

// awaitMapped waits until both protocols are passed on.
func (r *router) awaitMapped(t *testing.T, when string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); len(r.mapped(t)) != 2; {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %q", when, r.mapped(t))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// inHome starts a Mapper behind the router. until returns the first line of its that has a
// text; end has it end.
func (r *router) inHome(t *testing.T, bind string) (until func(text string) string, end func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", r.home, os.Args[0], "-test.run", "^TestInsideHome$")
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
			r := newRouter(t, string(test.protocol[0])+fmt.Sprint(len(test.config)+len(test.guard)), test.config...)
			if test.guard != "" {
				if out, err := exec.Command("ip", "netns", "exec", r.outside, "nft", "add rule inet upnp guard "+test.guard).CombinedOutput(); err != nil {
					t.Fatalf("nft: %v: %s", err, out)
				}
			}
			until, end := r.inHome(t, test.bind)
			ok := fmt.Sprintf("told ok %s %s:%d %d", test.protocol, routerAddr, ourPort, ourPort)
			until(ok)
			if rules := r.mapped(t); len(rules) != 2 {
				t.Errorf("mapped: %q", rules)
			}
			time.Sleep(shortLease + time.Second)
			r.awaitMapped(t, "when the first lease was over") // on a busy machine it may have run out, for a moment
			r.crash()
			r.boot(t)
			r.awaitMapped(t, "after it had forgotten")
			end()
			if rules := r.mapped(t); len(rules) != 0 {
				t.Errorf("left behind: %q", rules)
			}
		})
	}
}
