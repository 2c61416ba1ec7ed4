package realpeer

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/causeway-bt/causeway/bench/proc"
)

// ClientStep is what a tracker answered to bittorrent-tracker's own client.
type ClientStep struct {
	Step       string `json:"step"`
	Complete   int    `json:"complete"`
	Incomplete int    `json:"incomplete"`
	Downloaded int    `json:"downloaded"` // of a scrape
	Peer       string `json:"peer"`       // that a client was told of
}

// RunTrackerClients has two clients of bittorrent-tracker start, update, complete, scrape
// and stop at one tracker, over the protocol of its URL, and returns the answers. An error
// is also what the clients warn of.
func RunTrackerClients(ctx context.Context, url, infoHash string) ([]ClientStep, error) {
	path, err := script("client.mjs")
	if err != nil {
		return nil, err
	}
	flags, err := json.Marshal(map[string]string{"url": url, "infohash": infoHash})
	if err != nil {
		return nil, err
	}
	var steps []ClientStep
	process, err := proc.Start(proc.Spec{
		Path: node, Args: []string{path, string(flags)},
		OnLine: func(line []byte) {
			var s ClientStep
			if json.Unmarshal(line, &s) == nil {
				steps = append(steps, s)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	defer process.Kill()
	if err := process.Wait(ctx); err != nil {
		process.Kill() // so that nothing more is appended
		return steps, fmt.Errorf("after %d steps: %w\n%s", len(steps), err, process.Output())
	}
	return steps, nil
}
