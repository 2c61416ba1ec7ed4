package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// asProgram is set in the environment of this test binary to make it run as
// causeway itself, with its arguments.
const asProgram = "TEST_AS_PROGRAM"

// patient is how long a command may take before its test fails.
const patient = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main() // it exits
	}
	// Wherever tests listen, the gateway of this machine is left alone.
	if err := os.Setenv("CAUSEWAY_NO_PORTMAP", "true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// transfers are the commands that do many things at a time, which the race detector is to see.
// It makes each start of the program take half a second; the others are started hundreds of
// times.
var transfers = []string{"download", "mount", "seed", "share", "stream", "tracker"}

// plain is causeway, built without the race detector.
var plain = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", "test", "plain"))
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build causeway: %w\n%s", err, out)
	}
	return path, nil
})

// command is causeway with arguments, in a folder and with a home of its own.
func command(t *testing.T, folder string, arguments ...string) *exec.Cmd {
	t.Helper()
	program := plain
	if len(arguments) > 0 && slices.Contains(transfers, arguments[0]) {
		program = os.Executable
	}
	self, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, arguments...)
	cmd.Dir = folder
	home := t.TempDir()
	cmd.Env = append(os.Environ(), asProgram+"=1", "HOME="+home, "XDG_STATE_HOME="+home, "LOCALAPPDATA="+home, "AppData="+home)
	return cmd
}

// result is what a command left.
type result struct {
	code           int
	stdout, stderr string
}

func causeway(t *testing.T, folder string, arguments ...string) result {
	t.Helper()
	return finishCommand(t, command(t, folder, arguments...))
}

func finishCommand(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// want fails the test unless the command ended with code.
func (r result) want(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.stdout, r.stderr)
	}
	return r
}

// event is a JSON line.
type event map[string]any

// events decodes the JSON lines of a command, and checks what all have.
func (r result) events(t *testing.T) []event {
	t.Helper()
	var events []event
	for line := range strings.Lines(r.stdout) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		text, _ := e["time"].(string)
		if _, err := time.Parse(time.RFC3339, text); err != nil || e["event"] == "" || !strings.HasPrefix(line, `{"time":`) {
			t.Fatalf("%q does not begin with time and event", line)
		}
		events = append(events, e)
	}
	return events
}

// one returns the only event of that name.
func (r result) one(t *testing.T, name string) event {
	t.Helper()
	var found []event
	for _, e := range r.events(t) {
		if e["event"] == name {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d events %q in\n%s%s", len(found), name, r.stdout, r.stderr)
	}
	return found[0]
}

// album writes a small folder of files and returns the folder that holds it.
func album(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, length := range map[string]int{"one.txt": 20000, "two.txt": 100000, filepath.Join("more", "three.txt"): 5} {
		path := filepath.Join(root, "album", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte(name), length)[:length], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
