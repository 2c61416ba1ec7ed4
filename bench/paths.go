package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/path"
)

// pathRows are the paths of the table, of which nobody chose the figures: a fast line across
// a continent, clean and not, across an ocean, a home router, and reordering.
var pathRows = []row{
	{"clean", path.Config{Rate: pathRate, RTT: pathRTT}},
	{"loss-0.1", path.Config{Rate: pathRate, RTT: pathRTT, Loss: 0.001}},
	{"loss-0.5", path.Config{Rate: pathRate, RTT: pathRTT, Loss: 0.005}},
	{"long", path.Config{Rate: pathRate, RTT: 2 * pathRTT, Loss: 0.01}},
	{"router", path.Config{Rate: 2_500_000, RTT: 30 * time.Millisecond, Queue: time.Second}},
	{"reorder", path.Config{Rate: pathRate, RTT: pathRTT, Reorder: 0.01, Late: 5 * time.Millisecond}},
}

// The kinds of transfers through a path, which -pairs can choose.
const (
	kindPage   = "page"   // ours to a page in Chromium
	kindNode   = "node"   // webtorrent in Node to a page in Chromium
	kindNative = "native" // ours to ours over WebRTC
	kindTCP    = "tcp"    // ours to ours over the kernel's TCP
)

// pathSample is what a transfer through a path was like.
type pathSample struct {
	rate   float64 // MB/s, from the first block to the last
	cpu    float64 // processor seconds per 10^9 bytes, of the seeder and of a native leecher
	longer float64 // milliseconds by which the median of small packets took longer than on an empty path
	queue  float64 // milliseconds, the longest wait in the queue
}

// paths measures transfers to browsers and between programs at a distance.
func (b *bench) paths(ctx context.Context) error {
	if err := path.Available(); err != nil {
		return err
	}
	dir, err := b.scratch("paths")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const pieceLength = 256 << 10
	tor, err := fixture.Make(dir, "content", []fixture.File{{Size: min(b.size, pathSize)}}, fixture.Options{PieceLength: pieceLength})
	if err != nil {
		return err
	}
	if rows := wanted(b, pathRows); len(rows) > 0 {
		if err := b.pathTable(ctx, tor, rows); err != nil {
			return err
		}
	}
	if err := b.jain(ctx, tor); err != nil {
		return err
	}
	if err := b.share(ctx, tor); err != nil {
		return err
	}
	return b.senders(ctx, tor)
}

// pathKinds returns the kinds of transfers that are chosen and possible.
func (b *bench) pathKinds() []string {
	return slices.DeleteFunc([]string{kindPage, kindNode, kindNative, kindTCP}, func(kind string) bool {
		return b.causeway == "" && kind != kindNode || b.pairs != nil && !slices.Contains(b.pairs, kind)
	})
}

func (b *bench) pathTable(ctx context.Context, tor *fixture.Torrent, rows []row) error {
	congestion, err := path.Congestion()
	if err != nil {
		return err
	}
	names := map[string]string{
		kindPage: "ours to a Chromium page", kindNode: "Node webtorrent to the page",
		kindNative: "ours to ours, WebRTC", kindTCP: "ours to ours, TCP (" + congestion + ")",
	}
	for number, r := range rows {
		first := 1
		if number == 0 {
			first = 0 // warms up
		}
		results := map[string][]pathSample{}
		for round := first; round <= b.runs; round++ {
			for _, kind := range b.pathKinds() {
				s, err := b.overPathAgain(ctx, tor, kind, r)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", r.name, names[kind], err)
				}
				fmt.Fprintf(b.log, "paths %s round %d %s: %.2f MB/s, %.1f CPU s/GB, round trip %.0f ms longer, %.0f ms in the queue at most\n",
					r.name, round, kind, s.rate, s.cpu, s.longer, s.queue)
				if round > 0 {
					results[kind] = append(results[kind], s)
				}
			}
		}
		cells := [][]string{{"seeder to leecher", "MB/s", "range", "of the cap", "CPU s/GB", "round trip longer by, ms", "longest in the queue, ms"}}
		for _, kind := range b.pathKinds() {
			of := func(f func(pathSample) float64) []float64 { return column(results[kind], f) }
			rates := of(func(s pathSample) float64 { return s.rate })
			cells = append(cells, []string{
				names[kind], fmt.Sprintf("%.2f", median(rates)), spread(rates, "%.2f"), ofCap(median(rates)*1e6, r.Rate),
				fmt.Sprintf("%.1f", median(of(func(s pathSample) float64 { return s.cpu }))),
				fmt.Sprintf("%.0f", median(of(func(s pathSample) float64 { return s.longer }))),
				fmt.Sprintf("%.0f", median(of(func(s pathSample) float64 { return s.queue }))),
			})
		}
		table(b.out, fmt.Sprintf("%s through %v, first block to last or %v, median of %d", mib(float64(tor.Size)), r.Config, cutAfter, b.runs), cells)
	}
	return nil
}

