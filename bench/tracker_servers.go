package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// The trackers that are measured, as the tables name them.
const (
	oursTracker      = "ours"
	openTracker      = "opentracker"
	referenceTracker = "bittorrent-tracker"
)

// trackerServer is one that runs.
type trackerServer struct {
	*proc.Process
	addr string // HOST:PORT, TCP and UDP
}

// referenceScript runs bittorrent-tracker, which npm installs beside it.
var referenceScript = filepath.Join("bench", "reftracker", "server.mjs")

func needReferenceTracker() error {
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("node is missing (Debian: nodejs): %w", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(referenceScript), "node_modules", "bittorrent-tracker")); err != nil {
		return fmt.Errorf("bittorrent-tracker is missing (an npm package; run in the source tree): %w", err)
	}
	return nil
}

// Where there are two processors or more, the tracker has the first for itself and the
// load program the others: each tracker then has as much, and none is disturbed.
func onFirst(path string, args ...string) (string, []string) {
	return onProcessors("0", path, args)
}

func onOthers(path string, args ...string) (string, []string) {
	return onProcessors(fmt.Sprintf("1-%d", max(runtime.NumCPU()-1, 1)), path, args)
}

func onProcessors(list, path string, args []string) (string, []string) {
	if _, err := exec.LookPath("taskset"); err != nil || runtime.NumCPU() < 2 {
		return path, args
	}
	return "taskset", append([]string{"-c", list, path}, args...)
}

// startTracker runs one of the trackers; swarms is how many infohashes it has to know.
func (b *bench) startTracker(ctx context.Context, name string, swarms int) (*trackerServer, error) {
	switch name {
	case oursTracker:
		return b.startOurTracker(ctx)
	case openTracker:
		return b.startOpenTracker(ctx, swarms)
	}
	port, err := realpeer.FreePort()
	if err != nil {
		return nil, err
	}
	listening := make(chan struct{})
	path, args := onFirst("node", referenceScript, strconv.Itoa(port))
	p, err := proc.Start(proc.Spec{Path: path, Args: args, OnLine: func([]byte) { close(listening) }})
	if err != nil {
		return nil, err
	}
	select {
	case <-listening:
		return &trackerServer{p, loopbackPort(port)}, nil
	case <-p.Done():
		err = errors.New("it ended")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.Kill()
	return nil, fmt.Errorf("wait for %s to listen: %w\n%s", name, err, p.Output())
}

func loopbackPort(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (b *bench) startOurTracker(ctx context.Context) (*trackerServer, error) {
	path, args := onFirst(b.causeway, "tracker", "--listen", "127.0.0.1", "--port", "0", "--json")
	run, err := cli.StartSpec(proc.Spec{Path: path, Args: args})
	if err != nil {
		return nil, err
	}
	listening, err := run.WaitEvent(ctx, "listening")
	if err != nil {
		run.Kill()
		return nil, err
	}
	return &trackerServer{run.Process, listening.TCP}, nil
}

// startOpenTracker tells Debian's opentracker, which serves nothing else, of all infohashes.
func (b *bench) startOpenTracker(ctx context.Context, swarms int) (*trackerServer, error) {
	list, err := exec.CommandContext(ctx, b.trackerLoad, "-list", strconv.Itoa(swarms)).Output()
	if err != nil {
		return nil, fmt.Errorf("list the infohashes: %w", err)
	}
	// opentracker gives up root for nobody, who must be able to read the list.
	dir, err := os.MkdirTemp("", "opentracker")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	const allowed = "allowed"
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, allowed), list, 0o644)); err != nil {
		return nil, err
	}
	port, err := realpeer.FreePort()
	if err != nil {
		return nil, err
	}
	number := strconv.Itoa(port)
	path, args := onFirst("opentracker", "-i", "127.0.0.1", "-p", number, "-P", number, "-d", dir, "-w", allowed)
	p, err := proc.Start(proc.Spec{Path: path, Args: args, Dir: dir})
	if err != nil {
		return nil, err
	}
	server := &trackerServer{p, loopbackPort(port)}
	hashes := strings.Fields(string(list))
	if err := server.untilKnown(ctx, hashes[len(hashes)-1]); err != nil {
		p.Kill()
		return nil, fmt.Errorf("wait for opentracker: %w\n%s", err, p.Output())
	}
	return server, nil
}

// untilKnown waits until a tracker that reads its list in the background has come to the
// last infohash. It leaves one peer there: to say goodbye is allowed before.
func (t *trackerServer) untilKnown(ctx context.Context, infoHash string) error {
	var escaped strings.Builder
	for i := 0; i+2 <= len(infoHash); i += 2 {
		escaped.WriteString("%" + infoHash[i:i+2])
	}
	u := url.URL{Scheme: "http", Host: t.addr, Path: "/announce", RawQuery: "info_hash=" + escaped.String() +
		"&peer_id=-BN0100-000000000000&port=9&uploaded=0&downloaded=0&left=0"}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && !strings.Contains(string(body), "failure reason") {
				return nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Done():
			return errors.New("it ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
