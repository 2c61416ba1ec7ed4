package realpeer

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"

	"github.com/causeway-bt/causeway/bench/proc"
)

// Tracker is a running opentracker.
type Tracker struct {
	*proc.Process
	HTTP string // announce URL
	UDP  string // announce URL
	base string
}

// StartTracker runs opentracker for a test. Debian's serves only the torrents it was
// told of, so all infohashes have to be named.
func StartTracker(t testing.TB, infoHashes ...[20]byte) *Tracker {
	t.Helper()
	Need(t, OpenTracker)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	// opentracker gives up root for nobody, who must be able to enter the folder;
	// t.TempDir's parents are closed to others.
	dir, err := os.MkdirTemp("", "opentracker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tr, err := launchTracker(ctx, dir, infoHashes)
	for tries := 1; err != nil && strings.Contains(err.Error(), "Address already in use") && tries < 3; tries++ {
		tr, err = launchTracker(ctx, dir, infoHashes) // somebody took the port in between
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopAndShow(t, "opentracker", tr.Process) })
	return tr
}

func launchTracker(ctx context.Context, dir string, infoHashes [][20]byte) (*Tracker, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	var list strings.Builder
	for _, h := range infoHashes {
		fmt.Fprintln(&list, hex.EncodeToString(h[:]))
	}
	const allowed = "allowed"
	if err := os.WriteFile(filepath.Join(dir, allowed), []byte(list.String()), 0o644); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	p := strconv.Itoa(port)
	process, err := proc.Start(proc.Spec{
		Path: string(OpenTracker), Dir: dir,
		Args: []string{"-i", Host, "-p", p, "-P", p, "-d", dir, "-w", allowed},
	})
	if err != nil {
		return nil, err
	}
	if err := poll(ctx, process, "opentracker to listen", func() bool { return accepts(Host, port) }); err != nil {
		process.Kill()
		return nil, err
	}
	host := net.JoinHostPort(Host, p)
	return &Tracker{
		Process: process, base: "http://" + host,
		HTTP: "http://" + host + "/announce", UDP: "udp://" + host + "/announce",
	}, nil
}

// WaitPeers returns once the tracker knows at least n peers of a torrent.
func (tr *Tracker) WaitPeers(ctx context.Context, infoHash [20]byte, n int) error {
	what := fmt.Sprintf("%d peers of %x at the tracker", n, infoHash)
	return poll(ctx, tr.Process, what, func() bool { return tr.peers(ctx, infoHash) >= n })
}

// peers asks by scrape (BEP 48); 0 when it cannot.
func (tr *Tracker) peers(ctx context.Context, infoHash [20]byte) int {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	u := tr.base + "/scrape?info_hash="
	for _, b := range infoHash {
		u += fmt.Sprintf("%%%02x", b)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return 0
	}
	resp, err := rpcClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0
	}
	var answer struct {
		Files map[string]struct {
			Complete   int `bencode:"complete"`
			Incomplete int `bencode:"incomplete"`
		} `bencode:"files"`
	}
	if err := bencode.Unmarshal(body, &answer); err != nil {
		return 0
	}
	f := answer.Files[string(infoHash[:])]
	return f.Complete + f.Incomplete
}