// overPathAgain repeats what Node got stuck in.
func (b *bench) overPathAgain(ctx context.Context, tor *fixture.Torrent, kind string, r row) (s pathSample, err error) {
	s, err = b.overPath(ctx, tor, kind, r)
	for retry := 0; err != nil && ctx.Err() == nil && kind == kindNode && retry < nodeRetries; retry++ {
		fmt.Fprintf(b.log, "paths %s %s failed, again: %v\n", r.name, kind, err)
		s, err = b.overPath(ctx, tor, kind, r)
	}
	return s, err
}

// overPath has one transfer go through a path, and probes that meanwhile.
func (b *bench) overPath(ctx context.Context, tor *fixture.Torrent, kind string, r row) (s pathSample, err error) {
	over, err := path.New(ctx, r.Config)
	if err != nil {
		return s, err
	}
	defer over.Close()
	defer b.checkPath(over)
	probing, done := context.WithCancel(ctx)
	defer done()
	trips := make(chan []time.Duration, 1)
	go func() {
		if begun(probing, over) != nil {
			trips <- nil
			return
		}
		t, _ := over.Probe(probing, probeEvery) // what failed shows as none
		trips <- t
	}()
	from, to := ends(over)
	switch kind {
	case kindPage, kindNode:
		who := "ours"
		if kind == kindNode {
			who = "node"
		}
		var page pageSample
		page, err = b.toPageOnce(ctx, tor, who, over)
		s.rate, s.cpu = page.rate, page.cpu
	case kindNative, kindTCP:
		seed, leech := b.programAt("ours", from), b.programAt("ours", to)
		if kind == kindNative {
			m, err := meet(ctx, over)
			if err != nil {
				return s, err
			}
			defer m.Close()
			seed, leech = ourWeb{b, from, m.atA}, ourWeb{b, to, m.atB}
		}
		var t sample
		t, err = b.exchange(ctx, tor, seed, leech, over)
		s.rate, s.cpu = t.rate, t.cpu
	}
	done()
	s.longer = ms(quantile(<-trips, 0.5) - r.RTT)
	there, _ := over.Counters()
	s.queue = ms(there.Queued)
	return s, err
}

// ourWeb is causeway over WebRTC alone.
type ourWeb struct {
	b *bench
	site
	tracker string
}

func (w ourWeb) seed(ctx context.Context, t *fixture.Torrent) (*party, error) {
	p, err := w.b.webSeed(ctx, w.site, t, w.tracker)
	return &party{Process: p}, err
}

func (w ourWeb) leech(ctx context.Context, t *fixture.Torrent, dir, _ string) (*party, error) {
	return w.download(ctx, t.Path, dir)
}

// download begins to download a torrent or a magnet link.
func (w ourWeb) download(ctx context.Context, source, dir string) (*party, error) {
	run, err := w.b.webRun(w.site, w.tracker, "download", source, "-o", dir, "--seed")
	if err != nil {
		return nil, err
	}
	e, err := run.WaitEvent(ctx, "listening")
	if err != nil {
		run.Kill()
		return nil, err
	}
	p := &party{Process: run.Process, began: e.Received}
	p.follow(run)
	return p, nil
}
