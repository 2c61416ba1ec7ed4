package realpeer

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

// Program is one of the foreign programs, by the name of its executable.
type Program string

// The programs that can be started.
const (
	Libtorrent   Program = "libtorrent" // no executable: Debian's python3-libtorrent
	Aria2        Program = "aria2c"
	Transmission Program = "transmission-daemon"
	QBittorrent  Program = "qbittorrent-nox"
	OpenTracker  Program = "opentracker"

	WebTorrent Program = "webtorrent" // no executable: scripts for Node, with npm's bittorrent-tracker
	Chromium   Program = "chromium"
	Firefox    Program = "firefox-esr"
	Coturn     Program = "turnserver"
)

// Encryption says how a peer treats message stream encryption, in both directions.
type Encryption int

// The three policies that all of the programs know.
const (
	Plain   Encryption = iota // plaintext wherever the program lets one say so
	Prefer                    // either, encrypted first
	Require                   // RC4 or no connection
)

// Options describe one peer with one torrent.
type Options struct {
	Program Program
	Torrent string // path of a .torrent file, or
	Magnet  string // a magnet link
	Dir     string // where the content is or goes
	Seed    bool   // the content is there already

	Encryption Encryption
	Trackers   []string // added to those of the torrent
	Peers      []string // HOST:PORT to dial
	DHT        bool     // on the same port number as TCP, over UDP
	DHTNodes   []string // HOST:PORT to bootstrap from
	PEX        bool
	UTP        bool
	NoTCP      bool   // uTP only, for which UTP must be set; Transmission cannot
	UpLimit    int64  // bytes per second; 0: none
	DownLimit  int64  // of libtorrent
	Host       string // to listen on and, where it matters, to dial from; empty: that of the package
	Port       int    // for peers; 0: any free

	Command []string // of libtorrent and webtorrent: is put before the command line, as `ip netns exec NAME`
}

// Peer is a running foreign peer.
type Peer struct {
	*proc.Process
	Addr string // HOST:PORT for peers
	Port int

	// waitComplete blocks until all content is there and verified, each program
	// having its own way to say so.
	waitComplete func(context.Context) error
	// Status lists what libtorrent reported; nil for the other programs.
	Status *proc.Journal[Status]
}

// WaitComplete returns once the peer has all of the torrent's content.
func (p *Peer) WaitComplete(ctx context.Context) error { return p.waitComplete(ctx) }

// startTimeout bounds how long a program may take until it listens. Transmission
// needs a second or two on a busy machine.
const startTimeout = 30 * time.Second

// Available returns nil if the program is installed, or else what to install.
func Available(p Program) error {
	if p == Libtorrent {
		if err := exec.Command(python, "-c", "import libtorrent").Run(); err != nil {
			return fmt.Errorf("libtorrent is missing (Debian: python3-libtorrent): %w", err)
		}
		return nil
	}
	if p == WebTorrent {
		return nodeAvailable()
	}
	if _, err := exec.LookPath(string(p)); err != nil {
		packages := map[Program]string{
			Aria2: "aria2", Transmission: "transmission-daemon", QBittorrent: "qbittorrent-nox", OpenTracker: "opentracker",
			Chromium: "chromium", Firefox: "firefox-esr", Coturn: "coturn",
		}
		return fmt.Errorf("%s is missing (Debian: %s): %w", p, packages[p], err)
	}
	return nil
}

// Need skips the test when a program is missing, and names it; where
// CAUSEWAY_REQUIRE_PEERS=1 (continuous integration) it fails the test instead. With -short
// (make check), no test runs other programs.
func Need(t testing.TB, programs ...Program) {
	t.Helper()
	if testing.Short() {
		t.Skipf("runs %v: not with -short", programs)
	}
	for _, p := range programs {
		err := Available(p)
		switch {
		case err == nil:
		case os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1":
			t.Fatalf("CAUSEWAY_REQUIRE_PEERS=1, but %v", err)
		default:
			t.Skip(err)
		}
	}
}

// Start launches a peer for a test: it is stopped when the test ends, and its
// output is logged if the test failed.
func Start(t testing.TB, o Options) *Peer {
	t.Helper()
	Need(t, o.Program)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	p, err := Launch(ctx, t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopAndShow(t, string(o.Program), p.Process) })
	return p
}

func stopAndShow(t testing.TB, name string, p *proc.Process) {
	p.Stop()
	if t.Failed() {
		t.Logf("output of %s:\n%s", name, p.Output())
	}
}

// Launch starts a peer and returns when it accepts connections. Its settings go to
// dir; the caller stops it.
func Launch(ctx context.Context, dir string, o Options) (*Peer, error) {
	o.Host = cmp.Or(o.Host, Host)
	if o.Port == 0 {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		o.Port = port
	}
	var p *Peer
	var err error
	switch o.Program {
	case Libtorrent:
		p, err = launchLibtorrent(ctx, o)
	case Aria2:
		p, err = launchAria2(ctx, dir, o)
	case QBittorrent:
		p, err = launchQBittorrent(ctx, dir, o)
	case Transmission:
		p, err = launchTransmission(ctx, dir, o)
	case WebTorrent:
		p, err = launchWebTorrent(ctx, o)
	default:
		err = fmt.Errorf("no such peer")
	}
	if err != nil {
		return nil, fmt.Errorf("launch %s: %w", o.Program, err)
	}
	p.Port = o.Port
	p.Addr = net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
	return p, nil
}

const loopback = "127.0.0.1"

// Host is where peers and trackers listen: on loopback, unless the environment names
// another address of this machine.
var Host = cmp.Or(os.Getenv("CAUSEWAY_TEST_HOST"), loopback)

// FreePort returns a port on which nothing listens on Host, neither TCP nor
// UDP. It is none of those that systems give to whoever asks for any port (from 32768 on),
// so that hardly anybody takes it before it is used.
func FreePort() (int, error) {
	const tries, lowest, ports = 100, 10_000, 22_000
	var last error
	for range tries {
		port := lowest + rand.IntN(ports)
		l, err := net.Listen("tcp", net.JoinHostPort(Host, strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		u, err := net.ListenPacket("udp", net.JoinHostPort(Host, strconv.Itoa(port)))
		l.Close()
		if err == nil {
			u.Close()
			return port, nil
		}
		last = err
	}
	return 0, fmt.Errorf("find a free port for both TCP and UDP: %w", last)
}

// poll calls ready every few milliseconds until it is true, the process ends, or
// ctx does. It serves programs that have no way to tell.
func poll(ctx context.Context, p *proc.Process, what string, ready func() bool) error {
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-p.Done():
			return fmt.Errorf("wait for %s: the program ended\n%s", what, p.Output())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w\n%s", what, context.Cause(ctx), p.Output())
		}
	}
	return nil
}

// accepts reports whether something listens on a TCP port of this machine.
func accepts(host string, port int) bool {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(port)), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
