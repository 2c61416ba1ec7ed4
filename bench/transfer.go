package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/path"
	"github.com/causeway-bt/causeway/bench/proc"
)

// runTimeout bounds one transfer; the slowest should take seconds.
const runTimeout = 5 * time.Minute

// cutAfter is when a transfer through a path, which should take under a quarter of that, is
// judged by what has come.
const cutAfter = 60 * time.Second

// pair is a seeder and a leecher by name: "lt" or "ours".
type pair struct{ seed, leech string }

func (p pair) String() string { return p.seed + "-" + p.leech }

// sample is what one transfer cost.
type sample struct {
	rate              float64 // MB/s (10^6 bytes), from the leecher's begin, or the first block, to its completion
	cpu               float64 // processor seconds of both, per 10^9 bytes of content
	seedRSS, leechRSS float64 // peaks of RssAnon, bytes
}

func (b *bench) program(name string) program { return b.programAt(name, site{}) }

func (b *bench) programAt(name string, at site) program {
	if name == "ours" {
		return ours{bin: b.causeway, work: b.work, site: at}
	}
	return libtorrent{work: b.work, site: at}
}

// selectPairs returns the pairs to measure; lt-lt, the measure of the others, always.
func (b *bench) selectPairs(all ...pair) []pair {
	return slices.DeleteFunc(all, func(p pair) bool {
		if p == (pair{"lt", "lt"}) {
			return false
		}
		return b.causeway == "" || (b.pairs != nil && !slices.Contains(b.pairs, p.String()))
	})
}

// transfer measures one seeder and one leecher over loopback TCP.
func (b *bench) transfer(ctx context.Context) error {
	pairs := b.selectPairs(pair{"lt", "lt"}, pair{"ours", "ours"}, pair{"lt", "ours"}, pair{"ours", "lt"})
	if err := b.warmMemory(); err != nil {
		return err
	}
	dir, err := b.scratch("transfer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const pieceLength = 1 << 20 // usual for a torrent of gigabytes
	tor, err := fixture.Make(dir, "content", []fixture.File{{Size: b.size}}, fixture.Options{PieceLength: pieceLength})
	if err != nil {
		return err
	}
	results := map[pair][]sample{}
	for round := range b.runs + 1 {
		for _, p := range pairs {
			s, err := b.exchange(ctx, tor, b.program(p.seed), b.program(p.leech), nil)
			if err != nil {
				return fmt.Errorf("seeder %s, leecher %s: %w", p.seed, p.leech, err)
			}
			fmt.Fprintf(b.log, "transfer round %d %s: %.0f MB/s, %.2f CPU s/GB\n", round, p, s.rate, s.cpu)
			if round > 0 {
				results[p] = append(results[p], s)
			}
		}
	}
	b.transferTable(pairs, results)
	return nil
}

// exchange has one program download from another. On a path, the time before the first block
// does not count, and what takes too long is judged by what has come.
func (b *bench) exchange(ctx context.Context, tor *fixture.Torrent, from, to program, over *path.Path) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	seed, err := from.seed(ctx, tor)
	if err != nil {
		return sample{}, err
	}
	defer seed.Stop()
	dir, err := os.MkdirTemp(b.work, "leech")
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(dir)
	seedCPU, err := seed.CPU()
	if err != nil {
		return sample{}, err
	}
	if over != nil {
		over.Reset()
	}
	leech, err := to.leech(ctx, tor, dir, seed.addr)
	if err != nil {
		return sample{}, err
	}
	defer leech.Stop()
	leechCPU, err := leech.CPU()
	if err != nil {
		return sample{}, err
	}
	peaks := watchPeaks(seed.Process, leech.Process)
	end, got, err := leech.finish(ctx, tor.Size, over != nil)
	rss := peaks()
	if err != nil {
		return sample{}, err
	}
	used := -seedCPU - leechCPU
	for _, q := range []*party{seed, leech} {
		cpu, err := q.CPU()
		if err != nil {
			return sample{}, err
		}
		used += cpu
	}
	began, before := leech.began, int64(0)
	if over != nil {
		there, _ := over.Counters()
		began, before = there.Begun, path.FirstBlock
	}
	leech.Stop()
	if got == tor.Size {
		if err := sameSize(tor, dir); err != nil {
			return sample{}, err
		}
	}
	return sample{
		rate: float64(got-before) / 1e6 / end.Sub(began).Seconds(),
		cpu:  used.Seconds() / (float64(got) / 1e9), seedRSS: rss[0], leechRSS: rss[1],
	}, nil
}

