package tracker

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// opentracker starts the real tracker, which serves HTTP and UDP at one port, and
// returns its host:port.
func opentracker(t *testing.T, infoHash [20]byte) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs opentracker: not with -short")
	}
	program, err := exec.LookPath("opentracker")
	if err != nil {
		if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" {
			t.Fatal("opentracker is not installed and CAUSEWAY_REQUIRE_PEERS=1")
		}
		t.Skip("opentracker is not installed")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	// It enters this folder with chroot and gives up root where it has it. Debian's
	// build serves only infohashes on a list.
	dir, err := os.MkdirTemp("", "opentracker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "whitelist")
	if err := os.WriteFile(list, []byte(hex.EncodeToString(infoHash[:])+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-i", "127.0.0.1", "-p", port, "-P", port, "-d", dir, "-w", filepath.Base(list))
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 300 {
		// It reads its list in a thread of its own, and refuses until it has.
		ask := "http://" + addr + "/announce?" + announceQuery("", "", request{infoHash: infoHash, port: 1, event: eventStopped})
		if res, err := http.Get(ask); err == nil {
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil && !strings.Contains(string(body), "failure reason") {
				return addr
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("opentracker does not answer")
	return ""
}

func TestOpentracker(t *testing.T) {
	infoHash := [20]byte([]byte("a real info hash \x00+%"))
	addr := opentracker(t, infoHash)
	completed := 0
	for _, scheme := range []string{"http", "udp"} {
		t.Run(scheme, func(t *testing.T) {
			start := func(name string, port uint16, left *atomic.Int64) (*Announcer, chan []netip.AddrPort, chan Status) {
				peers, status := make(chan []netip.AddrPort, 10), make(chan Status, 10)
				a := New(Config{
					Tiers: [][]string{{fmt.Sprintf("%s://%s/announce", scheme, addr)}}, InfoHash: infoHash,
					PeerID: [20]byte([]byte("-CW0001-" + name + strings.Repeat("x", 12-len(name)))), Port: fixedPort(port),
					Stats:    func() Stats { return Stats{Left: left.Load()} },
					OnPeers:  func(_ string, _ netip.Addr, p []netip.AddrPort) { peers <- p },
					OnStatus: func(s Status) { status <- s },
				})
				return a, peers, status
			}
			var none, all atomic.Int64
			all.Store(1 << 40) // 0 to a tracker that reads 32 bits
			seed, _, seedStatus := start(scheme+"seed", 1001, &none)
			if s := await(t, seedStatus); !s.OK || s.Seeds != 1 {
				t.Fatalf("seed: %+v", s)
			}
			leech, peers, leechStatus := start(scheme+"leech", 1002, &all)
			if s := await(t, leechStatus); !s.OK || s.Seeds != 1 || s.Leeches != 1 {
				t.Errorf("leech: %+v", s)
			}
			if got := addrStrings(await(t, peers)); !slices.Contains(got, "127.0.0.1:1001") {
				t.Errorf("peers %v", got)
			}
			swarms, err := Scraper{}.Scrape(t.Context(), fmt.Sprintf("%s://%s/announce", scheme, addr), infoHash, [20]byte{9})
			if err != nil || swarms[infoHash] != (Swarm{Seeds: 1, Leeches: 1, Completed: completed}) || swarms[[20]byte{9}] != (Swarm{}) {
				t.Errorf("scrape: %+v, %v", swarms, err)
			}
			all.Store(0)
			leech.Completed()
			completed++
			if s := await(t, leechStatus); s.Seeds != 2 || s.Leeches != 0 {
				t.Errorf("completed: %+v", s)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			leech.Close(ctx)
			seed.Close(ctx)
			all.Store(1)
			last, _, lastStatus := start(scheme+"last", 1003, &all)
			defer last.Close(ctx)
			if s := await(t, lastStatus); s.Seeds != 0 || s.Leeches != 1 {
				t.Errorf("after both have stopped: %+v", s)
			}
		})
	}
}

func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(5 * time.Second):
		t.Fatal("nothing heard within 5 s")
	}
	return v
}
