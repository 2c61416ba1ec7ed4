package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

// trackerKind is one way to announce, and how many peers do.
type trackerKind struct {
	title    string
	args     []string // of the load program
	swarms   int
	trackers []string // that can do it
	// targets of announces per second: ours over each of the others.
	rate map[string]float64
	// perCPU are those of announces per second of processor time.
	perCPU map[string]float64
}

var allTrackers = []string{oursTracker, openTracker, referenceTracker}

// The swarms of 50 peers are as large as what an answer holds at most.
var trackerKinds = []trackerKind{
	{
		title: "UDP, 10,000 peers in 200 swarms, 50 wanted", args: []string{"-proto", "udp", "-peers", "50"}, swarms: 200,
		trackers: allTrackers, rate: map[string]float64{referenceTracker: 8}, perCPU: map[string]float64{openTracker: 1.2},
	},
	{
		title: "HTTP, 256 connections kept, 10,000 peers in 200 swarms, 50 wanted", args: []string{"-proto", "http", "-peers", "50"}, swarms: 200,
		trackers: []string{oursTracker, referenceTracker}, rate: map[string]float64{referenceTracker: 5},
	},
	{
		title: "HTTP, a connection for each announce, 64 at a time", args: []string{"-proto", "http-once", "-peers", "50", "-conns", "64"}, swarms: 200,
		trackers: allTrackers, rate: map[string]float64{referenceTracker: 5},
	},
	{
		title: "WebSocket, 1,000 connections in 50 swarms, five offers in each announce, all of them answered", args: []string{"-proto", "ws", "-peers", "20"}, swarms: 50,
		trackers: []string{oursTracker, referenceTracker}, rate: map[string]float64{referenceTracker: 4},
	},
}

// loadResult is what the load program reports.
type loadResult struct {
	Announces int     `json:"announces"`
	Seconds   float64 `json:"seconds"`
	Lost      int     `json:"lost"`
	Offers    int     `json:"offers"`
	Answers   int     `json:"answers"`
	Peers     int     `json:"peers"`
	ServerCPU float64 `json:"server_cpu"`
	Idle      float64 `json:"idle"`
	Before    int64   `json:"before"`
	After     int64   `json:"after"`
	Held      int     `json:"held"`
}

func (r loadResult) rate() float64   { return float64(r.Announces) / r.Seconds }
func (r loadResult) perCPU() float64 { return float64(r.Announces) / r.ServerCPU }

// tracker measures our tracker beside opentracker and bittorrent-tracker.
func (b *bench) tracker(ctx context.Context) error {
	b.trackerLoad = filepath.Join(b.work, "trackerload")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.trackerLoad, "./bench/trackerload").CombinedOutput(); err != nil {
		return fmt.Errorf("build trackerload: %w\n%s", err, out)
	}
	for _, kind := range trackerKinds {
		if err := b.trackerRate(ctx, kind); err != nil {
			return err
		}
	}
	if err := b.trackerMemory(ctx); err != nil {
		return err
	}
	return b.trackerHeld(ctx)
}

// present leaves out our own program where there is none.
func (b *bench) present(trackers []string) []string {
	return slices.DeleteFunc(slices.Clone(trackers), func(name string) bool { return name == oursTracker && b.causeway == "" })
}

// loadOnce starts a tracker, has the load program announce to it, and stops it.
func (b *bench) loadOnce(ctx context.Context, name string, swarms int, args ...string) (loadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	server, err := b.startTracker(ctx, name, swarms)
	if err != nil {
		return loadResult{}, err
	}
	defer server.Kill()
	var r loadResult
	path, all := onOthers(b.trackerLoad, append(args, "-addr", server.addr, "-pid", strconv.Itoa(server.PID()), "-swarms", strconv.Itoa(swarms))...)
	load, err := proc.Start(proc.Spec{Path: path, Args: all, OnLine: func(line []byte) { _ = json.Unmarshal(line, &r) }})
	if err != nil {
		return r, err
	}
	defer load.Kill()
	if err := load.Wait(ctx); err != nil {
		return r, fmt.Errorf("%s: %w\n%s\n%s", name, err, load.Output(), server.Output())
	}
	return r, nil
}

func (b *bench) trackerRate(ctx context.Context, kind trackerKind) error {
	trackers := b.present(kind.trackers)
	results := map[string][]loadResult{}
	for round := range b.runs + 1 {
		for _, name := range trackers {
			r, err := b.loadOnce(ctx, name, kind.swarms, kind.args...)
			if err != nil {
				return err
			}
			fmt.Fprintf(b.log, "%s, round %d of %d: %s: %.0f/s, %.0f per s of processor time, server busy %.0f %%, load idle %.0f %%, %d lost, per announce %.1f peers, %.2f offers, %.2f answers\n",
				kind.title, round, b.runs, name, r.rate(), r.perCPU(), 100*r.ServerCPU/r.Seconds, 100*r.Idle, r.Lost,
				float64(r.Peers)/float64(r.Announces), float64(r.Offers)/float64(r.Announces), float64(r.Answers)/float64(r.Announces))
			if round > 0 {
				results[name] = append(results[name], r)
			}
		}
	}
	kind.print(b, trackers, results)
	return nil
}

