package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/path"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/bench/webpeer"
)

// How long connections have to find their shares, and how long these are looked at.
const (
	fairRamp  = 10 * time.Second
	jainWatch = 20 * time.Second
	fairWatch = 30 * time.Second
)

// jainRow is a path that some connections of our own share.
type jainRow struct {
	row
	leeches int
}

var jainRows = []jainRow{
	{row{"two", path.Config{Rate: pathRate, RTT: pathRTT}}, 2},
	{row{"eight", path.Config{Rate: pathRate, RTT: pathRTT}}, 8},
}

// shareRow is the path that one connection of ours shares with one TCP flow.
var shareRow = row{"share", path.Config{Rate: pathRate, RTT: pathRTT}}

// jain measures how evenly native leeches over WebRTC share a path.
func (b *bench) jain(ctx context.Context, tor *fixture.Torrent) error {
	rows := wanted(b, jainRows)
	if len(rows) == 0 || b.causeway == "" {
		return nil
	}
	cells := [][]string{{"connections", "MB/s of all", "range", "of the cap", "Jain's index", "lowest"}}
	for _, r := range rows {
		var samples []crowdSample
		for round := range b.runs { // no warm-up: they run for long
			s, err := b.jainOnce(ctx, tor, r)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			fmt.Fprintf(b.log, "paths %s run %d: %.2f MB/s, Jain %.3f\n", r.name, round+1, s.rate, s.jain)
			samples = append(samples, s)
		}
		rates := column(samples, func(s crowdSample) float64 { return s.rate })
		index := column(samples, func(s crowdSample) float64 { return s.jain })
		cells = append(cells, []string{
			fmt.Sprint(r.leeches), fmt.Sprintf("%.2f", median(rates)), spread(rates, "%.2f"), ofCap(median(rates)*1e6, r.Rate),
			fmt.Sprintf("%.3f", median(index)), fmt.Sprintf("%.3f", slices.Min(index)),
		})
	}
	table(b.out, fmt.Sprintf("One seeder, native WebRTC leeches through %v, for %v after %v, median of %d", rows[0].Config, jainWatch, fairRamp, b.runs), cells)
	return nil
}

func (b *bench) jainOnce(ctx context.Context, tor *fixture.Torrent, r jainRow) (crowdSample, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	over, err := path.New(ctx, r.Config)
	if err != nil {
		return crowdSample{}, err
	}
	defer over.Close()
	defer b.checkPath(over)
	return b.crowdOnce(ctx, tor, r.leeches, over, fairRamp, jainWatch)
}

// share measures one WebRTC connection beside one flow of the kernel's TCP.
func (b *bench) share(ctx context.Context, tor *fixture.Torrent) error {
	if !b.wants(shareRow.name) || b.causeway == "" {
		return nil
	}
	var samples []queueSample
	for round := range b.runs { // no warm-up: they run for long
		s, err := b.shareOnce(ctx, tor)
		if err != nil {
			return fmt.Errorf("%s: %w", shareRow.name, err)
		}
		fmt.Fprintf(b.log, "paths %s run %d: ours %.2f MB/s, TCP %.2f MB/s\n", shareRow.name, round+1, s.rate, s.tcp)
		samples = append(samples, s)
	}
	of := func(f func(queueSample) float64) (string, string) {
		v := column(samples, f)
		return fmt.Sprintf("%.0f %%", median(v)), spread(v, "%.0f")
	}
	all, _ := of(func(s queueSample) float64 { return 100 * (s.rate + s.tcp) * 1e6 / shareRow.Rate })
	mine, mineRange := of(func(s queueSample) float64 { return 100 * s.rate / (s.rate + s.tcp) })
	table(b.out, fmt.Sprintf("One WebRTC connection beside one %s TCP flow on %v, for %v after %v, median of %d", neighbour, shareRow.Config, fairWatch, fairRamp, b.runs),
		[][]string{{"both, of the cap", "share of ours", "range"}, {all, mine, mineRange}})
	return nil
}

