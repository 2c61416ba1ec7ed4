package main_test

import (
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/proc"
)

// lateness is by how much the program's event loops were late at most, as they say with
// -v.
type lateness struct {
	mu   sync.Mutex
	most time.Duration
}

var lateLine = regexp.MustCompile(`the event loop was late.* by=(\S+)`)

func (l *lateness) line(b []byte) {
	if f := lateLine.FindSubmatch(b); f != nil {
		if d, err := time.ParseDuration(string(f[1])); err == nil {
			l.mu.Lock()
			l.most = max(l.most, d)
			l.mu.Unlock()
		}
	}
}

func (l *lateness) Most() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

// startTimed is start, with -v.
func startTimed(t *testing.T, arguments ...string) (*cli.Run, *lateness) {
	t.Helper()
	late := &lateness{}
	run, err := cli.StartSpec(proc.Spec{
		Path: program(t), Args: args(arguments, []string{"--json", "-v"}), OnErrorLine: late.line,
		Env: append([]string{"CAUSEWAY_STATE=" + t.TempDir()}, cli.Isolated...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		run.Stop()
		if t.Failed() {
			t.Logf("output of causeway %v:\n%s", arguments, run.Output())
		}
	})
	return run, late
}

// listening returns where a run takes connections.
func listening(t *testing.T, run *cli.Run) string {
	t.Helper()
	l, err := run.WaitEvent(within(t, patience), "listening")
	if err != nil {
		t.Fatal(err)
	}
	return loopbackAddr(t, l.TCP)
}

func storm(t *testing.T, tor *fixture.Torrent, target string, n, addresses int, kinds ...hostile.Kind) *hostile.Crowd {
	t.Helper()
	c := hostile.Storm(tor, target, n, addresses, kinds...)
	t.Cleanup(c.Close)
	return c
}

// siege is a crowd in front of a program, and how long an honest peer may need through
// it.
type siege struct {
	kind      hostile.Kind
	n         int
	addresses int
	roles     []string // of the program: default all three
}

func (s siege) String() string {
	return fmt.Sprintf("%d from %d, %s", s.n, s.addresses, s.kind.Name)
}

// begin starts the crowd, and waits until it is there.
func (s siege) begin(t *testing.T, tor *fixture.Torrent, target string) {
	t.Helper()
	c := storm(t, tor, target, s.n, s.addresses, s.kind)
	eventually(t, patience, "the crowd", func() bool {
		r := c.Report()
		return r.Dials >= int64(s.n) && (s.kind.Name == hostile.Mute().Name || r.Greeted >= int64(min(s.n, 100)))
	})
}

const (
	// crowdBound is how long an honest transfer of a few MiB may take in a crowd; a
	// second without it. The machine is busy, and useless peers have a grace of 15 s.
	crowdBound = 40 * time.Second
	// crowdMemory is how much a program may need in a crowd: 20 MiB without it.
	crowdMemory = 150 << 20
)

// However many connections come from a few hosts, an honest peer that comes after them
// gets its place: at a download, by .torrent and by magnet link, and at a seed.
func TestCrowdsKeepNobodyOut(t *testing.T) {
	leeches := []string{"download", "magnet"}
	sieges := []siege{
		{hostile.Idle(), 120, 1, nil}, {hostile.Idle(), 300, 100, nil},
		{hostile.Hoarder(), 300, 100, nil},
		{hostile.LongBitfield(), 200, 100, leeches}, {hostile.HalfBitfield(), 200, 100, leeches},
		{hostile.Mute(), 250, 1, []string{"seed"}}, {hostile.Mute(), 500, 250, []string{"seed"}},
		{hostile.Deaf(), 120, 10, []string{"seed"}},
	}
	for _, s := range sieges {
		if s.roles == nil {
			s.roles = []string{"download", "magnet", "seed"}
		}
		for _, role := range s.roles {
			t.Run(s.String()+", "+role, func(t *testing.T) {
				t.Parallel()
				tor := single(t, 4<<20)
				dir := t.TempDir()
				var run, honest *cli.Run
				switch role {
				case "seed":
					run, _ = startTimed(t, args([]string{"seed", tor.Path, "--data", tor.Dir}, alone)...)
				case "download":
					run, _ = startTimed(t, args([]string{"download", tor.Path, "-o", dir}, alone)...)
				case "magnet":
					run, _ = startTimed(t, args([]string{"download", tor.Magnet(), "-o", dir}, alone)...)
				}
				peak := watchMemory(run)
				target := listening(t, run)
				s.begin(t, tor, target)
				began := time.Now()
				if role == "seed" {
					honest = start(t, args([]string{"download", tor.Path, "-o", dir, "--peer", target}, alone)...)
					finish(t, honest, tor, dir)
				} else {
					start(t, args([]string{"seed", tor.Path, "--data", tor.Dir, "--peer", target}, alone)...)
					finish(t, run, tor, dir)
				}
				took := time.Since(began)
				run.Stop()
				memory := peak()
				t.Logf("%v, %d MiB", took, memory>>20)
				if memory > crowdMemory {
					t.Errorf("the program used %d MiB", memory>>20)
				}
				if took > crowdBound {
					t.Errorf("the honest transfer took %v, want less than %v", took, crowdBound)
				}
			})
		}
	}
}
