package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/path"
)

// utpLoopbackSize is how much goes over loopback, unless -size says less.
const utpLoopbackSize = 256 << 20

const loopbackRow = "loopback"

// utpRows are the paths through which uTP transfers.
var utpRows = []row{
	{"50ms", path.Config{Rate: pathRate, RTT: pathRTT}},
	{"100ms", path.Config{Rate: pathRate, RTT: 2 * pathRTT}},
	{"lossy", path.Config{Rate: pathRate, RTT: pathRTT, Loss: 0.005}},
}

// utp measures uTP alone, beside libtorrent's: over loopback, through paths, and what it does
// to others on them.
func (b *bench) utp(ctx context.Context) error {
	dir, err := b.scratch("utp")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if b.wants(loopbackRow) {
		if err := b.utpTransfers(ctx, dir, row{name: loopbackRow}, min(b.size, utpLoopbackSize)); err != nil {
			return err
		}
	}
	if err := path.Available(); err != nil {
		rows := append(wanted(b, utpRows), wanted(b, utpQueueRows)...)
		fmt.Fprintf(b.log, "utp: skipped %s: %v\n", strings.Join(names(rows), ", "), err)
		return nil
	}
	for _, r := range wanted(b, utpRows) {
		if err := b.utpTransfers(ctx, dir, r, min(b.size, pathSize)); err != nil {
			return err
		}
	}
	return b.utpQueues(ctx, dir)
}

// utpTransfers measures one row: over loopback where it has no path.
func (b *bench) utpTransfers(ctx context.Context, dir string, r row, size int64) error {
	tor, err := fixture.Make(dir, "content", []fixture.File{{Size: size}}, fixture.Options{})
	if err != nil {
		return err
	}
	pairs := b.selectPairs(pair{"lt", "lt"}, pair{"ours", "ours"}, pair{"lt", "ours"}, pair{"ours", "lt"})
	results := map[pair][]sample{}
	for round := range b.runs + 1 {
		for _, p := range pairs {
			s, err := b.utpOnce(ctx, tor, r, p)
			if err != nil {
				return fmt.Errorf("%s, seeder %s, leecher %s: %w", r.name, p.seed, p.leech, err)
			}
			fmt.Fprintf(b.log, "utp %s round %d %s: %.2f MB/s, %.2f CPU s/GB\n", r.name, round, p, s.rate, s.cpu)
			if round > 0 {
				results[p] = append(results[p], s)
			}
		}
	}
	title := fmt.Sprintf("uTP, %s over loopback, median of %d", mib(float64(size)), b.runs)
	if r.Rate > 0 {
		title = fmt.Sprintf("uTP, %s through %v, first block to last, median of %d", mib(float64(size)), r.Config, b.runs)
	}
	table(b.out, title, transferRows(pairs, results, r.Rate))
	return nil
}

func (b *bench) utpOnce(ctx context.Context, tor *fixture.Torrent, r row, p pair) (sample, error) {
	if r.Rate == 0 {
		return b.exchange(ctx, tor, b.programAt(p.seed, site{utp: true}), b.programAt(p.leech, site{utp: true}), nil)
	}
	over, err := path.New(ctx, r.Config)
	if err != nil {
		return sample{}, err
	}
	defer over.Close()
	defer b.checkPath(over)
	return b.exchange(ctx, tor, b.programAt(p.seed, site{over.A(), true}), b.programAt(p.leech, site{over.B(), true}), over)
}
