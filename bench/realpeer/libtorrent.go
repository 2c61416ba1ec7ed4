package realpeer

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

// python is named by its path: Debian's libtorrent belongs to Debian's Python, and
// another may come first in PATH.
const python = "/usr/bin/python3"

//go:embed libtorrent_peer.py
var libtorrentScript string

// Status is one line that the libtorrent peer reported.
type Status struct {
	Received   time.Time `json:"-"`
	Event      string    `json:"event"` // added, status, complete, error
	Progress   float64   `json:"progress"`
	Downloaded int64     `json:"downloaded"` // payload bytes
	Uploaded   int64     `json:"uploaded"`   // payload bytes
	Peers      int       `json:"peers"`
	DHTNodes   int       `json:"dht_nodes"`
	Message    string    `json:"message"`
}

func launchLibtorrent(ctx context.Context, o Options) (*Peer, error) {
	flags, err := json.Marshal(map[string]any{
		"torrent": o.Torrent, "magnet": o.Magnet, "dir": o.Dir, "seed": o.Seed, "host": o.Host, "port": o.Port,
		"encryption": [...]string{Plain: "plain", Prefer: "prefer", Require: "require"}[o.Encryption],
		"trackers":   o.Trackers, "peers": o.Peers, "dht": o.DHT, "dht_nodes": o.DHTNodes,
		"pex": o.PEX, "utp": o.UTP, "tcp": !o.NoTCP, "up_limit": o.UpLimit, "down_limit": o.DownLimit,
	})
	if err != nil {
		return nil, err
	}
	journal := &proc.Journal[Status]{}
	process, err := proc.Start(proc.Spec{
		Path: python, Args: []string{"-c", libtorrentScript, string(flags)}, Command: o.Command,
		OnLine: func(line []byte) {
			s := Status{Received: time.Now()}
			if json.Unmarshal(line, &s) == nil {
				journal.Add(s)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	go func() {
		<-process.Done()
		journal.Close()
	}()
	wait := func(ctx context.Context, event string) error {
		_, err := journal.Wait(ctx, "libtorrent to report "+event, func(s Status) bool { return s.Event == event })
		if err != nil {
			return fmt.Errorf("%w\n%s", err, process.Output())
		}
		return nil
	}
	if err := wait(ctx, "added"); err != nil {
		process.Kill()
		return nil, err
	}
	return &Peer{
		Process: process, Status: journal,
		waitComplete: func(ctx context.Context) error { return wait(ctx, "complete") },
	}, nil
}