func (kind trackerKind) print(b *bench, trackers []string, results map[string][]loadResult) {
	value := func(name string, f func(loadResult) float64) float64 { return median(column(results[name], f)) }
	rows := [][]string{{"tracker", "announces/s", "range", "per s of its CPU", "range", "us each", "CPU busy", "load idle", "offers", "answers", "ours x, per s", "ours x, per CPU s"}}
	for _, name := range trackers {
		rates, per := column(results[name], loadResult.rate), column(results[name], loadResult.perCPU)
		ofAnnounce := func(f func(loadResult) int) string {
			return fmt.Sprintf("%.2f", value(name, func(r loadResult) float64 { return float64(f(r)) / float64(r.Announces) }))
		}
		rows = append(rows, []string{
			name, fmt.Sprintf("%.0f", median(rates)), spread(rates, "%.0f"), fmt.Sprintf("%.0f", median(per)), spread(per, "%.0f"),
			fmt.Sprintf("%.2f", 1e6/median(per)),
			fmt.Sprintf("%.0f %%", 100*value(name, func(r loadResult) float64 { return r.ServerCPU / r.Seconds })),
			fmt.Sprintf("%.0f %%", 100*value(name, func(r loadResult) float64 { return r.Idle })),
			ofAnnounce(func(r loadResult) int { return r.Offers }), ofAnnounce(func(r loadResult) int { return r.Answers }),
			against(value(oursTracker, loadResult.rate), median(rates), kind.rate[name]),
			against(value(oursTracker, loadResult.perCPU), median(per), kind.perCPU[name]),
		})
	}
	table(b.out, fmt.Sprintf("Announces over %s, median of %d", kind.title, b.runs), rows)
}

// against is a ratio, with its target if there is one.
func against(ours, theirs, target float64) string {
	if ours == 0 || theirs == 0 {
		return ""
	}
	text := fmt.Sprintf("%.2f", ours/theirs)
	if target > 0 {
		text += fmt.Sprintf(" (%g wanted)", target)
	}
	return text
}

// trackerMemory measures what a peer costs, ten in each swarm.
func (b *bench) trackerMemory(ctx context.Context) error {
	const each, most = 10, 3 // most: runs; memory hardly differs between them
	rows := [][]string{{"tracker", "peers", "swarms", "RssAnon MiB", "bytes each", "range"}}
	for _, size := range []struct {
		swarms   int
		trackers []string
	}{
		{100_000, []string{oursTracker, openTracker}},
		{10_000, []string{oursTracker, referenceTracker}},
	} {
		peers := size.swarms * each
		for _, name := range b.present(size.trackers) {
			var bytes, totals []float64
			for range min(b.runs, most) {
				r, err := b.loadOnce(ctx, name, size.swarms, "-proto", "udp", "-fill", "-peers", strconv.Itoa(each), "-sources", "1000")
				if err != nil {
					return err
				}
				// Those that were lost are not in the memory.
				bytes = append(bytes, float64(r.After-r.Before)/float64(peers-r.Lost))
				totals = append(totals, float64(r.After)/(1<<20))
				fmt.Fprintf(b.log, "memory of %s: %d peers, %d lost: %d -> %d bytes\n", name, peers, r.Lost, r.Before, r.After)
			}
			rows = append(rows, []string{
				name, strconv.Itoa(peers), strconv.Itoa(size.swarms), fmt.Sprintf("%.0f", median(totals)),
				fmt.Sprintf("%.0f", median(bytes)), spread(bytes, "%.0f"),
			})
		}
	}
	table(b.out, "Memory for a peer, announced once over UDP", rows)
	return nil
}

// heldTime is long enough for each connection to announce, and half of them twice.
const heldTime = 90 * time.Second

// trackerHeld measures what a WebSocket costs that announces once a minute. There are
// fewer where a process may not have so many files open.
func (b *bench) trackerHeld(ctx context.Context) error {
	const swarms, each = 1000, 20
	rows := [][]string{{"tracker", "connections", "announces", "not answered", "RssAnon MiB", "KiB each"}}
	for _, name := range b.present([]string{oursTracker, referenceTracker}) {
		r, err := b.loadOnce(ctx, name, swarms, "-proto", "ws", "-peers", strconv.Itoa(each), "-sources", "1000", "-hold", heldTime.String())
		if err != nil {
			return err
		}
		rows = append(rows, []string{
			name, strconv.Itoa(r.Held), strconv.Itoa(r.Announces), strconv.Itoa(r.Lost),
			fmt.Sprintf("%.0f", float64(r.After)/(1<<20)), fmt.Sprintf("%.2f", float64(r.After-r.Before)/float64(r.Held)/1024),
		})
	}
	table(b.out, fmt.Sprintf("WebSockets held for %v, announcing each minute", heldTime), rows)
	return nil
}
