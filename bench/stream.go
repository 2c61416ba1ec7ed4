package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/bench/relay"
)

const (
	streamSize   = 98_000_000 // bytes of the film
	streamPieces = 512 << 10
	streamRate   = 2_000_000 // bytes per second, of all seeders together
	// streamRTT is that of a local network: what is measured is how what a player
	// wants comes before all else, not how a long link is filled.
	streamRTT = time.Millisecond
	// parts is how many seeders share the rate where there are several.
	parts = 4
)

// swarm is where the film comes from.
type swarm struct {
	name    string
	seeders int
	rate    int64 // bytes per second, of each
	stalled int   // of the seeders, those that take requests and answer none
}

var (
	oneSeeder   = swarm{name: "one seeder of 2 MB/s", seeders: 1, rate: streamRate}
	fourSeeders = swarm{name: "four of 0.5 MB/s", seeders: parts, rate: streamRate / parts}
	oneStalled  = swarm{name: "one of them stalled", seeders: parts, rate: streamRate / parts, stalled: 1}
)

// streamer is a program that serves a torrent's file over HTTP.
type streamer struct {
	name string
	// start runs it with the film in dir, what else it keeps in state, and HTTP at the port.
	start func(tor *fixture.Torrent, dir, state string, port int, peers []string) (*proc.Process, error)
	url   func(tor *fixture.Torrent, port int) string
}

// stream measures how soon a player gets what it asks for.
func (b *bench) stream(ctx context.Context) error { return b.withFilm(ctx, b.streamStart) }

// finished measures how a file that is all there is sent.
func (b *bench) finished(ctx context.Context) error { return b.withFilm(ctx, b.streamFinished) }

// withFilm makes a film for one section.
func (b *bench) withFilm(ctx context.Context, section func(context.Context, *fixture.Torrent) error) error {
	dir, err := b.scratch("stream")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tor, err := fixture.Make(dir, "film.mp4", []fixture.File{{Size: streamSize}}, fixture.Options{PieceLength: streamPieces})
	if err != nil {
		return err
	}
	return section(ctx, tor)
}

// streamers returns the programs that are there to be measured.
func (b *bench) streamers() ([]streamer, error) {
	var all []streamer
	if b.causeway != "" {
		all = append(all, b.causewayStreamer())
	}
	flix, err := peerflix()
	if err != nil {
		return nil, err
	}
	return append(all, flix), nil
}

func (b *bench) causewayStreamer() streamer {
	return streamer{
		name: "ours",
		start: func(tor *fixture.Torrent, dir, state string, port int, peers []string) (*proc.Process, error) {
			args := []string{
				"stream", tor.Path, "-o", dir, "--state", filepath.Join(state, "state-stream"),
				"--http", "127.0.0.1:" + strconv.Itoa(port),
			}
			for _, p := range peers {
				args = append(args, "--peer", p)
			}
			run, err := ours{bin: b.causeway}.run(args...)
			if err != nil {
				return nil, err
			}
			return run.Process, nil
		},
		url: func(tor *fixture.Torrent, port int) string {
			return fmt.Sprintf("http://127.0.0.1:%d/t/%s/0", port, tor.HexHash())
		},
	}
}

// peerflix is the program that the targets come from.
func peerflix() (streamer, error) {
	node, script, err := peerflixPaths()
	if err != nil {
		return streamer{}, err
	}
	start := func(tor *fixture.Torrent, dir, state string, port int, peers []string) (*proc.Process, error) {
		own, err := realpeer.FreePort()
		if err != nil {
			return nil, err
		}
		args := []string{
			script, tor.Path, "--quiet", "--hostname", "127.0.0.1", "--port", strconv.Itoa(port),
			"--peer-port", strconv.Itoa(own), "--path", dir, "--tmp", state, "--no-dht", "--no-tracker",
		}
		for _, p := range peers {
			args = append(args, "--peer", p)
		}
		return proc.Start(proc.Spec{Path: node, Args: args, Env: []string{"HOME=" + state}})
	}
	url := func(_ *fixture.Torrent, port int) string { return fmt.Sprintf("http://127.0.0.1:%d/0", port) }
	return streamer{name: "peerflix", start: start, url: url}, nil
}

// setting is one column of what is measured: a program and where its film comes from.
type setting struct {
	streamer
	swarm
}

// streamStart measures starts and seeks, of all settings in turns.
func (b *bench) streamStart(ctx context.Context, tor *fixture.Torrent) error {
	programs, err := b.streamers()
	if err != nil {
		return err
	}
	var settings []setting
	for _, s := range []swarm{oneSeeder, fourSeeders, oneStalled} {
		for _, p := range programs {
			settings = append(settings, setting{p, s})
		}
	}
	results := make([][]plays, len(settings))
	for round := range b.runs + 1 {
		for i, s := range settings {
			p, err := b.playOnce(ctx, tor, s)
			if errors.Is(err, errNoAnswer) && s.streamer.name != "ours" {
				fmt.Fprintf(b.log, "stream round %d %s, %s: %v\n", round, s.streamer.name, s.swarm.name, err)
				continue // a reference that hangs is shown by what it did otherwise
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s.streamer.name, s.swarm.name, err)
			}
			fmt.Fprintf(b.log, "stream round %d %s, %s: %.2f\n", round, s.streamer.name, s.swarm.name, p)
			if round > 0 {
				results[i] = append(results[i], p)
			}
		}
	}
	b.playTables(settings, results)
	return nil
}

// playOnce starts the program with an empty folder, and plays.
func (b *bench) playOnce(ctx context.Context, tor *fixture.Torrent, s setting) (plays, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	peers, stop, err := b.swarm(ctx, tor, s.swarm)
	if err != nil {
		return plays{}, err
	}
	defer stop()
	dir, err := os.MkdirTemp(b.work, "stream")
	if err != nil {
		return plays{}, err
	}
	defer os.RemoveAll(dir)
	port, err := realpeer.FreePort()
	if err != nil {
		return plays{}, err
	}
	begun := time.Now()
	process, err := s.start(tor, filepath.Join(dir, "data"), dir, port, peers)
	if err != nil {
		return plays{}, err
	}
	defer process.Stop()
	p, err := play(ctx, s.url(tor, port), process, begun, tor.Size)
	if err != nil {
		return p, fmt.Errorf("%w\n%s", err, process.Output())
	}
	return p, nil
}

// swarm starts seeders and returns their addresses.
//
// A relay caps each seeder: libtorrent's own limiter lets bytes go in slow ticks, too
// coarse for the fractions of a second that are measured here.
func (b *bench) swarm(ctx context.Context, tor *fixture.Torrent, s swarm) (peers []string, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	for i := range s.seeders {
		if i < s.stalled {
			silent, err := hostile.Listen(tor, hostile.NeverAnswers())
			if err != nil {
				return nil, nil, err
			}
			stops = append(stops, silent.Close)
			peers = append(peers, silent.Addr())
			continue
		}
		seed, err := libtorrent{work: b.work}.seed(ctx, tor)
		if err != nil {
			return nil, nil, err
		}
		stops = append(stops, seed.Stop)
		r, err := relay.Listen(seed.addr, relay.Config{Rate: s.rate, RTT: streamRTT})
		if err != nil {
			return nil, nil, err
		}
		stops = append(stops, func() { _ = r.Close() }) // of no consequence: the run is over
		peers = append(peers, r.Addr())
	}
	return peers, stop, nil
}
