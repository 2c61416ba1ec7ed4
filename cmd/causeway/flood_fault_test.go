package main_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/bench/storm"
)

// manySmall is content of so many small files with long names, and so large metadata.
func manySmall(t *testing.T, n int) *fixture.Torrent {
	t.Helper()
	files := make([]fixture.File, n)
	for i := range files {
		files[i] = fixture.File{Path: fmt.Sprintf("%s %d", strings.Repeat("a long name ", 8), i), Size: 3}
	}
	return makeTorrent(t, files, fixture.Options{PieceLength: 16 << 10})
}

// Whoever claims that the metadata is large, or small, and sends little of it or nothing:
// an honest peer that comes after them gets it through.
func TestDrippedMetadataDelaysLittle(t *testing.T) {
	const bound = 20 * time.Second // 10 to 15, and a busy machine
	large, second := int64(64<<20), time.Second
	equal := []hostile.Kind{hostile.DripMetadata(large, second)}
	different := []hostile.Kind{
		hostile.DripMetadata(large, second), hostile.DripMetadata(100, 0), hostile.DripMetadata(large-1, second),
		hostile.DripMetadata(1<<20, second), hostile.DripMetadata(30_000, 0), hostile.DripMetadata(large, time.Millisecond),
	}
	cases := []struct {
		name         string
		n, addresses int
		kinds        []hostile.Kind
	}{
		{"3 of one size from one address", 3, 1, equal},
		{"30 of one size", 30, 30, equal},
		{"100 of one size", 100, 50, equal},
		{"100 of one size from one address", 100, 1, equal},
		{"30 of different sizes from one address", 30, 1, different},
		{"100 of different sizes", 100, 50, different},
		{"100 that send nothing", 100, 50, []hostile.Kind{hostile.DripMetadata(large, 0)}},
		{"100 that come again", 100, 50, []hostile.Kind{hostile.Returns(hostile.DripMetadata(30_000, 0), 2*time.Second)}},
		{"60 that send fast", 60, 30, []hostile.Kind{hostile.DripMetadata(large, 0), hostile.DripMetadata(large, time.Microsecond)}},
	}
	if testing.Short() {
		cases = cases[:1] // each takes ten seconds
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// 600 KB of metadata, so that it takes a while.
			tor := manySmall(t, 6000)
			dir := t.TempDir()
			run, late := startTimed(t, args([]string{"download", tor.Magnet(), "-o", dir}, alone)...)
			peak := watchMemory(run)
			target := listening(t, run)
			crowd := stormAt(t, tor, target, c.n, c.addresses, c.kinds...)
			eventually(t, patience, "the crowd", func() bool { return crowd.Report().Greeted >= int64(c.n) })
			began := time.Now()
			start(t, args([]string{"seed", tor.Path, "--data", tor.Dir, "--peer", target}, alone)...)
			if _, err := run.WaitFor(within(t, patience), "the metadata", func(e cli.Event) bool {
				return e.State == "checking" || e.State == "downloading" || e.State == "seeding"
			}); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			run.Stop()
			memory := peak()
			t.Logf("%v, %d MiB, the loop was late by %v", took, memory>>20, late.Most())
			if took > bound {
				t.Errorf("the metadata took %v, want less than %v", took, bound)
			}
			if memory > 300<<20 {
				t.Errorf("the program used %d MiB", memory>>20)
			}
		})
	}
}

