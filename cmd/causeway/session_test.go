package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// twoTorrents makes a.torrent and b.torrent in a folder, of which a cannot be
// downloaded to it, because there is a file where its folder should be, and b is
// there.
func twoTorrents(t *testing.T) (root string) {
	t.Helper()
	root = album(t)
	if err := os.Rename(filepath.Join(root, "album"), filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	causeway(t, root, "create", "b", "--name", "a", "-o", "a.torrent").want(t, exitDone)
	causeway(t, root, "create", "b", "-o", "b.torrent").want(t, exitDone)
	if err := os.WriteFile(filepath.Join(root, "a"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestFailureBesideSuccess(t *testing.T) {
	root := twoTorrents(t)
	arguments := slices.Concat([]string{"download", "a.torrent", "b.torrent"}, loopback)
	r := causeway(t, root, arguments...).want(t, exitFailed)
	if n := strings.Count(r.stderr, "causeway: "); n != 1 || !strings.Contains(r.stderr, "causeway: a: ") || !strings.Contains(r.stderr, "b: all of it is in ") {
		t.Errorf("%d lines of error, want one:\n%s", n, r.stderr)
	}
	r = causeway(t, root, append(arguments, "--json")...).want(t, exitFailed)
	var failed string
	for _, e := range r.events(t) {
		if e["event"] == "torrent" && e["name"] == "a" {
			failed, _ = e["infohash"].(string)
		}
	}
	if e := r.one(t, "error"); failed == "" || e["infohash"] != failed {
		t.Errorf("got %v, want the infohash %q", e, failed)
	}
}

// The failure is told when it happens, while the other torrent goes on, and not
// again at the end.
func TestFailureWhileSeeding(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a test cannot interrupt one process alone on Windows")
	}
	root := twoTorrents(t)
	cmd := command(t, root, slices.Concat([]string{"download", "a.torrent", "b.torrent", "--seed", "--json"}, loopback)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		name := e["event"].(string)
		seen[name]++
		if (name == "error" || name == "seeding") && seen["error"] > 0 && seen["seeding"] > 0 {
			cmd.Process.Signal(os.Interrupt)
		}
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if n := strings.Count(stderr.String(), "causeway: a: "); n != 1 || seen["error"] != 1 {
		t.Errorf("%d events and %d lines, want one of each:\n%s", seen["error"], n, &stderr)
	}
}
