package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
)

// What a limit is judged by: the rate over a time after a short ramp.
const (
	limitRamp = 3 * time.Second
	// limitBlocks is how many blocks should come at least, so that a single one does not
	// matter; limitTime is how long it is watched at least.
	limitBlocks = 60
	limitTime   = 10 * time.Second
	blockSize   = 16 << 10
)

// limit measures how well a download limit is kept, from few and many seeds, and how much
// comes in vain.
func (b *bench) limit(ctx context.Context) error {
	if b.causeway == "" {
		return nil
	}
	dir, err := b.scratch("limit")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rows := [][]string{{"limit", "seeds", "KiB/s", "off by", "in vain"}}
	for _, limit := range []int64{30 << 10, 100 << 10, 1 << 20, 20 << 20} {
		watch := max(limitTime, time.Duration(limitBlocks*blockSize/float64(limit)*float64(time.Second)))
		size := int64(float64(limit) * (limitRamp + watch).Seconds() * 1.3)
		tor, err := fixture.Make(dir, fmt.Sprint("content", limit), []fixture.File{{Size: size}}, fixture.Options{PieceLength: 256 << 10})
		if err != nil {
			return err
		}
		for _, seeds := range []int{1, 5, 30, 60} {
			last, rate, err := b.limitOnce(ctx, tor, limit, seeds, watch)
			if err != nil {
				return fmt.Errorf("%d bytes/s from %d seeds: %w", limit, seeds, err)
			}
			row := []string{
				fmt.Sprintf("%d KiB/s", limit>>10), strconv.Itoa(seeds), fmt.Sprintf("%.1f", rate/1024),
				fmt.Sprintf("%+.1f %%", 100*(rate/float64(limit)-1)),
				fmt.Sprintf("%.1f %%", 100*float64(last.Wasted)/float64(last.Downloaded)),
			}
			fmt.Fprintln(b.log, "limit", row)
			rows = append(rows, row)
		}
	}
	table(b.out, fmt.Sprintf("A download limit, over %v or more after %v", limitTime, limitRamp), rows)
	return nil
}

// limitOnce returns the rate between the first and the last progress that was reported
// while it was watched, and that last report.
func (b *bench) limitOnce(ctx context.Context, tor *fixture.Torrent, limit int64, seeds int, watch time.Duration) (last cli.Event, rate float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	dir, err := os.MkdirTemp(b.work, "leech")
	if err != nil {
		return last, 0, err
	}
	defer os.RemoveAll(dir)
	args := []string{"download", tor.Path, "-o", dir, "--state", dir + "/state", "--down-limit", strconv.FormatInt(limit, 10)}
	for range seeds {
		seed, err := hostile.Listen(tor, hostile.Honest())
		if err != nil {
			return last, 0, err
		}
		defer seed.Close()
		args = append(args, "--peer", seed.Addr())
	}
	run, err := ours{bin: b.causeway, work: b.work}.run(args...)
	if err != nil {
		return last, 0, err
	}
	defer run.Kill()
	if _, err := run.WaitEvent(ctx, "torrent"); err != nil {
		return last, 0, err
	}
	since := time.Now().Add(limitRamp)
	first, err := run.WaitFor(ctx, "progress", func(e cli.Event) bool { return e.Event == "progress" && e.Received.After(since) })
	if err != nil {
		return last, 0, err
	}
	until := first.Received.Add(watch)
	last, err = run.WaitFor(ctx, "progress", func(e cli.Event) bool { return e.Event == "progress" && e.Received.After(until) })
	if err != nil {
		return last, 0, err
	}
	return last, float64(last.Downloaded-first.Downloaded) / last.Time.Sub(first.Time).Seconds(), nil
}
