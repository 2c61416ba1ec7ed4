package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
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
	if n := strings.Count(r.stderr, "causeway: "); n != 1 || !strings.Contains(r.stderr, "causeway: a: ") || !strings.Contains(r.stderr, "a file is where a folder should be") || !strings.Contains(r.stderr, "b: all of it is in ") {
		t.Errorf("%d lines of error, want one:\n%s", n, r.stderr)
	}
	r = causeway(t, root, append(arguments, "--json")...).want(t, exitFailed)
	want := causeway(t, root, "info", "a.torrent", "--json").want(t, exitDone).one(t, "torrent")["infohash"]
	if e := r.one(t, "error"); e["infohash"] != want {
		t.Errorf("got %v, want the infohash %v", e, want)
	}
}

// interruptWhen runs a command with --json, interrupts it once enough is true of one
// of its events, and returns what it left.
func interruptWhen(t *testing.T, cmd *exec.Cmd, enough func(event) bool) result {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a test cannot interrupt one process alone on Windows")
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(io.TeeReader(out, &stdout)); lines.Scan(); {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Error(err)
		}
		if enough(e) {
			cmd.Process.Signal(os.Interrupt)
		}
	}
	cmd.Wait()
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// The failure is told when it happens, while the other torrent goes on, and not
// again at the end.
func TestFailureWhileSeeding(t *testing.T) {
	cmd := command(t, twoTorrents(t), slices.Concat([]string{"download", "a.torrent", "b.torrent", "--seed", "--json"}, loopback)...)
	seen := map[any]bool{}
	r := interruptWhen(t, cmd, func(e event) bool {
		seen[e["event"]] = true
		return seen["error"] && seen["seeding"]
	}).want(t, exitInterrupted)
	r.one(t, "error")
	if n := strings.Count(r.stderr, "causeway: a: "); n != 1 {
		t.Errorf("%d lines, want one:\n%s", n, r.stderr)
	}
}

// An interrupt promises that the state was saved, so it does not hide that it was not.
func TestStateThatCannotBeSaved(t *testing.T) {
	root, folder := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "data.bin"), make([]byte, 20<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	seeder := startSeederOf(t, root, "data.bin", "--up-limit", "2M")
	state := filepath.Join(folder, "state")
	cmd := command(t, folder, slices.Concat([]string{"download", seeder.magnet, "--peer", seeder.address, "--state", state, "--json"}, loopback)...)
	before := 0.0
	r := interruptWhen(t, cmd, func(e event) bool {
		completed, _ := e["completed"].(float64)
		if before > 0 {
			return completed > before // it goes on without
		}
		if before = completed; before == 0 {
			return false
		}
		if err := os.RemoveAll(state); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(state, nil, 0o644); err != nil { // a file in place of the folder
			t.Error(err)
		}
		return false
	}).want(t, exitFailed)
	if message, _ := r.one(t, "error")["message"].(string); !strings.Contains(message, "cannot save the state") {
		t.Errorf("message %q", message)
	}
	if strings.Contains(r.stderr, "the same command continues") {
		t.Errorf("a promise that cannot be kept:\n%s", r.stderr)
	}
}

// `info` shows why there is no metadata while it waits for it.
func TestInfoWaits(t *testing.T) {
	closed := "http://127.0.0.1:1/announce" // port 1 refuses connections
	arguments := []string{
		"info", "magnet:?xt=urn:btih:0123456789012345678901234567890123456789", "--tracker", closed, "--json",
		"--listen", "127.0.0.1", "--port", "0", "--no-dht", "--no-lsd", "--no-webrtc",
	}
	seen := map[any]bool{}
	r := interruptWhen(t, command(t, t.TempDir(), arguments...), func(e event) bool {
		seen[e["event"]] = true
		return seen["tracker"] && seen["progress"]
	}).want(t, exitInterrupted)
	for _, e := range r.events(t) {
		if e["event"] == "tracker" && (e["url"] != closed || e["state"] != "error") || e["event"] == "progress" && e["state"] != "metadata" {
			t.Errorf("got %v", e)
		}
	}
}
