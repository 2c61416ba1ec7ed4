package path

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/causeway-bt/causeway/bench/netns"
)

// The hosts' addresses. Each namespace has its own, so paths side by side may have the same.
const (
	ipA, ipB   = "10.77.0.1", "10.77.0.2"
	ip6A, ip6B = "fd77::1", "fd77::2"
	device     = "eth0" // Chromium takes a "tap0" for a tunnel
	hardware   = "02:00:00:77:00:01"
	// backlog is how many packets a TAP keeps while the forwarder sleeps or is kept from
	// running: 15 MB, which a host without congestion control sends in 30 ms.
	backlog = 10_000
	prefix  = "cwpath-"
)

// Host is one of the two ends.
type Host struct {
	IP, IP6 string // its addresses
	name    string // of its namespace
	device  *tap
}

// Path joins two hosts until it is closed.
type Path struct {
	a, b      *Host
	forwarder *child
	close     sync.Once
	lastReset atomic.Pointer[[2]int64] // overruns of the devices, by then
}

// paths numbers the paths of this process.
var paths atomic.Int64

// Available returns nil if there can be a path, or what is missing.
func Available() error {
	if os.Getuid() != 0 {
		return errors.New("an emulated path needs root, for network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("ip is missing (Debian: iproute2): %w", err)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("an emulated path needs TAP devices: %w", err)
	}
	return nil
}

// New makes a path. Its namespaces are gone when it is closed; those of a process that
// was killed go with the next one.
func New(ctx context.Context, c Config) (*Path, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	sweep(ctx)
	name := fmt.Sprint(prefix, os.Getpid(), "-", paths.Add(1))
	p := &Path{
		a: &Host{IP: ipA, IP6: ip6A, name: name + "a"},
		b: &Host{IP: ipB, IP6: ip6B, name: name + "b"},
	}
	p.lastReset.Store(&[2]int64{})
	if err := p.make(ctx, c); err != nil {
		p.Close()
		return nil, fmt.Errorf("make a path: %w", err)
	}
	return p, nil
}

func (p *Path) make(ctx context.Context, c Config) (err error) {
	for _, h := range []*Host{p.a, p.b} {
		if err := h.make(ctx, p.other(h)); err != nil {
			return err
		}
	}
	if p.forwarder, err = startForwarder(p.a.device, p.b.device); err != nil {
		return err
	}
	return p.Set(c)
}

func (p *Path) other(h *Host) *Host {
	if h == p.a {
		return p.b
	}
	return p.a
}

// make makes the namespace with its device.
func (h *Host) make(ctx context.Context, other *Host) error {
	if err := ip(ctx, "netns", "add", h.name); err != nil {
		return err
	}
	if err := netns.Enter(h.name, func() (err error) { h.device, err = openTAP(device); return err }); err != nil {
		return err
	}
	for _, words := range []string{
		"link set lo up",
		// Where nobody asks for a hardware address, that of the other is one's own.
		"link set " + device + " arp off address " + hardware + " mtu " + strconv.Itoa(mtu) + " txqueuelen " + strconv.Itoa(backlog),
		"address add " + h.IP + "/24 dev " + device,
		"address add " + h.IP6 + "/64 dev " + device + " nodad",
		"link set " + device + " up",
		// Chromium takes the address of the default route for its own.
		"route add default via " + other.IP,
		"route add default via " + other.IP6,
	} {
		if err := ip(ctx, append([]string{"-n", h.name}, strings.Fields(words)...)...); err != nil {
			return err
		}
	}
	return nil
}

func ip(ctx context.Context, arguments ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// sweep removes what processes left that are no more.
func sweep(ctx context.Context) {
	const names = "/run/netns" // where ip keeps them
	entries, err := os.ReadDir(names)
	if err != nil {
		return // there are none
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), prefix)
		pid, _, _ := strings.Cut(rest, "-")
		if _, err := strconv.Atoi(pid); !ours || err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			_ = ip(ctx, "netns", "delete", e.Name())
		}
	}
}

// Close ends the path. What still runs in its namespaces has no network any more. Closing twice
// is allowed.
func (p *Path) Close() {
	p.close.Do(func() {
		if p.forwarder != nil {
			p.forwarder.close()
		}
		for _, h := range []*Host{p.a, p.b} {
			if h.device != nil {
				h.device.close()
			}
			_ = ip(context.Background(), "netns", "delete", h.name) // it may not have been made
		}
	})
}

// A returns the first of the hosts.
func (p *Path) A() *Host { return p.a }

// B returns the second of the hosts.
func (p *Path) B() *Host { return p.b }

// Set changes what the path is like. What is under way comes as it would have.
func (p *Path) Set(c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	_, err := p.forwarder.ask(request{Set: &c})
	return err
}

// Counters returns what went from A to B and back since the path began, or since the last
// reset: nothing, once it is closed.
func (p *Path) Counters() (there, back Counters) {
	r, err := p.forwarder.ask(request{})
	if err != nil {
		return there, back
	}
	there, back = r.There, r.Back
	before := p.lastReset.Load()
	there.Overruns, back.Overruns = p.a.overruns()-before[0], p.b.overruns()-before[1]
	return there, back
}

// Reset begins to count anew.
func (p *Path) Reset() {
	p.lastReset.Store(&[2]int64{p.a.overruns(), p.b.overruns()})
	_, _ = p.forwarder.ask(request{Reset: true}) // fails once it is closed
}

// overruns returns what the device has dropped because nobody took it.
func (h *Host) overruns() (n int64) {
	_ = h.Do(func() (err error) { n, err = dropped(device); return err }) // 0 where it cannot be told
	return n
}

// Do runs f on a thread of the host, so that the sockets which it opens are the host's; they
// stay so. Goroutines that f starts are elsewhere: an address must be literal, and of one
// family.
func (h *Host) Do(f func() error) error { return netns.Enter(h.name, f) }

// Exec is what is put before a command line to have it run at the host. The process keeps
// the id that it is started with.
func (h *Host) Exec() []string { return netns.Exec(h.name) }

// Command is exec.CommandContext at the host.
func (h *Host) Command(ctx context.Context, name string, arguments ...string) *exec.Cmd {
	words := append(h.Exec(), name)
	return exec.CommandContext(ctx, words[0], append(words[1:], arguments...)...)
}
