package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/anacrolix/dht/v2"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/webpeer"
)

const (
	idleTorrents = 1000
	idleSettle   = 15 * time.Second // until start-up has ended and its memory is given back
	idleWatch    = 30 * time.Second
	// announceSettle is as long as it takes to announce all of them to a DHT.
	announceSettle = 4 * time.Minute
)

// idle measures what a thousand seeding torrents cost while nobody wants them.
func (b *bench) idle(ctx context.Context) error {
	if b.causeway == "" {
		return nil
	}
	const fileSize = 256 << 10
	dir, err := b.scratch("idle")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	args := []string{
		"seed", "--data", filepath.Join(dir, "data"), "--state", filepath.Join(dir, "state"),
		"--quiet", "--listen", "127.0.0.1", "--port", "0",
	}
	for i := range idleTorrents {
		t, err := fixture.Make(dir, fmt.Sprintf("torrent-%04d", i), []fixture.File{{Size: fileSize}}, fixture.Options{
			PieceLength: 64 << 10, Seed: uint64(i),
		})
		if err != nil {
			return err
		}
		args = append(args, t.Path)
	}
	httpTracker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "d8:intervali1800e5:peers0:e")
	}))
	defer httpTracker.Close()
	webTracker := webpeer.Listen()
	defer webTracker.Close()
	node, err := listenDHT()
	if err != nil {
		return err
	}
	defer node.Close()
	rows := [][]string{{"discovery", "torrents", "RssAnon", "CPU in " + idleWatch.String()}}
	for _, way := range []struct {
		name   string
		settle time.Duration
		args   []string
	}{
		{"none", idleSettle, []string{"--no-dht", "--no-trackers"}},
		{"DHT, HTTP and WebSocket trackers", announceSettle, []string{
			"--dht-bootstrap", node.Addr().String(), "--no-webrtc=false", "--stun", "stun:127.0.0.1:9",
			"--tracker", httpTracker.URL + "/announce", "--tracker", webTracker.URL,
		}},
	} {
		rss, cpu, err := b.idleRun(ctx, slices.Concat(args, way.args), way.settle)
		if err != nil {
			return err
		}
		rows = append(rows, []string{way.name, fmt.Sprint(idleTorrents), mib(float64(rss)), cpu.String()})
	}
	table(b.out, "Idle seeding", rows)
	return nil
}

// listenDHT is a DHT node for others to start from, which knows nobody.
func listenDHT() (*dht.Server, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	config := dht.NewDefaultServerConfig()
	config.Conn = conn
	config.StartingNodes = func() ([]dht.Addr, error) { return nil, nil }
	return dht.NewServer(config)
}

// idleRun returns what a run that seeds all of the torrents uses once it has settled.
// It is not told --json, which writes a line per torrent and second: that is no idling.
func (b *bench) idleRun(ctx context.Context, args []string, settle time.Duration) (rss int64, cpu time.Duration, err error) {
	var links atomic.Int64
	all := make(chan struct{})
	run, err := proc.Start(proc.Spec{
		Path: b.causeway, Env: cli.Isolated, Args: args,
		OnLine: func(line []byte) {
			if bytes.HasPrefix(line, []byte("magnet:")) && links.Add(1) == idleTorrents {
				close(all)
			}
		},
	})
	if err != nil {
		return 0, 0, err
	}
	defer run.Stop()
	select {
	case <-all:
	case <-run.Done():
		return 0, 0, fmt.Errorf("causeway ended:\n%s", run.Output())
	case <-time.After(runTimeout):
		return 0, 0, fmt.Errorf("%d of %d torrents seed after %v", links.Load(), idleTorrents, runTimeout)
	}
	if err := sleep(ctx, settle); err != nil {
		return 0, 0, err
	}
	before, err := run.CPU()
	if err != nil {
		return 0, 0, err
	}
	if err := sleep(ctx, idleWatch); err != nil {
		return 0, 0, err
	}
	after, err := run.CPU()
	if err != nil {
		return 0, 0, err
	}
	rss, err = proc.RssAnon(run.PID())
	return rss, after - before, err
}

// restart measures how long it takes until finished data is seeded again.
func (b *bench) restart(ctx context.Context) error {
	if b.causeway == "" {
		return nil
	}
	const size = 10 << 30
	dir, err := b.scratch("restart")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tor, err := fixture.Make(dir, "content", []fixture.File{{Size: size, Sparse: true}}, fixture.Options{PieceLength: 4 << 20})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	state := filepath.Join(dir, "state")
	var took, used []float64
	for round := range b.runs + 1 {
		start := time.Now()
		run, err := ours{bin: b.causeway}.run("seed", tor.Path, "--data", tor.Dir, "--state", state)
		if err != nil {
			return err
		}
		e, err := run.WaitEvent(ctx, "seeding")
		if err != nil {
			run.Stop()
			return err
		}
		cpu, err := run.CPU()
		if err == nil {
			err = run.Interrupt()
		}
		if err == nil {
			err = ignoreExit(run.Wait(ctx))
		}
		run.Stop()
		if err != nil {
			return err
		}
		fmt.Fprintf(b.log, "restart round %d: %v, CPU %v\n", round, e.Received.Sub(start), cpu)
		if round > 0 { // the first had to hash it all
			took = append(took, e.Received.Sub(start).Seconds())
			used = append(used, cpu.Seconds())
		}
	}
	table(b.out, fmt.Sprintf("Starting again on 10 GiB of finished data, median of %d", b.runs), [][]string{
		{"what", "seconds", "range"},
		{"start of the program to seeding", fmt.Sprintf("%.3f", median(took)), spread(took, "%.3f")},
		{"processor time of it", fmt.Sprintf("%.3f", median(used)), spread(used, "%.3f")},
	})
	return nil
}

// ignoreExit forgets an exit status: an interrupted causeway ends with 130.
func ignoreExit(err error) error {
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