// Peers that send messages without end, of every kind, delay an honest transfer little.
func TestFloodsDelayLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("runs libtorrent: not with -short")
	}
	for _, kind := range []hostile.Kind{
		hostile.FloodHandshakes(), hostile.FloodMetadataRequests(), hostile.FloodPEX(), hostile.FloodChokes(),
		hostile.FloodInterest(), hostile.FloodHaves(), hostile.FloodBitfields(), hostile.FloodRequests(), hostile.FloodBlocks(),
	} {
		t.Run(kind.Name, func(t *testing.T) {
			tries(t, func() (faults []string) {
				// One at a time: how long it takes is what counts, beside what an equal transfer
				// without the crowd takes at the same time.
				tor := single(t, 16<<20)
				download := func() (*cli.Run, *storm.Lateness, string) {
					dir := t.TempDir()
					run, late := startTimed(t, args([]string{"download", tor.Path, "-o", dir}, alone)...)
					return run, late, dir
				}
				run, late, dir := download()
				calm, calmLate, calmDir := download()
				target, calmTarget := listening(t, run), listening(t, calm)
				crowd := stormAt(t, tor, target, 100, 20, kind)
				defer crowd.Close()
				eventually(t, patience, "the crowd", func() bool { return crowd.Report().Greeted >= 100 })
				began := time.Now()
				// It gives to both what it gets; nobody else has anything for them.
				start(t, args([]string{"seed", tor.Path, "--data", tor.Dir, "--up-limit", "4M", "--peer", target, "--peer", calmTarget}, alone)...)
				took := make(chan time.Duration, 1)
				go func() {
					<-calm.Done()
					took <- time.Since(began)
				}()
				finish(t, run, tor, dir)
				stormy := time.Since(began)
				finish(t, calm, tor, calmDir)
				quiet := <-took
				t.Logf("%v, without the crowd %v; the loop was late by %v and %v", stormy, quiet, late.Most(), calmLate.Most())
				if stormy > quiet*3/2+slack {
					faults = append(faults, fmt.Sprintf("it took %v, without the crowd %v", stormy, quiet))
				}
				if d := late.Most(); d > lateBound+2*calmLate.Most() {
					faults = append(faults, fmt.Sprintf("the event loop was late by %v, without the crowd by %v", d, calmLate.Most()))
				}
				return faults
			})
		})
	}
}

// slack is what a transfer beside a crowd may take longer in any case: the first dial may
// fail, and the next comes 3 s later.
const slack = 5 * time.Second

// lateBound is by how much a loop may be late beyond what it is on a busy machine.
const lateBound = 100 * time.Millisecond

// However many peers never unchoke, one that is named after them is dialled soon.
func TestPeersThatNeverUnchokeDoNotStopDialling(t *testing.T) {
	for _, n := range []int{50, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			tor := single(t, 2<<20)
			crowd, addrs, err := hostile.Wait(tor, n, hostile.Hoarder())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(crowd.Close)
			port, err := realpeer.FreePort()
			if err != nil {
				t.Fatal(err)
			}
			honest := net.JoinHostPort(realpeer.Host, fmt.Sprint(port))
			command := []string{"download", tor.Path, "-o", t.TempDir(), "--peer", honest}
			for _, a := range addrs {
				command = append(command, "--peer", a)
			}
			run := start(t, args(command, alone)...)
			eventually(t, patience, "the crowd to be dialled", func() bool { return crowd.Report().Open >= int64(n) })
			began := time.Now()
			// From now on the honest peer takes connections; only the program dials.
			start(t, args([]string{"seed", tor.Path, "--data", tor.Dir, "--listen", realpeer.Host, "--port", fmt.Sprint(port), "--no-dht", "--no-trackers"})...)
			waitExit(t, run, 0)
			if took := time.Since(began); took > crowdBound {
				t.Errorf("the honest peer was of use after %v, want less than %v", took, crowdBound)
			}
		})
	}
}

// A peer that hangs up after the handshake is dialled ever more rarely.
func TestPeersThatHangUpAreDialledRarely(t *testing.T) {
	t.Parallel()
	tor := single(t, 1<<20)
	crowd, addrs, err := hostile.Wait(tor, 1, hostile.HangsUp())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(crowd.Close)
	start(t, args([]string{"download", tor.Magnet(addrs...), "-o", t.TempDir()}, alone)...)
	eventually(t, patience, "two dials", func() bool { return crowd.Report().Dials >= 2 })
	// At 0, 3, 9 and 21 s and later: each twice, as an encrypted one is tried first.
	time.Sleep(25 * time.Second) // the time in which to count
	if n := crowd.Report().Dials; n > 10 {
		t.Errorf("it was dialled %d times in 25 s", n)
	}
}
