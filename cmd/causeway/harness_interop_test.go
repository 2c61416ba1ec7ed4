package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// These tests drive the built program by its command line, as docs and scripts do.
// patience is how long anything may take before a test gives up; it is generous,
// because many programs share two cores here.
const patience = 90 * time.Second

// built is the program under test, built once without the race detector, as users
// have it. It stays in the git-ignored bin folder: the build cache then makes the
// next run quick.
var built = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", "test", "causeway"))
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build causeway: %w\n%s", err, out)
	}
	return path, nil
})

func program(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Flags that keep a run on the loopback interface, and apart from other tests: base
// leaves trackers, the DHT and PEX on, alone only the peers that are named.
var (
	base  = []string{"--listen", realpeer.Host, "--port", "0"}
	alone = append([]string{"--no-dht", "--no-trackers"}, base...)
)

// args joins lists of arguments.
func args(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// launch runs causeway, with a state folder of its own unless the environment or a flag names
// one. It is stopped when the test ends, and its output logged if the test failed.
func launch(t *testing.T, s proc.Spec) *cli.Run {
	t.Helper()
	s.Path, s.Args = program(t), append(s.Args[:len(s.Args):len(s.Args)], "--json")
	s.Env = append([]string{"CAUSEWAY_STATE=" + t.TempDir()}, s.Env...)
	run, err := cli.StartSpec(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		run.Stop()
		if t.Failed() {
			t.Logf("output of causeway %v:\n%s", s.Args, run.Output())
		}
	})
	return run
}

// start launches causeway with nothing on that its arguments do not name.
func start(t *testing.T, args ...string) *cli.Run {
	t.Helper()
	return launch(t, proc.Spec{Args: args, Env: cli.Isolated})
}

// seed runs `causeway seed` and returns it with the address it listens on, once it
// seeds.
func seed(t *testing.T, tor *fixture.Torrent, flags ...string) (*cli.Run, string) {
	t.Helper()
	run, listening := seeding(t, tor, flags...)
	return run, loopbackAddr(t, listening.TCP)
}

// seeding runs `causeway seed` and returns it with its event "listening", once it seeds.
func seeding(t *testing.T, tor *fixture.Torrent, flags ...string) (run *cli.Run, listening cli.Event) {
	t.Helper()
	run = start(t, args([]string{"seed", tor.Path, "--data", tor.Dir}, flags)...)
	ctx := within(t, patience)
	listening, err := run.WaitEvent(ctx, "listening")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.WaitEvent(ctx, "seeding"); err != nil {
		t.Fatal(err)
	}
	return run, listening
}

func loopbackAddr(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("the address that causeway reports to listen on: %v", err)
	}
	return net.JoinHostPort(realpeer.Host, port)
}

// finish waits until a download reports completion and ends with status 0, and
// compares what it wrote.
func finish(t *testing.T, run *cli.Run, tor *fixture.Torrent, dir string) {
	t.Helper()
	waitExit(t, run, 0)
	if _, ok := run.Last("complete"); !ok {
		t.Errorf("the download ended with status 0, but without an event \"complete\"")
	}
	if err := tor.Compare(dir); err != nil {
		t.Error(err)
	}
}

// waitExit waits until the program ends and checks its exit status.
func waitExit(t *testing.T, run *cli.Run, want int) {
	t.Helper()
	err := run.Wait(within(t, patience))
	select {
	case <-run.Done():
	default:
		t.Fatal(err)
	}
	if got := run.ExitCode(); got != want {
		t.Fatalf("causeway ended with status %d, want %d", got, want)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// watchMemory samples the memory of a run; the returned function gives its peak, in
// bytes, once the run has ended.
func watchMemory(run *cli.Run) func() int64 {
	peak := make(chan int64, 1)
	go func() { peak <- proc.Peak(run.PID(), run.Done()) }()
	return func() int64 { return <-peak }
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, d time.Duration, what string, condition func() bool) {
	t.Helper()
	ctx := within(t, d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, d)
		}
	}
}