// finish waits until all has come, or, if it may be cut short, until it has taken long
// enough, and returns when what came.
func (p *party) finish(ctx context.Context, size int64, mayCut bool) (end time.Time, got int64, err error) {
	waiting, cancel := context.WithTimeout(ctx, cutAfter)
	defer cancel()
	if !mayCut {
		waiting = ctx
	}
	end, err = p.complete(waiting)
	if err == nil {
		return end, size, nil
	}
	if waiting.Err() == nil || ctx.Err() != nil {
		return end, 0, err
	}
	got, end = p.downloaded()
	if got <= path.FirstBlock {
		return end, got, fmt.Errorf("nothing came in %v: %w", cutAfter, err)
	}
	return end, got, nil
}

// watchPeaks samples the memory of processes until the returned function is called,
// which gives the peaks in the order of the processes.
func watchPeaks(ps ...*proc.Process) func() []float64 {
	stop := make(chan struct{})
	peaks := make([]float64, len(ps))
	var wg sync.WaitGroup
	for i, p := range ps {
		wg.Go(func() { peaks[i] = float64(proc.Peak(p.PID(), stop)) })
	}
	return func() []float64 {
		close(stop)
		wg.Wait()
		return peaks
	}
}

// sameSize is a cheap check that something was downloaded: that it is right is for
// the tests to say, and comparing gigabytes would disturb the next run.
func sameSize(tor *fixture.Torrent, dir string) error {
	st, err := os.Stat(tor.FilePath(dir, 0))
	if err != nil {
		return err
	}
	if st.Size() != tor.Size {
		return fmt.Errorf("the leecher reported completion with %d of %d bytes", st.Size(), tor.Size)
	}
	return nil
}

func (b *bench) transferTable(pairs []pair, results map[pair][]sample) {
	title := fmt.Sprintf("%s over loopback TCP, median of %d", mib(float64(b.size)), b.runs)
	table(b.out, title, transferRows(pairs, results, 0))
}

// transferRows are the rows of a table of transfers, with their share of a cap if there is one.
func transferRows(pairs []pair, results map[pair][]sample, limit float64) [][]string {
	of := func(p pair, f func(sample) float64) []float64 { return column(results[p], f) }
	rate := func(s sample) float64 { return s.rate }
	cpu := func(s sample) float64 { return s.cpu }
	base := pair{"lt", "lt"}
	rows := [][]string{{"seeder to leecher", "MB/s", "range", "x lt", "CPU s/GB", "range", "x lt", "seeder RssAnon", "leecher RssAnon"}}
	for _, p := range pairs {
		r, c := of(p, rate), of(p, cpu)
		rows = append(rows, []string{
			p.seed + " to " + p.leech,
			fmt.Sprintf("%.3g", median(r)), spread(r, "%.3g"), fmt.Sprintf("%.2f", median(r)/median(of(base, rate))),
			fmt.Sprintf("%.2f", median(c)), spread(c, "%.2f"), fmt.Sprintf("%.2f", median(c)/median(of(base, cpu))),
			mib(median(of(p, func(s sample) float64 { return s.seedRSS }))),
			mib(median(of(p, func(s sample) float64 { return s.leechRSS }))),
		})
		if limit > 0 {
			rows[len(rows)-1] = append(rows[len(rows)-1], ofCap(median(r)*1e6, limit))
		}
	}
	if limit > 0 {
		rows[0] = append(rows[0], "of the cap")
	}
	return rows
}

// warmMemory writes and removes as much as a run will use at most: the first touch of
// a virtual machine's memory is slow, and would be charged to whoever comes first.
func (b *bench) warmMemory() error {
	path := filepath.Join(b.work, "warm")
	defer os.Remove(path)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for at := int64(0); at < 3*b.size; at += int64(len(buf)) {
		if _, err := f.Write(buf); err != nil {
			return fmt.Errorf("touch the memory: %w (is the tmpfs smaller than three times the size?)", err)
		}
	}
	return nil
}
