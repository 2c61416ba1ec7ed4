package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// nativeSample is what a transfer between two native programs cost.
type nativeSample struct {
	rate float64 // MB/s
	cpu  float64 // processor seconds of both, per 10^9 bytes
}

// nativeWeb measures causeway to causeway over WebRTC beside a bare data channel.
func (b *bench) nativeWeb(ctx context.Context, tor *fixture.Torrent) error {
	bare := filepath.Join(b.work, "barepion")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bare, "./bench/barepion").CombinedOutput(); err != nil {
		return fmt.Errorf("build barepion: %w\n%s", err, out)
	}
	kinds := []string{"bare pion"}
	if b.causeway != "" {
		kinds = append(kinds, "ours")
	}
	results := map[string][]nativeSample{}
	for round := range b.runs + 1 {
		for _, kind := range kinds {
			once := func(ctx context.Context) (nativeSample, error) { return bareOnce(ctx, bare, tor.Size) }
			if kind == "ours" {
				once = func(ctx context.Context) (nativeSample, error) { return b.nativeOnce(ctx, tor) }
			}
			run, cancel := context.WithTimeout(ctx, runTimeout)
			s, err := once(run)
			cancel()
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			fmt.Fprintf(b.log, "native round %d %s: %.1f MB/s, %.1f CPU s/GB\n", round, kind, s.rate, s.cpu)
			if round > 0 {
				results[kind] = append(results[kind], s)
			}
		}
	}
	rows := [][]string{{"both ends", "MB/s", "range", "x bare", "CPU s/GB", "range"}}
	for _, kind := range kinds {
		rates := func(kind string) []float64 {
			return column(results[kind], func(s nativeSample) float64 { return s.rate })
		}
		cpu := column(results[kind], func(s nativeSample) float64 { return s.cpu })
		rows = append(rows, []string{
			kind,
			fmt.Sprintf("%.1f", median(rates(kind))), spread(rates(kind), "%.1f"), fmt.Sprintf("%.2f", median(rates(kind))/median(rates("bare pion"))),
			fmt.Sprintf("%.1f", median(cpu)), spread(cpu, "%.1f"),
		})
	}
	table(b.out, fmt.Sprintf("%s over WebRTC between two programs, median of %d", mib(float64(tor.Size)), b.runs), rows)
	return nil
}

// nativeOnce has one causeway download from another, from the first progress that
// shows a connection until completion: that a torrent was found is not counted.
func (b *bench) nativeOnce(ctx context.Context, tor *fixture.Torrent) (nativeSample, error) {
	tracker, err := realpeer.LaunchWebTracker(ctx, 0)
	if err != nil {
		return nativeSample{}, err
	}
	defer tracker.Stop()
	seed, err := b.webSeed(ctx, site{}, tor, tracker.URL)
	if err != nil {
		return nativeSample{}, err
	}
	defer seed.Stop()
	dir, err := os.MkdirTemp(b.work, "leech")
	if err != nil {
		return nativeSample{}, err
	}
	defer os.RemoveAll(dir)
	before, err := seed.CPU()
	if err != nil {
		return nativeSample{}, err
	}
	leech, err := b.webRun(site{}, tracker.URL, "download", tor.Path, "-o", dir, "--seed")
	if err != nil {
		return nativeSample{}, err
	}
	defer leech.Stop()
	begun, err := firstBytes(ctx, leech)
	if err != nil {
		return nativeSample{}, err
	}
	if begun.Downloaded > tor.Size/2 {
		return nativeSample{}, fmt.Errorf("%d of %d bytes had come before the first report: measure with a larger -size", begun.Downloaded, tor.Size)
	}
	complete, err := leech.WaitEvent(ctx, "complete")
	if err != nil {
		return nativeSample{}, err
	}
	used := -before
	for _, p := range []*proc.Process{seed, leech.Process} {
		cpu, err := p.CPU()
		if err != nil {
			return nativeSample{}, err
		}
		used += cpu
	}
	if err := sameSize(tor, dir); err != nil {
		return nativeSample{}, err
	}
	return nativeSample{
		rate: float64(tor.Size-begun.Downloaded) / 1e6 / complete.Received.Sub(begun.Received).Seconds(),
		cpu:  used.Seconds() / (float64(tor.Size) / 1e9),
	}, nil
}

// firstBytes returns the first progress of a download that has anything.
func firstBytes(ctx context.Context, run *cli.Run) (cli.Event, error) {
	return run.WaitFor(ctx, "the first bytes", func(e cli.Event) bool {
		return e.Event == "progress" && e.Downloaded > 0
	})
}

// bareOnce sends as many bytes over a data channel with pion's default settings.
func bareOnce(ctx context.Context, bin string, size int64) (nativeSample, error) {
	var reports proc.Journal[bareReport]
	receiver, err := proc.Start(proc.Spec{
		Path: bin, Args: []string{"receive", strconv.FormatInt(size, 10)},
		OnLine: func(line []byte) {
			var r bareReport
			if json.Unmarshal(line, &r) == nil {
				reports.Add(r)
			}
		},
	})
	if err != nil {
		return nativeSample{}, err
	}
	defer receiver.Kill()
	listening, err := reports.Wait(ctx, "barepion to listen", func(r bareReport) bool { return r.Addr != "" })
	if err != nil {
		return nativeSample{}, err
	}
	sender, err := proc.Start(proc.Spec{Path: bin, Args: []string{"send", strconv.FormatInt(size, 10), listening.Addr}})
	if err != nil {
		return nativeSample{}, err
	}
	defer sender.Kill()
	done, err := reports.Wait(ctx, "barepion to have received all", func(r bareReport) bool { return r.Seconds > 0 })
	if err != nil {
		return nativeSample{}, fmt.Errorf("%w\n%s", err, sender.Output())
	}
	var used time.Duration
	for _, p := range []*proc.Process{receiver, sender} {
		cpu, err := p.CPU()
		if err != nil {
			return nativeSample{}, err
		}
		used += cpu
	}
	return nativeSample{
		rate: float64(size) / 1e6 / done.Seconds, cpu: used.Seconds() / (float64(size) / 1e9),
	}, nil
}

// bareReport is a line of barepion.
type bareReport struct {
	Addr    string  `json:"addr"`
	Seconds float64 `json:"seconds"`
}
