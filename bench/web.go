package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/path"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// webSize is how much goes over WebRTC in one run, unless -size says less.
const webSize = 256 << 20

const (
	// pageTimeout bounds one download by a page, which should take under half a minute.
	pageTimeout = 90 * time.Second

	// nodeRetries bounds the repetitions of a round in which webtorrent in Node got
	// stuck, as it does now and then.
	nodeRetries = 5
)

// overWeb makes a torrent for the sections that go over WebRTC, and runs one of them.
func (b *bench) overWeb(ctx context.Context, section func(context.Context, *fixture.Torrent) error) error {
	dir, err := b.scratch("web")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const pieceLength = 256 << 10 // what create-torrent takes for 256 MB
	tor, err := fixture.Make(dir, "content", []fixture.File{{Size: min(b.size, webSize)}}, fixture.Options{PieceLength: pieceLength})
	if err != nil {
		return err
	}
	return section(ctx, tor)
}

func (b *bench) page(ctx context.Context) error   { return b.overWeb(ctx, b.toPage) }
func (b *bench) native(ctx context.Context) error { return b.overWeb(ctx, b.nativeWeb) }
func (b *bench) crowd(ctx context.Context) error  { return b.overWeb(ctx, b.toCrowd) }

// webRun runs causeway with WebRTC as its only transport, and the tracker at a URL.
func (b *bench) webRun(at site, trackerURL string, args ...string) (*cli.Run, error) {
	state, err := os.MkdirTemp(b.work, "state")
	if err != nil {
		return nil, err
	}
	return cli.StartSpec(proc.Spec{
		Path: b.causeway, Command: at.exec(),
		Args: append(args, "--listen", at.ip(), "--port", "0", "--no-tcp", "--no-utp", "--no-dht", "--no-webrtc=false",
			"--stun", "stun:127.0.0.1:9", // nobody is there: the public ones are not asked
			"--tracker", trackerURL, "--state", state, "--json"),
		Env: cli.Isolated,
	})
}

// webSeed is causeway as a seeder that has announced.
func (b *bench) webSeed(ctx context.Context, at site, tor *fixture.Torrent, trackerURL string, flags ...string) (*proc.Process, error) {
	run, err := b.webRun(at, trackerURL, append([]string{"seed", tor.Path, "--data", tor.Dir}, flags...)...)
	if err != nil {
		return nil, err
	}
	if _, err := run.WaitFor(ctx, "the tracker's reply", func(e cli.Event) bool {
		return e.Event == "tracker" && e.State == "ok"
	}); err != nil {
		run.Kill()
		return nil, err
	}
	return run.Process, nil
}

// nodeSeed is webtorrent in Node as a seeder that has announced.
func (b *bench) nodeSeed(ctx context.Context, at site, tor *fixture.Torrent, m *meeting) (*proc.Process, error) {
	peer, err := realpeer.Launch(ctx, b.work, realpeer.Options{
		Program: realpeer.WebTorrent, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Trackers: []string{m.atA}, Command: at.exec(),
	})
	if err != nil {
		return nil, err
	}
	// It says "complete" first. A page that came between the two would get offers
	// while its own are being answered: webtorrent then drops both.
	if _, err := m.Announces.Wait(ctx, "webtorrent to announce its start", func(a realpeer.Announce) bool {
		return a.Event == "start"
	}); err != nil {
		peer.Kill()
		return nil, err
	}
	return peer.Process, nil
}

// pageSample is what a download by a page cost its seeder.
type pageSample struct {
	rate  float64 // MB/s by the page's clock, from the first block to the last piece
	cpu   float64 // processor seconds of the seeder, signalling included, per 10^9 bytes
	rss   float64 // peak of RssAnon, bytes
	first float64 // seconds from the page's first announce to its first block
}