func (b *bench) shareOnce(ctx context.Context, tor *fixture.Torrent) (s queueSample, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	over, err := path.New(ctx, shareRow.Config)
	if err != nil {
		return s, err
	}
	defer over.Close()
	defer b.checkPath(over)
	tracker := webpeer.Listen()
	defer tracker.Close()
	from, to := ends(over)
	url, away, err := from.reach(tracker.URL)
	if err != nil {
		return s, err
	}
	defer away()
	seed, err := b.webSeed(ctx, from, tor, url)
	if err != nil {
		return s, err
	}
	defer seed.Stop()
	leech, closer, err := newLeech(ctx, to, tracker, tor, 0)
	if err != nil {
		return s, err
	}
	defer closer.Close()
	flow, err := over.Flow(neighbour)
	if err != nil {
		return s, err
	}
	defer flow.Close()
	go func() { _ = leech.Run(crowdWindow) }() // until it is closed
	return watchQueue(ctx, over, shareRow.Config, flow, fairRamp, fairWatch)
}

// senderRow is a path through which a page seeds.
type senderRow struct {
	row
	browser realpeer.Program
}

var senderRows = []senderRow{
	{row{"chromium-sends", path.Config{Rate: pathRate, RTT: pathRTT, Loss: 0.005}}, realpeer.Chromium},
	{row{"firefox-sends", path.Config{Rate: pathRate, RTT: pathRTT, Loss: 0.005}}, realpeer.Firefox},
}

// senders measures what we get of pages that seed.
func (b *bench) senders(ctx context.Context, tor *fixture.Torrent) error {
	rows := wanted(b, senderRows)
	if len(rows) == 0 || b.causeway == "" {
		return nil
	}
	cells := [][]string{{"path", "from a page in", "MB/s", "range", "of the cap"}}
	for _, r := range rows {
		var rates []float64
		for round := range b.runs {
			rate, err := b.senderOnce(ctx, tor, r)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			fmt.Fprintf(b.log, "paths %s run %d: %.2f MB/s\n", r.name, round+1, rate)
			rates = append(rates, rate)
		}
		cells = append(cells, []string{r.String(), string(r.browser), fmt.Sprintf("%.2f", median(rates)), spread(rates, "%.2f"), ofCap(median(rates)*1e6, r.Rate)})
	}
	table(b.out, fmt.Sprintf("%s from a page to us, first block to last, or what came in %v, median of %d", mib(float64(tor.Size)), cutAfter, b.runs), cells)
	return nil
}

func (b *bench) senderOnce(ctx context.Context, tor *fixture.Torrent, r senderRow) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	over, err := path.New(ctx, r.Config)
	if err != nil {
		return 0, err
	}
	defer over.Close()
	defer b.checkPath(over)
	m, err := meet(ctx, over)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	from, to := ends(over)
	dir, err := os.MkdirTemp(b.work, "browser")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	browser, err := realpeer.LaunchBrowser(dir, realpeer.BrowserOptions{
		Browser: r.browser, Seed: tor.FilePath(tor.Dir, 0), Trackers: []string{m.atA}, SkipHash: true, ShowAddresses: true,
		Command: from.exec(), Listen: from.listen,
	})
	if err != nil {
		return 0, err
	}
	defer browser.Stop()
	seeding, err := browser.WaitPage(ctx, 0, "seeding")
	if err != nil {
		return 0, err
	}
	if _, err := m.Announces.Wait(ctx, "the page to announce its start", func(a realpeer.Announce) bool { return a.Event == "start" }); err != nil {
		return 0, err
	}
	over.Reset()
	leech, err := ourWeb{b, to, m.atB}.download(ctx, seeding.Magnet, filepath.Join(dir, "content"))
	if err != nil {
		return 0, err
	}
	defer leech.Stop()
	end, got, err := leech.finish(ctx, tor.Size, true)
	if err != nil {
		return 0, err
	}
	there, _ := over.Counters()
	return float64(got-path.FirstBlock) / 1e6 / end.Sub(there.Begun).Seconds(), nil
}
