package main_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/proc"
)

// TestShareReachesViewersThroughTURN: a browser of another network that cannot send UDP, a case
// harder than any NAT, gets the film over WebRTC all the same, through the TURN server of the
// share at the page's own TCP port.
func TestShareReachesViewersThroughTURN(t *testing.T) {
	needSharedPage(t)
	film := playable(t, "20")
	middle, outer := twoIslands(t)
	run, err := cli.StartSpec(proc.Spec{
		Path: "ip", Args: []string{"netns", "exec", middle, program(t), "share", film, "--http", outer[0].router + ":8080", "--port", "0", "--no-dht", "--json"},
		Env: []string{"CAUSEWAY_STATE=" + t.TempDir(), "CAUSEWAY_NO_LSD=true", "CAUSEWAY_NO_PORTMAP=true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer run.Stop()
	serving, err := run.WaitEvent(within(t, patience), "serving")
	if err != nil {
		t.Fatal(err)
	}
	var found pageFigures
	inPage(t, "plays", serving.URL, &found, map[string]any{"tracks": false, "direct": false, "flags": []string{
		// Over TLS, browsers would allow WebRTC without being told.
		"--unsafely-treat-insecure-origin-as-secure=" + strings.TrimSuffix(serving.URL, "/"),
		"--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--webrtc-ip-handling-policy=disable_non_proxied_udp",
	}}, "ip", "netns", "exec", outer[0].name)
	if relayed := relayedByShare(run); found.Figures.Came.Causeway == 0 || relayed < found.Figures.Came.Causeway/2 {
		t.Errorf("%d bytes were relayed; came: %+v", relayed, found.Figures.Came)
	}
}

// relayedByShare is what the share's TURN server relayed, by the last event that says so.
func relayedByShare(run *cli.Run) (relayed int64) {
	for line := range strings.Lines(string(run.Output())) {
		var viewers struct {
			Event   string
			Relayed int64
		}
		if json.Unmarshal([]byte(line), &viewers) == nil && viewers.Event == "viewers" {
			relayed = max(relayed, viewers.Relayed)
		}
	}
	return relayed
}
