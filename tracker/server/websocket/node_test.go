package websocket_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nodeFolder is where the npm packages are, and what runs them.
var nodeFolder = filepath.Join("..", "..", "ws", "testdata", "node")

// bittorrent-tracker's own clients announce, meet, update, complete, scrape and stop.
func TestBittorrentTrackersClient(t *testing.T) {
	if testing.Short() {
		t.Skip("runs node: not with -short")
	}
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(nodeFolder, "node_modules", "bittorrent-tracker"))
	}
	if err != nil {
		if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" {
			t.Fatal(err)
		}
		t.Skipf("node or bittorrent-tracker is missing (npm ci in %s): %v", nodeFolder, err)
	}
	tr := start(t, nil)
	var out []byte
	var stderr strings.Builder
	for range 3 { // on a busy machine node's WebRTC, libdatachannel, may lose its own description
		stderr.Reset()
		cmd := exec.CommandContext(t.Context(), "node", filepath.Join(nodeFolder, "client.mjs"), tr.url)
		cmd.Stderr = &stderr
		if out, err = cmd.Output(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 3 {
			break
		}
		t.Logf("node's WebRTC failed: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	var got []fields
	for line := range strings.Lines(string(out)) {
		var m fields
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, m)
	}
	want := []fields{
		{"step": "started", "complete": 1, "incomplete": 0, "interval": 120},
		{"step": "joined", "complete": 1, "incomplete": 1, "interval": 120},
		{"step": "met", "data": "hello"},
		{"step": "updated", "complete": 1, "incomplete": 1},
		{"step": "completed", "complete": 2, "incomplete": 0},
		{"step": "scraped", "complete": 2, "incomplete": 0, "downloaded": 1},
		{"step": "stopped", "complete": 1, "incomplete": 0},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		got[i].expect(t, want[i])
	}
}
