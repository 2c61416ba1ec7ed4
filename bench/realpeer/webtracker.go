package realpeer

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

// WebTracker is a running bittorrent-tracker, the reference WebSocket tracker.
type WebTracker struct {
	*proc.Process
	URL  string
	Port int
	// Announces lists what peers announced.
	Announces *proc.Journal[Announce]
}

// Announce is a peer's announce, as the WebSocket tracker reports it.
type Announce struct {
	Received time.Time `json:"-"`
	Event    string    `json:"event"` // start, update, complete, stop; listening for the tracker's own start
	InfoHash string    `json:"infohash"`
	PeerID   string    `json:"peer_id"`
	Port     int       `json:"port"`
}

// StartWebTracker runs the tracker for a test, on any free port if port is 0.
func StartWebTracker(t testing.TB, port int) *WebTracker {
	t.Helper()
	Need(t, WebTorrent)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	tr, err := LaunchWebTracker(ctx, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopAndShow(t, "bittorrent-tracker", tr.Process) })
	return tr
}

// LaunchWebTracker runs the tracker and returns when it listens; the caller stops it.
func LaunchWebTracker(ctx context.Context, port int) (*WebTracker, error) {
	path, err := script("tracker.mjs")
	if err != nil {
		return nil, err
	}
	flags, err := json.Marshal(map[string]int{"port": port})
	if err != nil {
		return nil, err
	}
	journal := &proc.Journal[Announce]{}
	process, err := proc.Start(proc.Spec{
		Path: node, Args: []string{path, string(flags)},
		OnLine: func(line []byte) {
			a := Announce{Received: time.Now()}
			if json.Unmarshal(line, &a) == nil {
				journal.Add(a)
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
	listening, err := journal.Wait(ctx, "the WebSocket tracker to listen", func(a Announce) bool { return a.Event == "listening" })
	if err != nil {
		process.Kill()
		return nil, fmt.Errorf("%w\n%s", err, process.Output())
	}
	return &WebTracker{Process: process, URL: webSocketURL(listening.Port), Port: listening.Port, Announces: journal}, nil
}
