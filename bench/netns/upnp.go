package netns

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/causeway-bt/causeway/bench/proc"
)

// UPnPAddr is the public address that a router tells which maps ports, and has then: miniupnpd
// would map nothing if it knew that its own is one for documentation.
const UPnPAddr = "6.6.6.6"

// UPnP is miniupnpd on a home's router.
type UPnP struct {
	router *Host
	config string // file
	daemon *proc.Process
}

// UPnP has the home's router map ports, by UPnP unless settings, which are lines of
// miniupnpd.conf, say otherwise: one router of a World. It skips the test without miniupnpd.
func (h *Home) UPnP(settings ...string) *UPnP {
	t := h.world.t
	t.Helper()
	if _, err := exec.LookPath("miniupnpd"); err != nil {
		if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" {
			t.Fatalf("CAUSEWAY_REQUIRE_PEERS=1, but miniupnpd is missing (Debian: miniupnpd-nftables): %v", err)
		}
		t.Skipf("miniupnpd is missing (Debian: miniupnpd-nftables): %v", err)
	}
	h.Router.Nft("table inet upnp {\nchain forwarding {}\nchain prerouting { type nat hook prerouting priority -100; }\nchain postrouting {}\n}\n")
	u := &UPnP{router: h.Router, config: filepath.Join(t.TempDir(), "miniupnpd.conf")}
	lines := slices.Concat([]string{
		"ext_ifname=wide", "ext_ip=" + UPnPAddr, "listening_ip=home", "enable_upnp=yes", "secure_mode=yes", "system_uptime=no",
		"upnp_table_name=upnp", "upnp_nat_table_name=upnp", "upnp_forward_chain=forwarding", "upnp_nat_chain=prerouting", "upnp_nat_postrouting_chain=postrouting",
		"uuid=00000000-0000-0000-0000-000000000001", "lease_file=" + u.leases(),
		"allow 1024-65535 192.168.0.0/16 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535",
	}, settings, []string{""})
	if err := os.WriteFile(u.config, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	h.world.core.batch("route add " + UPnPAddr + "/32 via " + h.Router.IPv4[0].String() + " dev " + h.Router.port + " onlink")
	u.Boot()
	t.Cleanup(func() {
		u.daemon.Kill()
		if t.Failed() {
			t.Logf("output of miniupnpd:\n%s", u.daemon.Output())
		}
	})
	return u
}

func (u *UPnP) leases() string { return u.config + ".leases" }

// Boot starts miniupnpd again, after a Crash.
func (u *UPnP) Boot() {
	t := u.router.world.t
	t.Helper()
	var err error
	u.daemon, err = proc.Start(proc.Spec{
		Command: u.router.Exec(), Path: "miniupnpd", Args: []string{"-d", "-f", u.config, "-P", u.config + ".pid"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Crash ends miniupnpd and has the router forget all that was mapped.
func (u *UPnP) Crash() {
	u.router.world.t.Helper()
	u.daemon.Kill()
	_ = os.Remove(u.leases()) // which is there if something was mapped
	u.router.Nft("flush chain inet upnp forwarding\nflush chain inet upnp prerouting\nflush chain inet upnp postrouting\n")
}

// Rules lists what is mapped, as nft has it.
func (u *UPnP) Rules() (rules []string) {
	t := u.router.world.t
	t.Helper()
	words := append(u.router.Exec(), "nft", "list", "chain", "inet", "upnp", "prerouting")
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
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
