package main_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/proc"
)

// TestShareReachesViewersThroughTURN: a browser of another network gets the film directly, and
// one that cannot send UDP over WebRTC all the same, through the TURN server of the share.
func TestShareReachesViewersThroughTURN(t *testing.T) {
	needSharedPage(t)
	film := playable(t, "20")
	middle, outer := twoIslands(t)
	for _, test := range []struct {
		name    string
		flags   []string
		relayed bool
	}{
		{"directly", nil, false},
		{"by TURN", []string{"--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--webrtc-ip-handling-policy=disable_non_proxied_udp"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
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
			// Over TLS, browsers would allow WebRTC without being told.
			flags := append([]string{"--unsafely-treat-insecure-origin-as-secure=" + strings.TrimSuffix(serving.URL, "/")}, test.flags...)
			var found pageFigures
			inPage(t, "plays", serving.URL, &found, map[string]any{"tracks": false, "direct": false, "flags": flags}, "ip", "netns", "exec", outer[0].name)
			if found.Figures.Came.Causeway == 0 {
				t.Errorf("nothing came over WebRTC: %+v", found.Figures.Came)
			}
			if relayed := relayedByShare(t, run); (relayed > found.Figures.Came.Causeway/2) != test.relayed {
				t.Errorf("%d bytes were relayed, of %d", relayed, found.Figures.Came.Causeway)
			}
		})
	}
}

// relayedByShare is what the share's TURN server relayed, by the last event that says so.
func relayedByShare(t *testing.T, run *cli.Run) (relayed int64) {
	t.Helper()
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
