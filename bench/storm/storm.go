// Package storm measures what a thousand hostile peers do to honest transfers: one that a
// program downloads, and one that another seeds, each beside the same without the storm
// at the same time, so that whatever else the machine does hits both alike.
//
//	r, err := storm.Run(ctx, storm.Options{Causeway: "bin/causeway", Work: dir, Duration: 5 * time.Minute})
//	fmt.Println(r.Download.Storm.Took, r.Download.Calm.Took)
package storm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/proc"
)

// Options say how hard the storm is.
type Options struct {
	Causeway string
	Work     string // scratch folder
	Duration time.Duration
	Peers    int // default 1000
	Hosts    int // addresses that they come from, default 50
	Rate     int64
}

// Side is how one transfer went.
type Side struct {
	Took   time.Duration // of the honest transfer
	Memory int64         // peak of RssAnon of the program in question, bytes
	Late   time.Duration // by how much its event loop was late at most
}

// Pair is a transfer in the storm and the same without.
type Pair struct{ Storm, Calm Side }

// Result is what came of it.
type Result struct {
	Download, Seed Pair
	Crowd          hostile.CrowdReport // of those that connect
	Waiting        hostile.CrowdReport // of those that are connected to
}

// honestShare is how much of the duration the transfers take at their rate.
const honestShare = 0.7

// gathering is how long the storm has to come to full force before the transfers begin.
const gathering = 20 * time.Second

// waiting is how many hostile peers the download is told of.
const waiting = 40

// Lateness is by how much a program's event loops were late at most, as they say with
// -v: its Line takes lines of standard error.
type Lateness struct {
	mu   sync.Mutex
	most time.Duration
}

var lateLine = regexp.MustCompile(`the event loop was late.* by=(\S+)`)

// Line takes in a line.
func (l *Lateness) Line(b []byte) {
	if f := lateLine.FindSubmatch(b); f != nil {
		if d, err := time.ParseDuration(string(f[1])); err == nil {
			l.mu.Lock()
			l.most = max(l.most, d)
			l.mu.Unlock()
		}
	}
}

// Most returns the longest delay so far.
func (l *Lateness) Most() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

// scene is one transfer: the program in question, and its honest partner.
type scene struct {
	o       Options
	tor     *fixture.Torrent
	running []*cli.Run
	late    Lateness
	target  *cli.Run
	addr    string
}

// Run measures.
func Run(ctx context.Context, o Options) (r Result, err error) {
	if o.Peers == 0 {
		o.Peers = 1000
	}
	if o.Hosts == 0 {
		o.Hosts = 50
	}
	size := int64(float64(o.Rate) * o.Duration.Seconds() * honestShare)
	tor, err := fixture.Make(o.Work, "content", []fixture.File{{Size: size}}, fixture.Options{PieceLength: 256 << 10})
	if err != nil {
		return r, err
	}
	held, addrs, err := hostile.Wait(tor, waiting, hostile.Hoarder(), hostile.HangsUp(), hostile.FloodChokes(), hostile.FloodBlocks())
	if err != nil {
		return r, err
	}
	defer held.Close()
	var scenes [4]scene // download and seed in the storm, and without
	for i := range scenes {
		scenes[i] = scene{o: o, tor: tor}
		defer scenes[i].stop()
		if i%2 == 0 {
			var peers []string
			if i == 0 {
				peers = addrs
			}
			err = scenes[i].download(ctx, fmt.Sprint(i), peers)
		} else {
			err = scenes[i].seed(ctx)
		}
		if err != nil {
			return r, err
		}
	}
	kinds := hostile.AllKinds()
	first := hostile.Storm(tor, scenes[0].addr, o.Peers/2, o.Hosts, kinds...)
	defer first.Close()
	second := hostile.Storm(tor, scenes[1].addr, o.Peers/2, o.Hosts, kinds...)
	defer second.Close()
	select {
	case <-time.After(gathering):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	sides := [4]*Side{&r.Download.Storm, &r.Seed.Storm, &r.Download.Calm, &r.Seed.Calm}
	var wg sync.WaitGroup
	errs := make([]error, len(scenes))
	for i := range scenes {
		wg.Go(func() { *sides[i], errs[i] = scenes[i].measure(ctx, i%2 == 0, fmt.Sprint("leech", i)) })
	}
	wg.Wait()
	a, b := first.Report(), second.Report()
	r.Crowd = hostile.CrowdReport{
		Dials: a.Dials + b.Dials, Greeted: a.Greeted + b.Greeted, Open: a.Open + b.Open,
		Received: a.Received + b.Received, Sent: a.Sent + b.Sent,
	}
	r.Waiting = held.Report()
	return r, errors.Join(errs...)
}

func (s *scene) stop() {
	for _, run := range s.running {
		run.Stop()
	}
}

// start runs causeway on loopback alone.
func (s *scene) start(line func([]byte), args ...string) (*cli.Run, error) {
	state, err := os.MkdirTemp(s.o.Work, "state")
	if err != nil {
		return nil, err
	}
	run, err := cli.StartSpec(proc.Spec{
		Path: s.o.Causeway, OnErrorLine: line,
		Args: append(args, "--json", "-v", "--no-dht", "--no-trackers", "--listen", "127.0.0.1", "--port", "0"),
		Env:  append([]string{"CAUSEWAY_STATE=" + state}, cli.Isolated...),
	})
	if err == nil {
		s.running = append(s.running, run)
	}
	return run, err
}

// begin starts the program in question.
func (s *scene) begin(ctx context.Context, args ...string) (err error) {
	if s.target, err = s.start(s.late.Line, args...); err != nil {
		return err
	}
	l, err := s.target.WaitEvent(ctx, "listening")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(l.TCP)
	s.addr = net.JoinHostPort("127.0.0.1", port)
	return err
}

func (s *scene) download(ctx context.Context, name string, peers []string) error {
	args := []string{"download", s.tor.Path, "-o", filepath.Join(s.o.Work, name)}
	for _, p := range peers {
		args = append(args, "--peer", p)
	}
	return s.begin(ctx, args...)
}

func (s *scene) seed(ctx context.Context) error {
	if err := s.begin(ctx, "seed", s.tor.Path, "--data", s.tor.Dir); err != nil {
		return err
	}
	_, err := s.target.WaitEvent(ctx, "seeding")
	return err
}

// measure starts the honest partner, and waits for the transfer to end.
func (s *scene) measure(ctx context.Context, download bool, name string) (side Side, err error) {
	stop := make(chan struct{})
	peak := make(chan int64, 1)
	go func() { peak <- proc.Peak(s.target.PID(), stop) }()
	rate := fmt.Sprint(s.o.Rate)
	began := time.Now()
	done := s.target
	if download {
		_, err = s.start(nil, "seed", s.tor.Path, "--data", s.tor.Dir, "--up-limit", rate, "--peer", s.addr)
	} else {
		done, err = s.start(nil, "download", s.tor.Path, "-o", filepath.Join(s.o.Work, name), "--down-limit", rate, "--peer", s.addr)
	}
	if err == nil {
		err = done.Wait(ctx)
	}
	side.Took = time.Since(began)
	close(stop)
	side.Memory, side.Late = <-peak, s.late.Most()
	return side, err
}