// toPage measures one seeder and one page in Chromium.
func (b *bench) toPage(ctx context.Context, tor *fixture.Torrent) error {
	seeders := slices.DeleteFunc([]string{"node", "ours"}, func(who string) bool {
		return (who == "ours" && b.causeway == "") || (who != "node" && b.pairs != nil && !slices.Contains(b.pairs, who))
	})
	results := map[string][]pageSample{}
	for round := range b.runs + 1 {
		for _, who := range seeders {
			s, err := b.toPageOnce(ctx, tor, who, nil)
			for retry := 0; err != nil && ctx.Err() == nil && who == "node" && retry < nodeRetries; retry++ {
				fmt.Fprintf(b.log, "page round %d %s failed, again: %v\n", round, who, err)
				s, err = b.toPageOnce(ctx, tor, who, nil)
			}
			if err != nil {
				return fmt.Errorf("%s to a page: %w", who, err)
			}
			fmt.Fprintf(b.log, "page round %d %s: %.1f MB/s, %.1f CPU s/GB, %.0f MiB, first block after %.2f s\n",
				round, who, s.rate, s.cpu, s.rss/(1<<20), s.first)
			if round > 0 {
				results[who] = append(results[who], s)
			}
		}
	}
	rows := [][]string{{"seeder", "MB/s", "range", "x node", "CPU s/GB", "range", "x node", "RssAnon", "first data, s"}}
	for _, who := range seeders {
		of := func(who string, f func(pageSample) float64) []float64 { return column(results[who], f) }
		rate, cpu := func(s pageSample) float64 { return s.rate }, func(s pageSample) float64 { return s.cpu }
		rows = append(rows, []string{
			who,
			fmt.Sprintf("%.1f", median(of(who, rate))), spread(of(who, rate), "%.1f"), fmt.Sprintf("%.2f", median(of(who, rate))/median(of("node", rate))),
			fmt.Sprintf("%.1f", median(of(who, cpu))), spread(of(who, cpu), "%.1f"), fmt.Sprintf("%.2f", median(of(who, cpu))/median(of("node", cpu))),
			mib(median(of(who, func(s pageSample) float64 { return s.rss }))),
			fmt.Sprintf("%.2f", median(of(who, func(s pageSample) float64 { return s.first }))),
		})
	}
	table(b.out, fmt.Sprintf("%s to a page in Chromium, median of %d", mib(float64(tor.Size)), b.runs), rows)
	return nil
}

func column[S any](samples []S, f func(S) float64) []float64 {
	v := make([]float64, 0, len(samples))
	for _, s := range samples {
		v = append(v, f(s))
	}
	return v
}

// toPageOnce measures one download of a page from ours or node, over loopback or a path.
func (b *bench) toPageOnce(ctx context.Context, tor *fixture.Torrent, who string, over *path.Path) (pageSample, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	m, err := meet(ctx, over)
	if err != nil {
		return pageSample{}, err
	}
	defer m.Close()
	from, to := ends(over)
	var seed *proc.Process
	if who == "ours" {
		seed, err = b.webSeed(ctx, from, tor, m.atA)
	} else {
		seed, err = b.nodeSeed(ctx, from, tor, m)
	}
	if err != nil {
		return pageSample{}, err
	}
	defer seed.Stop()
	dir, err := os.MkdirTemp(b.work, "browser")
	if err != nil {
		return pageSample{}, err
	}
	defer os.RemoveAll(dir)
	before, err := seed.CPU()
	if err != nil {
		return pageSample{}, err
	}
	peaks := watchPeaks(seed)
	// Node's WebRTC resolves no mDNS names.
	browser, err := realpeer.LaunchBrowser(dir, realpeer.BrowserOptions{
		Browser: realpeer.Chromium, Torrent: tor.Path, Trackers: []string{m.atB}, SkipHash: true, ShowAddresses: true,
		Command: to.exec(), Listen: to.listen,
	})
	if err != nil {
		peaks()
		return pageSample{}, err
	}
	defer browser.Stop()
	complete, got, err := pageFinish(ctx, browser, tor.Size, over != nil)
	rss := peaks()
	if err != nil {
		return pageSample{}, err
	}
	after, err := seed.CPU()
	if err != nil {
		return pageSample{}, err
	}
	announced, err := browser.WaitPage(ctx, 0, "announced")
	if err != nil {
		return pageSample{}, err
	}
	first, err := browser.WaitPage(ctx, 0, "first block")
	if err != nil {
		return pageSample{}, err
	}
	const msPerSecond = float64(time.Second / time.Millisecond)
	return pageSample{
		rate: float64(got) / 1e6 / ((complete.MS - first.MS) / msPerSecond),
		cpu:  (after - before).Seconds() / (float64(got) / 1e9), rss: rss[0],
		first: (first.MS - announced.MS) / msPerSecond,
	}, nil
}

// pageFinish waits until a page has all, or, if it may be cut short, until that has taken
// long enough, and returns the event at the end and what had come.
func pageFinish(ctx context.Context, browser *realpeer.Browser, size int64, mayCut bool) (end realpeer.PageEvent, got int64, err error) {
	waiting, cancel := context.WithTimeout(ctx, cutAfter)
	defer cancel()
	if !mayCut {
		waiting = ctx
	}
	end, err = browser.WaitPage(waiting, 0, "complete")
	if err == nil || waiting.Err() == nil || ctx.Err() != nil {
		return end, size, err
	}
	for _, e := range browser.Events.All() {
		if e.Event == "status" {
			end = e
		}
	}
	if end.Downloaded == 0 {
		return end, 0, fmt.Errorf("nothing came in %v: %w", cutAfter, err)
	}
	return end, end.Downloaded, nil
}
