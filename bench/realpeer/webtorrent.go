package realpeer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

// launchWebTorrent runs webtorrent in Node with node-datachannel, over WebRTC alone.
// It is found by a WebSocket tracker only: Addr is not of use.
func launchWebTorrent(ctx context.Context, o Options) (*Peer, error) {
	flags, err := json.Marshal(map[string]any{
		"torrent": o.Torrent, "magnet": o.Magnet, "dir": o.Dir, "trackers": o.Trackers,
	})
	if err != nil {
		return nil, err
	}
	path, err := script("peer.mjs")
	if err != nil {
		return nil, err
	}
	journal := &proc.Journal[Status]{}
	process, err := proc.Start(proc.Spec{
		Path: node, Args: []string{path, string(flags)}, Command: o.Command,
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
		_, err := journal.Wait(ctx, "webtorrent to report "+event, func(s Status) bool { return s.Event == event })
		if err != nil {
			return fmt.Errorf("%w\n%s", err, process.Output())
		}
		return nil
	}
	ready := "added"
	if o.Seed {
		ready = "complete" // once it has checked what is there
	}
	if err := wait(ctx, ready); err != nil {
		process.Kill()
		return nil, err
	}
	return &Peer{
		Process: process, Status: journal,
		waitComplete: func(ctx context.Context) error { return wait(ctx, "complete") },
	}, nil
}
