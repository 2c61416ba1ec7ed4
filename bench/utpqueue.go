package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/path"
)

// What a queue is judged by: what is in it for a time after a ramp.
const (
	queueSize  = 512 << 20 // more than comes meanwhile
	queueRamp  = 5 * time.Second
	queueWatch = 20 * time.Second
	probeEvery = 20 * time.Millisecond
)

// besideTCP is the row in which a TCP flow shares the path, with the congestion control of
// the routers and phones out there.
const (
	besideTCP = "beside-tcp"
	neighbour = "cubic"
)

// utpQueueRows are the paths with a long queue, as of a home router.
var utpQueueRows = []row{
	{"alone", path.Config{Rate: pathRate, RTT: pathRTT, Queue: 200 * time.Millisecond}},
	{besideTCP, path.Config{Rate: pathRate, RTT: pathRTT, Queue: 200 * time.Millisecond}},
}

// queueSample is what a transfer did to the path.
type queueSample struct {
	rate, tcp float64 // MB/s of IP packets: of the transfer, and of the TCP flow beside it
	mean, max float64 // milliseconds in the queue
	ramp      float64 // the most during the ramp
	late      float64 // milliseconds by which 95 % of small packets took at most longer than on an empty path
}

func (b *bench) utpQueues(ctx context.Context, dir string) error {
	rows := wanted(b, utpQueueRows)
	if len(rows) == 0 {
		return nil
	}
	tor, err := fixture.Make(dir, "content", []fixture.File{{Size: queueSize}}, fixture.Options{})
	if err != nil {
		return err
	}
	pairs := b.selectPairs(pair{"lt", "lt"}, pair{"ours", "ours"})
	for _, r := range rows {
		results := map[pair][]queueSample{}
		for round := range b.runs { // no warm-up: they run for long
			for _, p := range pairs {
				s, err := b.queueOnce(ctx, tor, r, p)
				if err != nil {
					return fmt.Errorf("%s, seeder %s, leecher %s: %w", r.name, p.seed, p.leech, err)
				}
				fmt.Fprintf(b.log, "utp %s run %d %s: %.2f MB/s, TCP %.2f MB/s, in the queue %.0f ms on average and %.0f at most, %.0f in the ramp\n",
					r.name, round+1, p, s.rate, s.tcp, s.mean, s.max, s.ramp)
				results[p] = append(results[p], s)
			}
		}
		b.queueTable(r, pairs, results)
	}
	return nil
}

// queueOnce has one program download from another, without end, and looks at the path.
func (b *bench) queueOnce(ctx context.Context, tor *fixture.Torrent, r row, p pair) (s queueSample, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	over, err := path.New(ctx, r.Config)
	if err != nil {
		return s, err
	}
	defer over.Close()
	defer b.checkPath(over)
	seed, err := b.programAt(p.seed, site{over.A(), true}).seed(ctx, tor)
	if err != nil {
		return s, err
	}
	defer seed.Stop()
	dir, err := os.MkdirTemp(b.work, "leech")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	leech, err := b.programAt(p.leech, site{over.B(), true}).leech(ctx, tor, dir, seed.addr)
	if err != nil {
		return s, err
	}
	defer leech.Stop()
	if err := begun(ctx, over); err != nil {
		return s, err
	}
	var flow *path.Flow
	if r.name == besideTCP {
		if flow, err = over.Flow(neighbour); err != nil {
			return s, err
		}
		defer flow.Close()
	}
	return watchQueue(ctx, over, r.Config, flow, queueRamp, queueWatch)
}

// begun waits until content goes from A to B.
func begun(ctx context.Context, over *path.Path) error {
	for {
		if there, _ := over.Counters(); !there.Begun.IsZero() {
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the first block: %w", err)
		}
	}
}

// watchQueue looks at a path after a ramp.
func watchQueue(ctx context.Context, over *path.Path, c path.Config, flow *path.Flow, ramp, watch time.Duration) (s queueSample, err error) {
	if err := sleep(ctx, ramp); err != nil {
		return s, err
	}
	there, _ := over.Counters()
	s.ramp = ms(there.Queued)
	over.Reset()
	before, start := flow.Received(), time.Now()
	probing, done := context.WithTimeout(ctx, watch)
	defer done()
	trips, err := over.Probe(probing, probeEvery)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return s, err
	}
	took := time.Since(start).Seconds()
	there, _ = over.Counters()
	const withHeaders = 1500. / 1448 // of a whole segment with time stamps
	s.tcp = float64(flow.Received()-before) * withHeaders / 1e6 / took
	s.rate = float64(there.Bytes)/1e6/took - s.tcp
	s.mean = ms(there.Waited) / float64(max(1, there.Packets))
	s.max = ms(there.Queued)
	s.late = ms(quantile(trips, 0.95) - c.RTT)
	return s, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile returns the value below which that share is, 0 for none.
func quantile(v []time.Duration, share float64) time.Duration {
	if len(v) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(v))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func (b *bench) queueTable(r row, pairs []pair, results map[pair][]queueSample) {
	head := []string{"seeder to leecher", "of the cap", "in the queue, mean, ms", "longest", "longest in the ramp", "95 % of pings longer by, ms"}
	title := fmt.Sprintf("uTP alone on %v, for %v after %v, median of %d", r.Config, queueWatch, queueRamp, b.runs)
	if r.name == besideTCP {
		head = append(head, "TCP, of the cap", "range")
		title = fmt.Sprintf("uTP beside one %s TCP flow on %v, for %v after %v, median of %d", neighbour, r.Config, queueWatch, queueRamp, b.runs)
	}
	rows := [][]string{head}
	for _, p := range pairs {
		of := func(f func(queueSample) float64) []float64 { return column(results[p], f) }
		number := func(f func(queueSample) float64) string { return fmt.Sprintf("%.0f", median(of(f))) }
		cells := []string{
			p.seed + " to " + p.leech, ofCap(1e6*median(of(func(s queueSample) float64 { return s.rate })), r.Rate),
			number(func(s queueSample) float64 { return s.mean }), number(func(s queueSample) float64 { return s.max }),
			number(func(s queueSample) float64 { return s.ramp }), number(func(s queueSample) float64 { return s.late }),
		}
		if r.name == besideTCP {
			share := of(func(s queueSample) float64 { return 100 * s.tcp * 1e6 / r.Rate })
			cells = append(cells, fmt.Sprintf("%.0f %%", median(share)), spread(share, "%.0f"))
		}
		rows = append(rows, cells)
	}
	table(b.out, title, rows)
}