// page is what is at a URL.
func page(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// make a torrent for one test.
func makeTorrent(t *testing.T, files []fixture.File, o fixture.Options) *fixture.Torrent {
	t.Helper()
	return makeTorrentIn(t, t.TempDir(), files, o)
}

func makeTorrentIn(t *testing.T, dir string, files []fixture.File, o fixture.Options) *fixture.Torrent {
	t.Helper()
	tor, err := fixture.Make(dir, "content", files, o)
	if err != nil {
		t.Fatal(err)
	}
	return tor
}

// mixed is content with most of what can be awkward about files: several in one
// piece, some without a byte, a folder, a last piece that is short.
func mixed(t *testing.T) *fixture.Torrent {
	t.Helper()
	return makeTorrent(t, []fixture.File{
		{Path: "big.bin", Size: 2_000_003}, {Path: "empty"}, {Path: "disc 1/small", Size: 11},
		{Path: "disc 1/exact", Size: 128 << 10}, {Path: "disc 1/also empty"}, {Path: "last", Size: 70_001},
	}, fixture.Options{PieceLength: 64 << 10})
}

// single is content of one file.
func single(t *testing.T, size int64) *fixture.Torrent {
	t.Helper()
	return makeTorrent(t, []fixture.File{{Size: size}}, fixture.Options{PieceLength: 128 << 10})
}

// wanted is content that the program can download: Transmission 3.00 does not create
// files without a byte, so it gets one file only.
func wanted(t *testing.T, p realpeer.Program) *fixture.Torrent {
	t.Helper()
	if p == realpeer.Transmission {
		return single(t, 2_000_003)
	}
	return mixed(t)
}

// scripted starts a peer that behaves as its script says.
func scripted(t *testing.T, tor *fixture.Torrent, s hostile.Script) *hostile.Peer {
	t.Helper()
	p, err := hostile.Listen(tor, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// realSeed starts libtorrent as a seed.
func realSeed(t *testing.T, tor *fixture.Torrent, o realpeer.Options) *realpeer.Peer {
	t.Helper()
	o.Program, o.Torrent, o.Dir, o.Seed = realpeer.Libtorrent, tor.Path, tor.Dir, true
	return realpeer.Start(t, o)
}

// offLoopback says whether the test runs at an address that is not on loopback, which
// some programs take from nobody. If not, it has the test run at one by itself, in a
// network namespace of its own so that all traffic stays on this machine, or skips it
// where that needs rights that it does not have.
func offLoopback(t *testing.T) bool {
	t.Helper()
	const address = "10.77.0.1"
	if realpeer.Host == address {
		return true
	}
	if testing.Short() {
		t.Skip("runs unshare and ip: not with -short")
	}
	if err := exec.Command("unshare", "--net", "ip", "link", "set", "lo", "up").Run(); err != nil {
		t.Skipf("a network namespace with an address cannot be made here: %v", err)
	}
	program(t) // so that it is not built twice at a time
	again, err := proc.Start(proc.Spec{
		Path: "unshare", Env: []string{"CAUSEWAY_TEST_HOST=" + address},
		Args: []string{
			"--net", "sh", "-c", "ip link set lo up && ip address add " + address + `/24 dev lo && exec "$0" "$@"`,
			os.Args[0], "-test.run=^" + t.Name() + "$", "-test.parallel=8", "-test.v",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Stop)
	err = again.Wait(within(t, 2*patience))
	t.Logf("the test at %s:\n%s", address, again.Output())
	if err != nil {
		t.Error(err)
	}
	return false
}

// mount puts a small file system on a new folder, or skips the test where that needs
// rights that it does not have.
func mount(t *testing.T, options string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs mount: not with -short")
	}
	if os.Getuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "causeway-test", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a small tmpfs is not allowed here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// remount changes the options of a file system made by mount.
func remount(t *testing.T, dir, options string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+options, dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
}
