package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// party is a running seeder or leecher, whichever program it is.
type party struct {
	*proc.Process
	addr string // HOST:PORT for peers
	// began is when the program reported that it has the torrent and is about to
	// look for peers: start-up, and a seeder's check of its content, are not counted.
	began time.Time
	// complete waits for the program's own report that all pieces are verified and
	// returns when it came.
	complete func(context.Context) (time.Time, error)
	// downloaded returns the bytes that the program last reported to have, and when.
	downloaded func() (int64, time.Time)
}

// program starts parties.
type program interface {
	seed(ctx context.Context, t *fixture.Torrent) (*party, error)
	leech(ctx context.Context, t *fixture.Torrent, dir, peer string) (*party, error)
}

// ours is causeway, driven by its command line.
type ours struct {
	bin  string
	work string // for state, which seeders keep between runs
	site
}

// quiet switches off all that has nothing to do with two peers over one plain transport,
// which is how libtorrent is set up too.
var quiet = []string{"--port", "0", "--no-dht", "--no-trackers", "--encryption", "off", "--json"}

func (o ours) run(args ...string) (*cli.Run, error) {
	without := "CAUSEWAY_NO_UTP=true"
	if o.utp {
		without = "CAUSEWAY_NO_TCP=true"
	}
	return cli.StartSpec(proc.Spec{
		Path: o.bin, Args: append(append(args, quiet...), "--listen", o.ip()), Command: o.exec(),
		Env: append([]string{without}, cli.Isolated...),
	})
}

func (o ours) start(ctx context.Context, event string, args ...string) (*cli.Run, *party, error) {
	run, err := o.run(args...)
	if err != nil {
		return nil, nil, err
	}
	listening, err := run.WaitEvent(ctx, "listening")
	if err != nil {
		run.Kill()
		return nil, nil, err
	}
	ready, err := run.WaitEvent(ctx, event)
	if err != nil {
		run.Kill()
		return nil, nil, err
	}
	at := listening.TCP
	if o.utp {
		at = listening.UDP
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		run.Kill()
		return nil, nil, fmt.Errorf("the address that causeway listens on: %w", err)
	}
	return run, &party{Process: run.Process, addr: net.JoinHostPort(o.ip(), port), began: ready.Received}, nil
}

func (o ours) seed(ctx context.Context, t *fixture.Torrent) (*party, error) {
	state := filepath.Join(o.work, "state-"+t.HexHash())
	_, p, err := o.start(ctx, "seeding", "seed", t.Path, "--data", t.Dir, "--state", state)
	return p, err
}

func (o ours) leech(ctx context.Context, t *fixture.Torrent, dir, peer string) (*party, error) {
	state, err := os.MkdirTemp(o.work, "state")
	if err != nil {
		return nil, err
	}
	// --seed keeps the program running, so that its memory and time can be read when
	// it has just finished, as with libtorrent.
	run, p, err := o.start(ctx, "torrent", "download", t.Path, "--peer", peer, "-o", dir, "--state", state, "--seed")
	if err != nil {
		return nil, err
	}
	p.follow(run)
	return p, nil
}

// follow has causeway's own events say how far it is.
func (p *party) follow(run *cli.Run) {
	p.complete = func(ctx context.Context) (time.Time, error) {
		e, err := run.WaitEvent(ctx, "complete")
		return e.Received, err
	}
	p.downloaded = func() (int64, time.Time) {
		e, _ := run.Last("progress")
		return e.Downloaded, e.Received
	}
}

// libtorrent is Debian's libtorrent.
type libtorrent struct {
	work string
	site
}

func (l libtorrent) start(ctx context.Context, o realpeer.Options) (*party, error) {
	o.Program = realpeer.Libtorrent
	if l.host != nil {
		o.Host, o.Command = l.ip(), l.exec()
	}
	if l.utp {
		o.UTP, o.NoTCP = true, true
	}
	peer, err := realpeer.Launch(ctx, l.work, o)
	if err != nil {
		return nil, err
	}
	wait := func(ctx context.Context, event string) (time.Time, error) {
		s, err := peer.Status.Wait(ctx, event, func(s realpeer.Status) bool { return s.Event == event })
		return s.Received, err
	}
	began, err := wait(ctx, "added")
	if err != nil {
		peer.Kill()
		return nil, err
	}
	return &party{
		Process: peer.Process, addr: peer.Addr, began: began,
		complete: func(ctx context.Context) (time.Time, error) { return wait(ctx, "complete") },
		downloaded: func() (bytes int64, at time.Time) {
			for _, s := range peer.Status.All() {
				if s.Event == "status" {
					bytes, at = s.Downloaded, s.Received
				}
			}
			return bytes, at
		},
	}, nil
}

func (l libtorrent) seed(ctx context.Context, t *fixture.Torrent) (*party, error) {
	return l.start(ctx, realpeer.Options{Torrent: t.Path, Dir: t.Dir, Seed: true})
}

func (l libtorrent) leech(ctx context.Context, t *fixture.Torrent, dir, peer string) (*party, error) {
	return l.start(ctx, realpeer.Options{Torrent: t.Path, Dir: dir, Peers: []string{peer}})
}
