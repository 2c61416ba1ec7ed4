package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/relay"
)

const (
	linkRate = 12_500_000 // bytes per second: 100 Mbit/s
	linkSize = 64 << 20
)

// link measures how well a long link is filled, ramp included.
func (b *bench) link(ctx context.Context) error {
	pairs := b.selectPairs(pair{"lt", "lt"}, pair{"ours", "ours"}, pair{"lt", "ours"}, pair{"ours", "lt"})
	dir, err := b.scratch("link")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tor, err := fixture.Make(dir, "content", []fixture.File{{Size: linkSize}}, fixture.Options{})
	if err != nil {
		return err
	}
	rows := [][]string{{"seeder to leecher", "round trip", "MB/s", "range", "of the cap"}}
	for _, rtt := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond} {
		results := map[pair][]float64{}
		for round := range b.runs + 1 {
			for _, p := range pairs {
				rate, err := b.linkOnce(ctx, tor, p, rtt)
				if err != nil {
					return fmt.Errorf("seeder %s, leecher %s, %v: %w", p.seed, p.leech, rtt, err)
				}
				fmt.Fprintf(b.log, "link round %d %s %v: %.2f MB/s\n", round, p, rtt, rate)
				if round > 0 {
					results[p] = append(results[p], rate)
				}
			}
		}
		for _, p := range pairs {
			m := median(results[p])
			rows = append(rows, []string{
				p.seed + " to " + p.leech, rtt.String(), fmt.Sprintf("%.2f", m), spread(results[p], "%.2f"),
				fmt.Sprintf("%.0f %%", 100*m*1e6/linkRate),
			})
		}
	}
	title := fmt.Sprintf("%s over a link of %.1f MB/s, first block to last, median of %d", mib(linkSize), linkRate/1e6, b.runs)
	table(b.out, title, rows)
	return nil
}

// linkOnce returns the MB/s between the arrival of the first block and completion.
func (b *bench) linkOnce(ctx context.Context, tor *fixture.Torrent, p pair, rtt time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	seed, err := b.program(p.seed).seed(ctx, tor)
	if err != nil {
		return 0, err
	}
	defer seed.Stop()
	r, err := relay.Listen(seed.addr, relay.Config{Rate: linkRate, RTT: rtt})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	dir, err := os.MkdirTemp(b.work, "leech")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	leech, err := b.program(p.leech).leech(ctx, tor, dir, r.Addr())
	if err != nil {
		return 0, err
	}
	defer leech.Stop()
	end, err := leech.complete(ctx)
	if err != nil {
		return 0, err
	}
	begun := r.Down().Begun
	if begun.IsZero() {
		return 0, errors.New("the content did not come through the relay")
	}
	return float64(tor.Size-relay.FirstBlock) / 1e6 / end.Sub(begun).Seconds(), nil
}
