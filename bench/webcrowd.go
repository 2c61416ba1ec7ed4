package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/path"
	"github.com/causeway-bt/causeway/bench/webpeer"
)

const (
	crowdSize   = 30
	crowdWindow = 256 // blocks that a leech has asked for, 4 MiB
	crowdSettle = 2 * time.Second
	crowdWatch  = 10 * time.Second
)

// crowdSample is what some leeches at once got from one seeder.
type crowdSample struct {
	rate float64 // MB/s of all
	jain float64 // Jain's fairness index of their rates: 1 is equal, 1/n is all to one
	rss  float64 // peak of the seeder's RssAnon, bytes
	cpu  float64 // processor seconds of the seeder per 10^9 bytes
}

// toCrowd measures one seeder and thirty native leeches over WebRTC, beside one leech.
// They live in this process and drop what they get, so that the seeder is measured
// and not their disks; and they know nobody else.
func (b *bench) toCrowd(ctx context.Context, tor *fixture.Torrent) error {
	if b.causeway == "" {
		return nil
	}
	sizes := []int{1, crowdSize}
	results := map[int][]crowdSample{}
	for round := range b.runs + 1 {
		for _, n := range sizes {
			run, cancel := context.WithTimeout(ctx, runTimeout)
			s, err := b.crowdOnce(run, tor, n, nil, crowdSettle, crowdWatch)
			cancel()
			if err != nil {
				return fmt.Errorf("%d leeches: %w", n, err)
			}
			fmt.Fprintf(b.log, "crowd round %d of %d: %.1f MB/s, Jain %.3f, %.0f MiB, %.1f CPU s/GB\n", round, n, s.rate, s.jain, s.rss/(1<<20), s.cpu)
			if round > 0 {
				results[n] = append(results[n], s)
			}
		}
	}
	rows := [][]string{{"leeches", "MB/s of all", "range", "x one", "Jain's index", "lowest", "seeder RssAnon", "seeder CPU s/GB"}}
	for _, n := range sizes {
		rates := func(n int) []float64 { return column(results[n], func(s crowdSample) float64 { return s.rate }) }
		jain := column(results[n], func(s crowdSample) float64 { return s.jain })
		rows = append(rows, []string{
			fmt.Sprint(n), fmt.Sprintf("%.1f", median(rates(n))), spread(rates(n), "%.1f"), fmt.Sprintf("%.2f", median(rates(n))/median(rates(1))),
			fmt.Sprintf("%.3f", median(jain)), fmt.Sprintf("%.3f", slices.Min(jain)),
			mib(median(column(results[n], func(s crowdSample) float64 { return s.rss }))),
			fmt.Sprintf("%.1f", median(column(results[n], func(s crowdSample) float64 { return s.cpu }))),
		})
	}
	table(b.out, fmt.Sprintf("One seeder, native WebRTC leeches, %v, median of %d", crowdWatch, b.runs), rows)
	return nil
}

// crowdOnce measures one seeder and n leeches, over loopback or a path, for a time after
// another.
func (b *bench) crowdOnce(ctx context.Context, tor *fixture.Torrent, n int, over *path.Path, settle, watch time.Duration) (crowdSample, error) {
	tracker := webpeer.Listen()
	defer tracker.Close()
	from, to := ends(over)
	url, away, err := from.reach(tracker.URL)
	if err != nil {
		return crowdSample{}, err
	}
	defer away()
	slots := fmt.Sprint(crowdSize + 2) // with fewer, peers take turns, and a short run shows that as unfair
	seed, err := b.webSeed(ctx, from, tor, url, "--slots", slots, "--web-slots", slots)
	if err != nil {
		return crowdSample{}, err
	}
	defer seed.Stop()
	var leeches []*webpeer.Leech
	for i := range n {
		leech, closer, err := newLeech(ctx, to, tracker, tor, i)
		if err != nil {
			return crowdSample{}, fmt.Errorf("connect leech %d: %w", i, err)
		}
		defer closer.Close()
		leeches = append(leeches, leech)
		go func() { _ = leech.Run(crowdWindow) }() // until it is closed
	}
	if err := sleep(ctx, settle); err != nil {
		return crowdSample{}, err
	}
	received := func() (v []float64) {
		return column(leeches, func(l *webpeer.Leech) float64 { return float64(l.Received()) })
	}
	cpu, err := seed.CPU()
	if err != nil {
		return crowdSample{}, err
	}
	peaks := watchPeaks(seed)
	before, start := received(), time.Now()
	err = sleep(ctx, watch)
	after, took := received(), time.Since(start)
	rss := peaks()
	if err != nil {
		return crowdSample{}, err
	}
	used, err := seed.CPU()
	if err != nil {
		return crowdSample{}, err
	}
	var sum, squares float64
	for i := range after {
		got := after[i] - before[i]
		sum += got
		squares += got * got
	}
	return crowdSample{
		rate: sum / 1e6 / took.Seconds(), jain: sum * sum / (float64(n) * squares), rss: rss[0],
		cpu: (used - cpu).Seconds() / (sum / 1e9),
	}, nil
}

// newLeech connects a leech over a socket of its own, which the caller closes.
func newLeech(ctx context.Context, at site, tracker *webpeer.Tracker, tor *fixture.Torrent, number int) (*webpeer.Leech, io.Closer, error) {
	transport, err := at.transport()
	if err != nil {
		return nil, nil, err
	}
	conn, err := tracker.Connect(ctx, transport, tor.InfoHash, number)
	if err != nil {
		transport.Close()
		return nil, nil, err
	}
	leech, err := webpeer.NewLeech(conn, tor.Size, tor.PieceLength)
	if err != nil {
		transport.Close()
		return nil, nil, err
	}
	return leech, transport, nil
}
