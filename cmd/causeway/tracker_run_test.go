package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

// trackerProcess is a running `causeway tracker`, of this test binary.
type trackerProcess struct {
	*exec.Cmd
	lines         *bufio.Scanner // what it tells after "listening"
	tcp, udp      string         // HOST:PORT
	announce, ice []string
}

// runTracker starts a tracker at loopback, on any port unless a flag says otherwise. It is
// killed when the test ends.
func runTracker(t *testing.T, env []string, flags ...string) *trackerProcess {
	t.Helper()
	cmd := command(t, t.TempDir(), append([]string{"tracker", "--json", "--listen", "127.0.0.1", "--port", "0"}, flags...)...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	r := &trackerProcess{Cmd: cmd, lines: bufio.NewScanner(stdout)}
	first := next(t, r.lines, "listening")
	b, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	var listening trackerListening
	if err := json.Unmarshal(b, &listening); err != nil {
		t.Fatal(err)
	}
	r.tcp, r.udp, r.announce, r.ice = listening.TCP, listening.UDP, listening.Announce, listening.ICE
	return r
}

// signal sends a signal.
func (r *trackerProcess) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := r.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// ends waits until the tracker has ended with a code.
func (r *trackerProcess) ends(t *testing.T, code int) {
	t.Helper()
	for r.lines.Scan() { // what it says last must not hold it up
	}
	_ = r.Wait() // the code tells
	if got := r.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
}

// freePort is a TCP and UDP port that is free on loopback.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := realpeer.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// readAll reads a body, and closes it.
func readAll(t *testing.T, body io.ReadCloser) string {
	t.Helper()
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
