package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/client/reach"
)

// verdict is what doctor says of one thing.
type verdict struct {
	Event   string
	Check   string
	State   string
	Message string
	Advice  string
	Broken  []string
	Weak    []string
}

// visit is a run of doctor: its checks by name (of trackers, the last), and the diagnosis.
type visit struct {
	checks    map[string]verdict
	diagnosis verdict
	output    string
}

// doctorBy runs a command line that is `causeway doctor --json`. It ends with status 1 exactly
// if it says that something is broken.
func doctorBy(t *testing.T, env []string, command ...string) visit {
	t.Helper()
	ctx := within(t, patience)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(append(os.Environ(), "CAUSEWAY_STATE="+t.TempDir(), "CAUSEWAY_NO_WEB_TRACKERS=true"), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	v := visit{checks: make(map[string]verdict), output: stdout.String() + stderr.String()}
	for line := range strings.Lines(stdout.String()) {
		var d verdict
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		switch d.Event {
		case "check":
			v.checks[d.Check] = d
		case "diagnosis":
			v.diagnosis = d
		}
	}
	var exit *exec.ExitError
	failed := errors.As(err, &exit) && exit.ExitCode() == 1
	if err != nil && !failed || failed != (v.diagnosis.State == "fail") || failed != (len(v.diagnosis.Broken) > 0) {
		t.Fatalf("ended with %v; the diagnosis is %+v\n%s", err, v.diagnosis, v.output)
	}
	return v
}

// says fails the test unless a check has a state, and its message or advice a text.
func (v visit) says(t *testing.T, check, state, text string) {
	t.Helper()
	c := v.checks[check]
	if c.State != state || !strings.Contains(c.Message+" -> "+c.Advice, text) {
		t.Errorf("%s is %q (%q -> %q), want %s: %q\n%s", check, c.State, c.Message, c.Advice, state, text, v.output)
	}
}

// outside is a public network in which a download finds what it needs.
type outside struct {
	world   *netns.World
	server  *netns.Host
	tor     *fixture.Torrent
	tracker string // without its scheme
	stun    string
	node    string
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	world := netns.New(t)
	o := &outside{world: world, server: world.Public(2), tor: single(t, 1<<20)}
	first := o.server.IPv4[0].String()
	o.tracker, o.stun, o.node = first+":8000", "stun:"+first+":3478", first+":6881"
	testerOfNATs(t, o.server)
	for _, command := range [][]string{
		{"tracker", "--listen", first, "--port", "8000", "--turn-user", "us:secret"},
		{"seed", o.tor.Path, "--data", o.tor.Dir, "--tracker", "udp://" + o.tracker, "--dht-bootstrap", "203.0.113.1:1"},
	} {
		run := runAt(t, o.server, command...)
		if _, err := run.WaitEvent(within(t, patience), "listening"); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// doctor runs doctor on a host.
func (o *outside) doctor(t *testing.T, host *netns.Host, flags ...string) visit {
	t.Helper()
	all := append([]string{"doctor", "--json", "-o", t.TempDir(), "--no-lsd"}, flags...)
	return doctorBy(t, []string{"CAUSEWAY_NO_PORTMAP=false"}, args(host.Exec(), []string{program(t)}, all)...)
}

// well are the flags by which all is found that there is.
func (o *outside) well() []string {
	return []string{"--stun", o.stun, "--dht-bootstrap", o.node, "--tracker", "udp://" + o.tracker, "--tracker", "http://" + o.tracker + "/announce"}
}

// TestDoctorIsRight: what doctor says is right behind routers of all kinds.
func TestDoctorIsRight(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	good := o.world.Home(netns.Config{IPv6: true})
	good.UPnP()
	bad := o.world.Home(netns.Config{NAT: netns.Symmetric})
	deaf := o.world.Home(netns.Config{BlockUDP: true})
	const noRoute = "no route"
	for name, test := range map[string]struct {
		home *netns.Home
		run  func(t *testing.T, host *netns.Host)
	}{
		"all well": {good, func(t *testing.T, host *netns.Host) {
			v := o.doctor(t, host, args(o.well(), []string{o.tor.Path, "--turn", "turn:us:secret@" + o.tracker})...)
			for _, check := range []string{"network", "ipv6", "ports", "nat", "udp", "webrtc", "clock", "open files", "disk", "state", "torrent", "tracker", "peers", "dht"} {
				v.says(t, check, "ok", "")
			}
			v.says(t, "nat", "ok", "address and port that we have sent to")
			v.says(t, "mapping", "ok", "by UPnP")
			v.says(t, "webrtc", "ok", "through the TURN server")
			v.says(t, "tcp", "ok", "Peers can connect to us")
			v.says(t, "peers", "ok", "1 peer")
			if v.diagnosis.State != "ok" {
				t.Errorf("the diagnosis: %+v", v.diagnosis)
			}
		}},
		"symmetric, no IPv6, no mapping": {bad, func(t *testing.T, host *netns.Host) {
			v := o.doctor(t, host, args(o.well(), []string{"--turn", "turn:us:wrong@" + o.tracker})...)
			v.says(t, "webrtc", "fail", "does not relay for us")
			v.says(t, "nat", "warn", "symmetric")
			v.says(t, "ipv6", "none", "No IPv6")
			v.says(t, "mapping", "warn", "no gateway answers")
			v.says(t, "tcp", "warn", "cannot connect to us")
			v.says(t, "udp", "ok", "the DHT")
		}},
		"UDP blocked": {deaf, func(t *testing.T, host *netns.Host) {
			v := o.doctor(t, host, "--stun", o.stun, "--dht-bootstrap", o.node, "--tracker", "http://"+o.tracker+"/announce")
			v.says(t, "udp", "fail", "UDP is blocked")
			v.says(t, "dht", "warn", "peers are found by trackers only")
			v.says(t, "tracker", "ok", "answers")
			v.says(t, "webrtc", "warn", "no STUN server answers")
		}},
		"DHT and trackers down": {bad, func(t *testing.T, host *netns.Host) {
			v := o.doctor(t, host, "--stun", o.stun, "--dht-bootstrap", o.server.IPv4[0].String()+":9",
				"--tracker", "http://"+o.server.IPv4[0].String()+":9/announce", o.tor.Magnet())
			v.says(t, "dht", "fail", "Name a node that is up")
			v.says(t, "tracker", "fail", "refuse")
			v.says(t, "peers", "fail", "nobody who could name them answers: no tracker answers (1 tracker asked), and the DHT is not reached")
		}},
		"nobody has it": {bad, func(t *testing.T, host *netns.Host) {
			v := o.doctor(t, host, args(o.well(), []string{"0123456789012345678901234567890123456789"})...)
			v.says(t, "peers", "fail", "trackers and the DHT answer, and know nobody who has it")
		}},
		noRoute: {bad, func(t *testing.T, host *netns.Host) {
			v := o.doctor(t, host, o.well()...)
			v.says(t, "network", "fail", "no way to the outside")
			if len(v.diagnosis.Broken) != 1 {
				t.Errorf("consequences are told as causes: %q", v.diagnosis.Broken)
			}
		}},
		"a peer that refuses": {bad, func(t *testing.T, host *netns.Host) {
			v := o.doctor(t, host, "--no-dht", "--stun", o.stun, "--peer", o.server.IPv4[0].String()+":9", o.tor.Magnet())
			v.says(t, "peers", "fail", "1 address of a peer is known, but none can be connected to: ")
			v.says(t, "peers", "fail", "refused the connection")
		}},
		"disk read-only": {bad, func(t *testing.T, _ *netns.Host) {
			dir := t.TempDir()
			v := doctorBy(t, []string{"CAUSEWAY_NO_PORTMAP=true"}, "unshare", "--mount", "sh", "-c", `mount -t tmpfs -o ro none "$0" && exec "$@"`,
				dir, program(t), "doctor", "--json", "--listen", "127.0.0.1", "--port", "0", "--no-dht", "--no-lsd", "-o", dir, "--state", dir)
			v.says(t, "disk", "fail", "mounted read-only")
			v.says(t, "state", "fail", "cannot be written")
		}},
	} {
		host := test.home.Host()
		if name == noRoute {
			host.IP("route del default")
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.run(t, host)
		})
	}
}

// testerOfNATs runs a STUN server with two addresses and two ports, by which the kind of a NAT
// can be told (RFC 5780), until it answers.
func testerOfNATs(t *testing.T, host *netns.Host) {
	t.Helper()
	realpeer.StartSTUN(t, host.Exec(), host.IPv4...)
	eventually(t, patience, "an answer of the STUN server", func() (answered bool) {
		host.Do(func() {
			conn, err := net.ListenPacket("udp4", ":0")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = reach.Probe(t.Context(), conn, []netip.AddrPort{netip.AddrPortFrom(host.IPv4[0], 3478)})
			answered = err == nil
		})
		return answered
	})
}
