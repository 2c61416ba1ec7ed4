package ws_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// requirePeers makes a missing program a failure instead of a skip.
const requirePeers = "CAUSEWAY_REQUIRE_PEERS"

// needNode skips the test where Node or the packages of testdata/node are missing.
func needNode(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs node: not with -short")
	}
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join("testdata", "node", "node_modules", "webtorrent"))
	}
	switch {
	case err == nil:
	case os.Getenv(requirePeers) == "1":
		t.Fatalf("%s=1, but: %v", requirePeers, err)
	case errors.Is(err, fs.ErrNotExist):
		t.Skip("bittorrent-tracker and webtorrent are missing (npm ci in tracker/ws/testdata/node)")
	default:
		t.Skipf("node is missing (Debian: nodejs): %v", err)
	}
}

// runNode runs a script of testdata/node until the test ends, and reads the JSON
// line with which it starts.
func runNode(t *testing.T, first any, script string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command("node", append([]string{filepath.Join("testdata", "node", script)}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s wrote: %s", script, stderr.String())
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		stop()
		t.Fatalf("%s did not start: %v\n%s", script, err, stderr.String())
	}
	if err := json.Unmarshal(line, first); err != nil {
		t.Fatalf("%s wrote %q: %v", script, line, err)
	}
	return stop
}

// startTracker runs the reference tracker; port 0 means any.
func startTracker(t *testing.T, port string) (address string, stop func()) {
	t.Helper()
	needNode(t)
	var listening struct{ Port int }
	stop = runNode(t, &listening, "tracker.mjs", port)
	return (&url.URL{Scheme: "ws", Host: net.JoinHostPort("127.0.0.1", fmt.Sprint(listening.Port))}).String(), stop
}
