package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/proc"
)

// idle measures what a thousand seeding torrents cost while nobody wants them.
func (b *bench) idle(ctx context.Context) error {
	if b.causeway == "" {
		return nil
	}
	const (
		torrents = 1000
		fileSize = 256 << 10
		settle   = 15 * time.Second // until start-up has ended and its memory is given back
		watch    = 30 * time.Second
	)
	dir, err := b.scratch("idle")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	args := []string{"seed", "--data", filepath.Join(dir, "data"), "--state", filepath.Join(dir, "state")}
	for i := range torrents {
		t, err := fixture.Make(dir, fmt.Sprintf("torrent-%04d", i), []fixture.File{{Size: fileSize}}, fixture.Options{
			PieceLength: 64 << 10, Seed: uint64(i),
		})
		if err != nil {
			return err
		}
		args = append(args, t.Path)
	}
	// Not --json, which writes a line per torrent and second: that is no idling.
	var links atomic.Int64
	all := make(chan struct{})
	run, err := proc.Start(proc.Spec{
		Path: b.causeway, Env: cli.Isolated,
		Args: append(args, "--quiet", "--listen", "127.0.0.1", "--port", "0", "--no-dht", "--no-trackers"),
		OnLine: func(line []byte) {
			if bytes.HasPrefix(line, []byte("magnet:")) && links.Add(1) == torrents {
				close(all)
			}
		},
	})
	if err != nil {
		return err
	}
	defer run.Stop()
	select {
	case <-all:
	case <-run.Done():
		return fmt.Errorf("causeway ended:\n%s", run.Output())
	case <-time.After(runTimeout):
		return fmt.Errorf("%d of %d torrents seed after %v", links.Load(), torrents, runTimeout)
	}
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	before, err := run.CPU()
	if err != nil {
		return err
	}
	if err := sleep(ctx, watch); err != nil {
		return err
	}
	after, err := run.CPU()
	if err != nil {
		return err
	}
	rss, err := proc.RssAnon(run.PID())
	if err != nil {
		return err
	}
	table(b.out, "Idle seeding", [][]string{
		{"torrents", "RssAnon", "CPU in " + watch.String()},
		{fmt.Sprint(torrents), mib(float64(rss)), (after - before).String()},
	})
	return nil
}

// restart measures how long it takes until finished data is seeded again.
func (b *bench) restart(ctx context.Context) error {
	if b.causeway == "" {
		return nil
	}
	const size = 10 << 30
	dir, err := b.scratch("restart")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tor, err := fixture.Make(dir, "content", []fixture.File{{Size: size, Sparse: true}}, fixture.Options{PieceLength: 4 << 20})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	state := filepath.Join(dir, "state")
	var took, used []float64
	for round := range b.runs + 1 {
		start := time.Now()
		run, err := ours{bin: b.causeway}.run("seed", tor.Path, "--data", tor.Dir, "--state", state)
		if err != nil {
			return err
		}
		e, err := run.WaitEvent(ctx, "seeding")
		if err != nil {
			run.Stop()
			return err
		}
		cpu, err := run.CPU()
		if err == nil {
			err = run.Interrupt()
		}
		if err == nil {
			err = ignoreExit(run.Wait(ctx))
		}
		run.Stop()
		if err != nil {
			return err
		}
		fmt.Fprintf(b.log, "restart round %d: %v, CPU %v\n", round, e.Received.Sub(start), cpu)
		if round > 0 { // the first had to hash it all
			took = append(took, e.Received.Sub(start).Seconds())
			used = append(used, cpu.Seconds())
		}
	}
	table(b.out, fmt.Sprintf("Starting again on 10 GiB of finished data, median of %d", b.runs), [][]string{
		{"what", "seconds", "range"},
		{"start of the program to seeding", fmt.Sprintf("%.3f", median(took)), spread(took, "%.3f")},
		{"processor time of it", fmt.Sprintf("%.3f", median(used)), spread(used, "%.3f")},
	})
	return nil
}

// ignoreExit forgets an exit status: an interrupted causeway ends with 130.
func ignoreExit(err error) error {
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
