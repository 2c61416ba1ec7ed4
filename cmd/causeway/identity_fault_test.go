package main_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// announced is what a tracker is told of who announces.
type announced struct{ hash, peerID, key string }

// Nobody can follow a user by peer ids and trackers' keys: each torrent and each run of
// the program has others, and neither tells the other.
func TestTorrentsAndRunsHaveIDsOfTheirOwn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[announced]bool{}
	tracker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		mu.Lock()
		seen[announced{q.Get("info_hash"), q.Get("peer_id"), q.Get("key")}] = true
		mu.Unlock()
		fmt.Fprint(w, "d8:intervali1800e5:peers0:e")
	}))
	t.Cleanup(tracker.Close)
	state := t.TempDir()
	first := single(t, 1000)
	second, err := fixture.Make(t.TempDir(), "another", []fixture.File{{Size: 2000}}, fixture.Options{PieceLength: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		run := start(t, args([]string{
			"download", first.Path, second.Path, "-o", t.TempDir(), "--state", state, "--no-dht", "--tracker", tracker.URL + "/announce",
		}, base)...)
		eventually(t, patience, "announces of both", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(seen) >= 2*(n+1)
		})
		if err := run.Interrupt(); err != nil {
			t.Fatal(err)
		}
		waitExit(t, run, 130)
	}
	ids, keys := map[string]bool{}, map[string]bool{}
	for a := range seen {
		ids[a.peerID], keys[a.key] = true, true
		if len(a.peerID) != 20 || len(a.key) < 8 || strings.Contains(strings.ToLower(a.peerID+fmt.Sprintf("%x", a.peerID)), strings.ToLower(a.key)) {
			t.Errorf("peer id %q, key %q", a.peerID, a.key)
		}
	}
	if len(seen) != 4 || len(ids) != 4 || len(keys) != 4 {
		t.Errorf("two runs of two torrents had %d ids and %d keys: %+v", len(ids), len(keys), seen)
	}
}

// A link, and a peer, may not have the program dial into this machine from outside of it.
func TestStrangersDoNotNameWhatIsInside(t *testing.T) {
	if !offLoopback(t) {
		return
	}
	tor := single(t, 1<<20)
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	dialled := make(chan net.Addr, 1)
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			c.Close()
			select {
			case dialled <- c.RemoteAddr():
			default:
			}
		}
	}()
	// One peer that the user names tells of the inner one, and of another that it may name.
	named, addrs, err := hostile.WaitAt(realpeer.Host, tor, hostile.Idle())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(named.Close)
	teller, tellers, err := hostile.WaitAt(realpeer.Host, tor, hostile.TellsOf(inside.Addr().String(), addrs[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(teller.Close)
	run := start(t, "download", tor.Magnet(inside.Addr().String()), "-o", t.TempDir(), "--listen", realpeer.Host, "--port", "0",
		"--no-dht", "--no-trackers", "--peer", tellers[0])
	if _, err := run.WaitEvent(within(t, patience), "warning"); err != nil {
		t.Fatal(err) // the link's peer is left out
	}
	eventually(t, patience, "the peer that may be named", func() bool { return named.Report().Greeted >= 1 })
	select {
	case from := <-dialled:
		t.Errorf("an address inside was dialled from %v", from)
	case <-time.After(2 * time.Second): // in which it would have been, beside the other
	}
}
