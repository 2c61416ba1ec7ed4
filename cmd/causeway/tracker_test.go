package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// announcing starts `seed --json` with trackers, and returns its output, of which
// nothing has been read.
func announcing(t *testing.T, trackers ...string) *bufio.Scanner {
	t.Helper()
	arguments := []string{"seed", "album", "--json", "--listen", "127.0.0.1", "--port", "0", "--no-dht", "--no-lsd", "--stun", "stun:127.0.0.1:1"}
	for _, url := range trackers {
		arguments = append(arguments, "--tracker", url)
	}
	cmd := command(t, album(t), arguments...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20) // the magnet link names all trackers
	return lines
}

// next returns the next event of that name.
func next(t *testing.T, lines *bufio.Scanner, name string) event {
	t.Helper()
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e["event"] == name {
			return e
		}
	}
	t.Fatalf("no event %q any more: %v", name, lines.Err())
	return nil
}

// TestTrackerFlood has a tracker reply to one announce over and over.
func TestTrackerFlood(t *testing.T) {
	const replies, last = 2000, 7_000_000
	flooding := make(chan time.Duration, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		_, b, err := conn.Read(r.Context())
		var announced struct {
			InfoHash string `json:"info_hash"`
		}
		if err == nil {
			err = json.Unmarshal(b, &announced)
		}
		reply := func(seeds int) {
			var b []byte
			if err == nil {
				b, err = json.Marshal(map[string]any{"action": "announce", "info_hash": announced.InfoHash, "complete": seeds, "interval": 1800})
			}
			if err == nil {
				err = conn.Write(r.Context(), websocket.MessageText, b)
			}
		}
		start := time.Now()
		for i := range replies {
			reply(i)
		}
		ended := conn.CloseRead(context.Background())
		if err == nil {
			err = conn.Ping(r.Context()) // comes back when all was read
		}
		if err == nil {
			flooding <- time.Since(start)
			reply(last)
		}
		<-ended.Done()
	}))
	t.Cleanup(server.Close)
	lines := announcing(t, "ws"+strings.TrimPrefix(server.URL, "http"))
	count := 0
	for next(t, lines, "tracker")["seeds"] != float64(last) {
		count++
	}
	took := <-flooding
	if most := int(took.Seconds()) + 2; count == 0 || count > most {
		t.Errorf("%d lines in %v, want 1 to %d", count, took, most)
	}
}

// TestTrackerErrorsAreNotLost has many trackers refuse everybody while nobody reads
// what is printed.
func TestTrackerErrorsAreNotLost(t *testing.T) {
	const trackers = 500 // a torrent has no more than 512
	var mu sync.Mutex
	asked := map[string]int{}
	again, all := 0, make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "closed", http.StatusServiceUnavailable)
		mu.Lock()
		defer mu.Unlock()
		// Who asks again has reported the first error.
		if asked[r.URL.Path]++; asked[r.URL.Path] == 2 {
			if again++; again == trackers {
				close(all)
			}
		}
	}))
	t.Cleanup(server.Close)
	var urls []string
	for i := range trackers {
		urls = append(urls, fmt.Sprintf("ws%s/%d", strings.TrimPrefix(server.URL, "http"), i))
	}
	lines := announcing(t, urls...)
	select {
	case <-all:
	case <-time.After(patient):
		t.Fatal("some trackers were not asked again")
	}
	missing := map[string]bool{}
	for _, url := range urls {
		missing[url] = true
	}
	for len(missing) > 0 {
		if e := next(t, lines, "tracker"); e["state"] == "error" {
			delete(missing, e["url"].(string))
		}
	}
}
