package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// webPatience is how long a test waits for a WebSocket's answer.
const webPatience = 20 * time.Second

// dialTracker opens a WebSocket, or says with which status it was refused.
func dialTracker(t *testing.T, url string) (*websocket.Conn, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), webPatience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		if resp == nil {
			return nil, 0
		}
		return nil, resp.StatusCode
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, 0
}

// ask sends a message, unless it is empty, and returns what comes.
func ask(t *testing.T, conn *websocket.Conn, message string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), webPatience)
	defer cancel()
	if message != "" {
		if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	_, b, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// WebSockets are counted while they are open, and no longer.
func TestTrackerBoundsTheWebSocketsOfAnAddress(t *testing.T) {
	tracker := runTracker(t, nil, "--host-connections", "10")
	url := "ws://" + tracker.tcp + "/announce"
	const scrape = `{"action":"scrape","info_hash":"aaaaaaaaaaaaaaaaaaaa"}`
	for range 3 {
		conns := make([]*websocket.Conn, 10)
		for i := range conns {
			// The sockets of the round before may not be gone yet.
			for deadline := time.Now().Add(webPatience); conns[i] == nil; {
				if conns[i], _ = dialTracker(t, url); conns[i] == nil && time.Now().After(deadline) {
					t.Fatalf("the %dth WebSocket is refused", i+1)
				}
			}
			if got := ask(t, conns[i], scrape); !strings.Contains(got, `"complete":0`) {
				t.Fatalf("got %s", got)
			}
		}
		if conn, status := dialTracker(t, url); conn != nil || status != http.StatusTooManyRequests && status != 0 {
			t.Errorf("one more gets %v, status %d", conn, status)
		}
		if stats := getText(t, "http://"+tracker.tcp+"/metrics"); !strings.Contains(stats, "\ncauseway_tracker_websockets 10\n") {
			t.Errorf("the statistics are %s", stats)
		}
		for _, conn := range conns {
			_ = conn.CloseNow()
		}
	}
}

func getText(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, resp.Body)
}

func TestTrackerServesPeerJSWhenAsked(t *testing.T) {
	without := runTracker(t, nil)
	if conn, status := dialTracker(t, "ws://"+without.tcp+"/peerjs?key=peerjs&id=a&token=1"); conn != nil || status != http.StatusNotFound {
		t.Errorf("without --peerjs: %v, status %d", conn, status)
	}
	tracker := runTracker(t, nil, "--peerjs", "--no-ws")
	resp, err := http.Get("http://" + tracker.tcp + "/peerjs/id")
	if err != nil {
		t.Fatal(err)
	}
	if id := readAll(t, resp.Body); resp.StatusCode != http.StatusOK || len(id) != 36 {
		t.Errorf("status %d, id %q", resp.StatusCode, id)
	}
	a, _ := dialTracker(t, "ws://"+tracker.tcp+"/peerjs?key=peerjs&id=a&token=1")
	b, _ := dialTracker(t, "ws://"+tracker.tcp+"/peerjs?key=peerjs&id=b&token=1")
	for _, conn := range []*websocket.Conn{a, b} {
		if got := ask(t, conn, ""); got != `{"type":"OPEN"}` {
			t.Fatalf("got %s", got)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), webPatience)
	defer cancel()
	if err := a.Write(ctx, websocket.MessageText, []byte(`{"type":"OFFER","dst":"b","payload":{}}`)); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, b, ""); got != `{"type":"OFFER","src":"a","dst":"b","payload":{}}` {
		t.Errorf("got %s", got)
	}
}
